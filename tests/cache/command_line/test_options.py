"""Options that are made of a model: which there are, what counts when a setting is said twice, and mistakes in them."""

import sys
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
import typer
from pydantic import Field

from dukd_cache.command_line.console import run_app
from dukd_cache.command_line.options import options_of, with_settings
from dukd_cache.settings.model import Location, Number, Settings


class Cut(Settings):
    """Of one view."""

    short: ClassVar = "crops"

    crops: Annotated[int, Field(ge=0), Number] | None = None
    """How many."""
    patch: Annotated[int, Field(gt=0), Number] = 8
    """Side of an input."""


class Small(Settings):
    """All settings."""

    hr: Location
    """Folder of images."""
    views: dict[Literal["base", "zoom_out"], Cut] = Field(default={})
    """By view."""
    codec: Literal["png", "raw"] = "png"
    """How pixels are packed."""
    share: Annotated[float, Field(ge=0, le=1), Number] = 0.5
    """Of all."""
    compile: bool = False
    """Takes a minute."""
    names: tuple[str, ...] = ()
    """Any."""


class Program:
    """A command of one model, in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *words: object) -> tuple[int, list[Small], str]:
        """Exit code, the settings that the command was called with, what it printed."""
        app, seen = typer.Typer(rich_markup_mode="markdown"), list[Small]()

        @app.command()
        @with_settings(Small)
        def cut(config: Small, out: Annotated[str, typer.Option(help="Where to.")] = "here") -> None:
            """Cut."""
            seen.append(config)
            print(out)

        @app.command()
        def other() -> None:
            """Nothing."""

        self._monkeypatch.setattr(sys, "argv", ["program", "cut", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            run_app(app, "program", {}, lambda: Small)
        assert isinstance(end.value.code, int)
        printed = self._capsys.readouterr()
        return end.value.code, seen, printed.out + printed.err

    def refused(self, *words: object) -> str:
        code, seen, line = self(*words)
        assert (code, seen, line.count("\n")) == (2, [], 1), line
        return line.removeprefix("program: ").rstrip()


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    return Program(monkeypatch, capsys)


def test_each_setting_has_an_option() -> None:
    assert {option.word: ".".join(option.path) for option in options_of(Small)} == {
        "--hr": "hr",
        "--base": "views.base.crops",
        "--base-patch": "views.base.patch",
        "--zoom-out": "views.zoom_out.crops",
        "--zoom-out-patch": "views.zoom_out.patch",
        "--codec": "codec",
        "--share": "share",
        "--compile": "compile",
        "--names": "names",
    }


def test_options_alone_are_enough(program: Program, tmp_path: Path) -> None:
    words = [
        "--base",
        "3",
        "--zoom-out-patch",
        "4",
        "--codec",
        "raw",
        "--share",
        "0.25",
        "--compile",
        "--names",
        "a",
        "--names",
        "b",
        "--out",
        "there",
    ]
    code, seen, printed = program("--hr", tmp_path, *words)
    views = {"base": {"crops": 3}, "zoom_out": {"patch": 4}}
    rest = {"codec": "raw", "share": 0.25, "compile": True, "names": ("a", "b")}
    assert (code, seen) == (0, [Small.model_validate({"hr": tmp_path, "views": views, **rest})])
    assert printed == "there\n"


def test_options_count_more_than_set_and_that_more_than_the_file(program: Program, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("hr: /a\nviews: {base: 1, zoom_out: 1}\nshare: 0.1\nnames: [a]\ncompile: true\n")
    file = ("--config", tmp_path / "c.yaml")
    _, (plain,), _ = program(*file)
    assert plain == Small(hr=Path("/a"), views={"base": 1, "zoom_out": 1}, share=0.1, names=("a",), compile=True)  # type: ignore[dict-item]
    _, (found,), _ = program(
        *file, "--set", "views.base=2", "--set", "views.zoom_out.patch=3", "--set", "share=0.2",
        "--hr", "/b", "--base", 4, "--share", 0.3, "--names", "b",
    )  # fmt: skip
    assert found.hr == Path("/b")
    assert found.views == {"base": Cut(crops=4), "zoom_out": Cut(crops=1, patch=3)}
    assert (found.share, found.names, found.compile, found.codec) == (0.3, ("b",), True, "png")


def test_a_section_of_a_file(program: Program, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("mine: {hr: /a}\nother: 3\n")
    _, (found,), _ = program("--config", tmp_path / "c.yaml", "--section", "mine")
    assert found.hr == Path("/a")
    assert (
        program.refused("--config", tmp_path / "c.yaml")
        == f"{tmp_path}/c.yaml: holds settings in mine: give --section mine"
    )
    assert program.refused("--section", "x") == "--section x: give the file, too: --config FILE"


def test_mistakes_name_the_option_or_the_setting(program: Program, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("hr: /a\nviews: {base: -1}\n")
    file = ("--config", tmp_path / "c.yaml")
    refused = program.refused
    assert refused() == "--hr is missing: Folder of images."
    assert refused("--set", "share=1") == "setting hr is missing: expected a path"
    assert refused("--hr", "s3://b/c").startswith("--hr: s3://b/c: expected a file or folder of this machine")
    assert refused(*file) == "setting views.base.crops: expected a whole number of at least 0 or null, got -1"
    assert refused(*file, "--base", "-2") == "--base: expected a whole number of at least 0, got -2"
    assert refused(*file, "--base", "1", "--zoom-out", "x") == "--zoom-out: expected a whole number, got 'x'"
    assert refused("--hr", "a", "--codec", "pgn") == "unknown --codec 'pgn': did you mean 'png'? (valid: png, raw)"
    assert refused("--hr", "a", "--share", "2") == "--share: expected a number of at most 1.0, got 2"
    assert refused("--hr", "a", "--zoom", "2").startswith("unknown option '--zoom': did you mean '--zoom-out'?")
    assert refused("--hr", "a", "--set", "views.zoom=2") == (
        "unknown setting 'views.zoom': did you mean 'views.zoom_out'? (valid: base, zoom_out)"
    )
    assert refused("--hr", "a", "--set", "share.x=2", "--set", "share=0.1", "--set", "share.y=2") == (
        "--set share.y=2: share is a value, not a group of settings"
    )
    (tmp_path / "c.yaml").write_text("hr: /a\nviews: 3\n")
    assert refused(*file, "--base", "2") == "--base: views is a value, not a group of settings"


def test_help_says_what_the_fields_say(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, _, text = program("--help")
    assert code == 0
    for said in ("Folder of images. Must be given.", "How pixels are packed. Default: png.", "Of all. Default: 0.5."):
        assert said in text
    assert "Takes a minute. " in text
    assert "<png|raw>" in text
