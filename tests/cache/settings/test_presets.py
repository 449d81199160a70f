"""The presets of caches: what they ask for, and how both programs list and print presets."""

import re
from pathlib import Path

import pytest
from tests.conftest import PROJECT

from dukd_cache.cli import main as cache_main
from dukd_cache.commands.config import CacheConfig
from dukd_cache.plan.views import VIEWS
from dukd_cache.settings import presets
from dukd_train.cli import main as train_main

NAMES = presets.names(CacheConfig.presets)
COUNTS = {
    "dukd": [64, 64, 64],
    "few": [16, 40, 0],
    "kd": [64, 0, 0],
    "pairs": [64, 0, 0],
    "real": [16, 4, 4],
    "small": [4, 2, 2],
}
PATCHES = {"few": 32, "small": 32, "real": 64}
"""Crops of an image, by view; sides of patches, where they are not 48."""


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_asks_for(name: str) -> None:
    given = ["hr=photos", "scale=4" if name == "pairs" else "teacher=SwinIR_x4.pth"]
    made = CacheConfig.load(name, None, given)
    assert [made.crops(view) for view in VIEWS] == COUNTS[name]
    assert made.patch == PATCHES.get(name, 48)
    assert bool(made.degradation) == (name == "real")


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_in_its_comments_are_right(name: str) -> None:
    text = presets.text(CacheConfig.presets, name)
    assert f"\n#\n#   dukd-cache build --config {name} --hr " in text
    named = re.findall(r"dukd-train run --config (\S+)", text)
    assert {*named} <= {*presets.names("dukd_train.presets")}


@pytest.mark.parametrize(("program", "package"), [("cache", "dukd_cache.presets"), ("train", "dukd_train.presets")])
def test_they_are_listed_and_printed(
    program: str, package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = {"cache": cache_main, "train": train_main}[program]

    def printed(*words: str) -> tuple[object, str, str]:
        monkeypatch.setattr("sys.argv", [f"dukd-{program}", "presets", *words])
        with pytest.raises(SystemExit) as end:
            main()
        return (end.value.code, *capsys.readouterr())

    code, table, _ = printed()
    head, *lines = table.splitlines()
    assert (code, head.split()[0], [line.split()[0] for line in lines]) == (0, "preset", presets.names(package))
    for line, name in zip(lines, presets.names(package), strict=True):
        assert line.endswith(presets.summary(package, name))
        file = PROJECT / {"cache": "pipeline", "train": "trainer"}[program] / package.replace(".", "/") / f"{name}.yaml"
        assert printed(name) == (0, file.read_text(encoding="utf-8"), "")
    code, _, error = printed("nope")
    assert (code, error.count("\n")) == (2, 1)
    assert error.startswith(f"dukd-{program}: NAME: unknown preset 'nope' (valid: ")


def test_the_table_has_settings_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "of_a_test"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "one.yaml").write_text("# first\nscale: 2\nstudent: {architecture: EDSR}\n")
    (package / "another.yaml").write_text("# second\nsteps: 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert presets.table("of_a_test", ("scale", "student.architecture")).splitlines() == [
        "preset   scale  architecture  for",
        "another  any    any           second",
        "one      2      EDSR          first",
    ]
