"""What people write for a place: one reader of it for all options and settings."""

from pathlib import Path
from typing import Any, get_args

import pytest
from tests.cache.test_cli import Command, refused
from tests.cache.test_cli import dukd_cache as dukd_cache  # a fixture
from typer.main import get_command

from dukd_cache import cli as cache_commands
from dukd_cache.command_line import values
from dukd_cache.places.choice import place_at
from dukd_cache.settings.addresses import local_path, parsed
from dukd_cache.system.errors import PlaceError
from dukd_train import cli as train_commands

HOME = Path.home()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cache", Path("cache")),
        ("/data/cache", Path("/data/cache")),
        ("a:b", Path("a:b")),
        ("C:/data", Path("C:/data")),
        ("name:with:colons.png", Path("name:with:colons.png")),
        ("~", HOME),
        ("~/cache", HOME / "cache"),
        ("x/~/cache", Path("x/~/cache")),
        ("file:/data/x", Path("/data/x")),
        ("file:///data/x", Path("/data/x")),
        ("file://localhost/data/x", Path("/data/x")),
        ("FILE:///data/x", Path("/data/x")),
        ("file:///data/my%20cache", Path("/data/my cache")),
        ("file:x/y", Path("x/y")),
        ("file:~/x", HOME / "x"),
        ("file://~/x", HOME / "x"),
        ("local:///data/x", Path("/data/x")),
        ("s3://bucket/cache", "s3://bucket/cache"),
        ("S3://bucket/Cache", "s3://bucket/Cache"),
        ("https://host/a?b=c", "https://host/a?b=c"),
        ("simplecache::s3://bucket/cache", "simplecache::s3://bucket/cache"),
    ],
)
def test_what_is_a_place(text: str, expected: Path | str) -> None:
    assert parsed(text) == expected
    if isinstance(expected, Path):
        assert local_path(text) == expected
    else:
        with pytest.raises(PlaceError, match="expected a file or folder of this machine: copy it here, and give its"):
            local_path(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "'': expected a path or an address"),
        (" ", "' ': expected a path or an address"),
        ("a\0b", r"'a\x00b': expected a path or an address"),
        ("s3:/bucket/cache", "s3:/bucket/cache: did you mean s3://bucket/cache?"),
        ("s3:bucket", "s3:bucket: did you mean s3://bucket?"),
        ("https:/host/x.pth", "did you mean https://host/x.pth?"),
        ("oci:/bucket", "did you mean oci://bucket?"),
        ("file://server/share", "names a file of the machine 'server': expected file:///path, or a path"),
        (r"C:\Users\me\x.pth", r"C:\Users\me\x.pth: a path of Windows: in WSL that is /mnt/c/Users/me/x.pth"),
        ("file:", "expected file:///path, or a path"),
        ("file://", "expected file:///path, or a path"),
        ("~nobody-of-this-name/x", "there is no home folder ~nobody-of-this-name"),
    ],
)
def test_what_is_none(text: str, says: str) -> None:
    for parse in (parsed, local_path, place_at):
        with pytest.raises(PlaceError) as caught:
            parse(text)
        assert says in str(caught.value)


def test_a_file_may_begin_with_the_sign_of_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~old.png").write_bytes(b"")
    assert parsed("~old.png") == Path("~old.png")


def test_an_address_that_became_a_path_is_told() -> None:
    with pytest.raises(PlaceError, match="an address is given as text, not as a path: s3://bucket/cache"):
        place_at(Path("s3://bucket/cache"))


def options_of(app: Any) -> dict[str, Any]:
    """What reads every option and argument that is a path, of all commands."""
    found: dict[str, Any] = {}
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        for parameter in command.params:
            kind, how = parameter.type_descriptor.annotation, parameter.type_descriptor.parameter_info
            if Path in (kind, *get_args(kind)) or parameter.name == "config":
                found[f"{name} {parameter.name}"] = how.parser
    return found


@pytest.mark.parametrize("app", [cache_commands.app, train_commands.app])
def test_every_option_that_is_a_path_is_read_alike(app: Any) -> None:
    found = options_of(app)
    assert len(found) > 5
    assert [name for name, parser in found.items() if parser not in (values.path, values.source, values.network)] == []


def test_a_place_elsewhere_where_none_may_be_names_the_option(dukd_cache: Command, tmp_path: Path) -> None:
    here = "expected a file or folder of this machine: copy it here, and give its path"
    words = ["--hr", tmp_path, "--out", tmp_path / "c", "--teacher", "https://host/x.pth"]
    refused(dukd_cache("build", *words), "--teacher", "https://host/x.pth", here)
    refused(dukd_cache("build", "--hr", "s3://bucket/hr", "--out", tmp_path / "c", "--scale", 2), "--hr", here)
    refused(dukd_cache("degrade", "--hr", tmp_path, "--out", "s3://bucket/lr", "--scale", 2), "--out", here)
    refused(dukd_cache("inspect", "s3:/bucket/c"), "s3:/bucket/c: did you mean s3://bucket/c?")
    refused(dukd_cache("build", "--hr", tmp_path, "--scale", 2, "--out", "s3:/bucket/c"), "--out", "s3://bucket/c?")
    refused(dukd_cache("build", "--hr", tmp_path, "--scale", 2, "--out", ""), "--out", "expected a path or an address")


def test_the_home_folder_is_meant_wherever_the_sign_stands(
    dukd_cache: Command, small_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(small_cache.parent))
    monkeypatch.chdir(tmp_path)
    for word in (f"~/{small_cache.name}", f"file:~/{small_cache.name}", f"file:{small_cache}"):
        assert dukd_cache("inspect", word, "--sample", 0).code == 0
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert dukd_cache("convert", small_cache, "~/c", "--store", "zarr").code == 0
    assert dukd_cache("inspect", small_cache, "--picture=~/sheet.png", "--sample", 0).code == 0
    assert {path.name for path in (tmp_path / "home").iterdir()} == {"c", "sheet.png"}
    assert {path.name for path in tmp_path.iterdir()} == {"home"}
