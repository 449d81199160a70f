"""The settings of a cache: what is meant where little is said, mistakes, and the schema that editors go by."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import PROJECT

from dukd_cache.commands.config import CacheConfig, ViewConfig
from dukd_cache.plan.views import VIEWS
from dukd_cache.settings.model import dump, validated
from dukd_cache.settings.schema import schema_of, settings
from dukd_cache.system.errors import SettingError

SCHEMA = schema_of(CacheConfig)


@pytest.mark.parametrize(
    ("views", "crops"),
    [
        ({}, (8, 8, 8)),
        ({"base": 3}, (3, 3, 3)),
        ({"base": 3, "zoom_out": 0}, (3, 3, 0)),
        ({"zoom_in": {"crops": 2, "patch": 9}}, (8, 2, 8)),
        ({"base": None, "zoom_in": {"patch": 9}}, (8, 8, 8)),
    ],
)
def test_records_an_image(views: dict[str, Any], crops: tuple[int, ...]) -> None:
    """Without a teacher there is nobody to answer the zoom views."""
    asked = validated(CacheConfig, {"hr": "x", "teacher": "t.pth", "views": views})
    assert tuple(map(asked.crops, VIEWS)) == crops
    pairs = validated(CacheConfig, {"hr": "x", "views": {"base": views.get("base")}})
    assert tuple(map(pairs.crops, VIEWS)) == (crops[0], 0, 0)


def test_places_are_absolute_and_one_is_as_good_as_a_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    one = CacheConfig(hr="a", teacher="~/t.pth", lr="l", reuse="s3://bucket/c")  # type: ignore[arg-type]
    assert (one.hr, one.lr, one.reuse) == ((tmp_path / "a",), (tmp_path / "l",), ("s3://bucket/c",))
    assert one.teacher == {"teacher": Path("~/t.pth").expanduser()}
    several = CacheConfig(hr=("a", "/b"), reuse=("c", "s3://bucket/c"))  # type: ignore[arg-type]
    assert several.hr == (tmp_path / "a", Path("/b"))
    assert several.reuse == (str(tmp_path / "c"), "s3://bucket/c")


def test_a_file_says_what_was_written_into_it(tmp_path: Path) -> None:
    views = {"base": ViewConfig(crops=3), "zoom_out": ViewConfig(crops=4, patch=16)}
    for teacher in (None, Path("/t.pth"), ["/a.pth", "/b.pth"], {"b": "/a.pth"}):
        asked = CacheConfig(hr=(Path("/hr"),), teacher=teacher, views=views, store="zarr")  # type: ignore[arg-type]
        (tmp_path / "cache.yaml").write_text(dump(asked))
        assert CacheConfig.load(tmp_path / "cache.yaml") == asked


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "setting hr is missing: expected a path or a list, each a path"),
        ({"hr": []}, "setting hr: expected a path or a list, each a path, got []"),
        ({"hr": ["x", 3]}, "setting hr[1]: expected a path, got 3"),
        ({"hr": "http://x/y"}, "setting hr[0]: http://x/y: expected a file or folder of this machine"),
        ({"hr": "x", "base": 8}, "unknown setting 'base': did you mean 'views.base'? (valid: answers_of, batch_size, "),
        (
            {"hr": "x", "patch_size": 8},
            "unknown setting 'patch_size': did you mean 'patch'? (valid: answers_of, batch_size, ",
        ),
        (
            {"hr": "x", "batch": 8},
            "unknown setting 'batch': did you mean 'batch_size'? (valid: answers_of, batch_size, ",
        ),
        ({"weights": "x"}, "unknown setting 'weights': did you mean 'teacher'? (valid: answers_of, batch_size, "),
        ({"hr": "x", "views": {"zom_in": 2}}, "unknown setting 'views.zom_in': did you mean 'views.zoom_in'? (valid: "),
        ({"hr": "x", "views": {"base": {"crop": 2}}}, "unknown setting 'views.base.crop': did you mean 'views.base.cr"),
        ({"hr": "x", "views": {"base": "x"}}, "setting views.base.crops: expected a whole number from 0 to "),
        ({"hr": "x", "views": {"base": True}}, "setting views.base.crops: expected a whole number from 0 to "),
        ({"hr": "x", "views": [8]}, "setting views: expected settings by name, got [8]"),
        ({"hr": "x", "scale": 5}, "setting scale: expected a whole number from 2 to 4 or null, got 5"),
        (
            {"hr": "x", "patch": 5000},
            "setting patch: expected a whole number above 0 and at most 1024 or null, got 5000",
        ),
        ({"hr": "x", "codec": "jpg"}, "unknown codec 'jpg': did you mean 'png'? (valid: blosc, png, raw, webp)"),
        ({"hr": "x", "device": "tpu"}, "unknown device 'tpu': did you mean 'cpu'? (valid: auto, cpu, cuda)"),
        ({"hr": "x", "lr_template": "{stem}_lr"}, "`lr_template` means nothing without `lr`: give that, too"),
        ({"hr": "x", "scale": 2, "context": 8}, "`context` means nothing without `teacher`: give that, too"),
        (
            {"hr": "x", "scale": 2, "self_ensemble": 8},
            "`self_ensemble` means nothing without `teacher`: ",
        ),
        ({"hr": "x", "lr_template": "x"}, "`lr_template='x'`: expected a name made of {stem} and {scale}"),
    ],
)
def test_mistakes_are_one_line_wherever_they_are_made(given: dict[str, Any], says: str) -> None:
    lines = []
    for make in (lambda: validated(CacheConfig, given), lambda: CacheConfig(**given)):
        with pytest.raises(SettingError) as caught:
            make()
        lines.append(str(caught.value))
    assert lines[0].startswith(says)
    assert "\n" not in lines[0]
    assert lines[0] == lines[1]


def test_every_setting_and_group_says_what_it_is() -> None:
    assert [path for path, node in settings(SCHEMA) if not node.get("description")] == []
    assert [name for name, group in SCHEMA["$defs"].items() if not group.get("description")] == []


def test_an_editor_accepts_what_is_right_and_marks_mistakes() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    check = jsonschema.Draft202012Validator(SCHEMA)
    demo = yaml.safe_load((PROJECT / "params.yaml").read_text())["cache"]
    for right in (
        {}, {"hr": ["a", "b"]}, {"views": {"base": 3}}, {"views": {"zoom_out": {"patch": 16}}},
        {"teacher": ["a.pth", "b.pth"]}, {"teacher": {"a": "a.pth"}},
    ):  # fmt: skip
        assert check.is_valid(demo | right)
    for wrong in (
        {"hr": 3}, {"hrs": "x"}, {"patch": 0}, {"views": {"bas": 3}}, {"views": {"base": -1}},
        {"views": {"base": {"crop": 3}}}, {"store": "hdf5"},
    ):  # fmt: skip
        assert not check.is_valid(demo | wrong)
