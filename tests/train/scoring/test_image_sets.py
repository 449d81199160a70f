"""How sets of images get their names."""

from pathlib import Path

import pytest

from dukd_cache.pictures.sources import LrFolder
from dukd_cache.system.errors import SettingError
from dukd_train.scoring.image_sets import lr_folders, named_sets


def test_names_are_given_or_taken_from_folders() -> None:
    sets = named_sets(["data/Set5/HR", "x=data/Set14/HR", "data/B100/", "manga=/m"])
    assert {name: path.as_posix() for name, path in sets.items()} == {
        "Set5": "data/Set5/HR",
        "x": "data/Set14/HR",
        "B100": "data/B100",
        "manga": "/m",
    }


def test_equals_signs_in_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b").mkdir()
    assert named_sets(["a=b", "./c=d", "/e/f=g"]) == {"a=b": Path("a=b"), "c=d": Path("c=d"), "f=g": Path("/e/f=g")}


def test_paths_are_read_as_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert named_sets(["a=~/b", "~/c", "file:///d/e"]) == {
        "a": Path("/home/someone/b"),
        "c": Path("/home/someone/c"),
        "e": Path("/d/e"),
    }
    with pytest.raises(SettingError, match="`hr`: s3://b/hr: expected a file or folder of this machine"):
        named_sets(["s3://b/hr"])
    with pytest.raises(SettingError, match=r"`lr`: s3:/b: did you mean s3://b\?"):
        lr_folders(["a=s3:/b"], ["a"], "{stem}")


def test_a_name_stands_for_one_set() -> None:
    with pytest.raises(SettingError, match=r"there is another set Set5 \(a/Set5\); give names: `hr=NAME=b/Set5`"):
        named_sets(["a/Set5", "b/Set5"])


def test_lr_folders_go_with_their_sets() -> None:
    assert lr_folders(["low"], ["Set5"], "{stem}") == {"Set5": LrFolder(Path("low"), "{stem}")}
    assert lr_folders(["b=low"], ["a", "b"], "{stem}") == {"b": LrFolder(Path("low"), "{stem}")}
    assert lr_folders([], ["a"], "{stem}") == {}
    with pytest.raises(SettingError, match=r"^`lr=low`: LR images of no set of HR images; give `hr`, too; "):
        lr_folders(["low"], [])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["low"], "`lr=low`: say which set's LR images these are: `lr=a=low`"),
        (["c=low"], "`lr=c=low`: no set is called 'c' (there are: a, b)"),
        (["a=low", "a=lower"], "`lr=a=lower`: set a has the LR folder low already"),
    ],
)
def test_other_lr_folders_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        lr_folders(words, ["a", "b"], "{stem}")
    assert str(caught.value) == message
