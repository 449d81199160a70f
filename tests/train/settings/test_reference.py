"""docs/settings.md: its tables of all settings, and of what other trainers call them."""

import re

import pytest
from tests.conftest import PROJECT

from dukd_cache.settings import reference, schema
from dukd_cache.settings.model import load
from dukd_cache.settings.roles import called_here
from dukd_cache.settings.schema import paths, schema_of
from dukd_train.settings import FREE, TrainConfig, with_role

SCHEMA = schema_of(TrainConfig)
PAGE = (PROJECT / "docs" / "settings.md").read_text()
MARKER = "<!-- The rest is what `dukd-train schema --markdown` prints. -->\n\n"
TABLE = PAGE.partition("## What other trainers call it")[2].partition("## All settings")[0]
FOREIGN = re.findall(r"^\| (`[a-z].*?) \|(.*?)\| (.*) \|$", TABLE, re.MULTILINE)


def test_the_page_has_all_settings_as_they_are() -> None:
    """If not: `make docs`."""
    assert PAGE.partition(MARKER)[2].strip() == reference.markdown(SCHEMA).strip()


def test_each_setting_has_one_row() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", reference.markdown(SCHEMA), re.MULTILINE)
    assert sorted(rows) == sorted(".".join(path).replace("*", "NAME") for path, _ in schema.settings(SCHEMA))


def test_rows_say_what_is_taken_and_what_is_the_default() -> None:
    text = reference.markdown(SCHEMA)
    assert "| `cache` | a path | must be given | " in text
    assert "| `optimizer.lr` | a number above 0 | `0.0001` | " in text
    assert "| `patch` | a whole number above 0 or null | `null` | " in text
    assert "### validation.sets.NAME\n\nA benchmark.\n\n" in text


def test_other_trainers_names_lead_to_settings_that_exist() -> None:
    existing = {".".join(path) for path in paths(SCHEMA)}
    assert len(FOREIGN) > 20
    for theirs, _, ours in FOREIGN:
        named = [name for name in re.findall(r"`([^`]+)`", ours) if name in existing]
        assert named or "dukd-cache" in ours or ours.startswith("none"), theirs


@pytest.mark.parametrize("name", called_here(SCHEMA))
def test_hints_of_error_messages_agree_with_the_table(name: str) -> None:
    row = next(row for row in FOREIGN if f"`{name}`" in f"{row[0]} {row[1]}")
    assert f"`{called_here(SCHEMA)[name]}`" in row[2]


def test_the_page_about_training_names_what_may_change() -> None:
    row = re.search(r"^\| (.*) \| may change;", (PROJECT / "docs" / "training.md").read_text(), re.MULTILINE)
    assert row is not None
    assert sorted(re.findall(r"`(\w+)`", row[1])) == sorted(with_role(FREE))


OVERRIDES = re.findall(r"--set (?:'([^']+)'|([^\s`]+=[^\s`]+))", PAGE)


@pytest.mark.parametrize("override", [quoted or bare for quoted, bare in OVERRIDES if bare != "a.b=value"])
def test_what_the_page_sets_can_be_set(override: str) -> None:
    default = load(TrainConfig, PROJECT / "configs" / "edsr_x4.yaml")
    assert load(TrainConfig, PROJECT / "configs" / "edsr_x4.yaml", None, [override]) != default


def test_the_pages_presets_exist() -> None:
    table = PAGE.partition("## Presets")[2].partition("## ")[0]
    named = set(re.findall(r"`(\w+_x\d)`", table))
    assert named == {path.stem for path in (PROJECT / "configs").glob("*.yaml")}
