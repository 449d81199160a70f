"""Each setting with values that it does not take: one line that names it, exit code 2, nothing is trained.

Names, types, bounds and words are the schema's, so a new setting is tried without a word here.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from dukd_cache.settings.schema import Node, schema_of, settings
from dukd_train import cli
from dukd_train.settings import TrainConfig

WRONG: Mapping[str, str] = {
    "integer": "word|2.5|true|[1]|{a: 1}|.nan|.inf|''|1e30",
    "number": "word|true|[1]|{a: 1}|.nan|.inf|''",
    "boolean": "word|2|[1]|{a: 1}|''",
    "string": "2|true|[1]|{a: 1}",
    "array": "word|2|true|[[word]]|{a: 1}|''",
    "object": "word|2|true|[1]",
}
"""In YAML, by the type that is wanted."""

SETTINGS = [(".".join(path).replace("*", "mine"), node) for path, node in settings(schema_of(TrainConfig))]


def awkward(node: Node) -> Iterator[str]:
    """Values in YAML: of a wrong type, of no word that is allowed, out of bounds, none at all."""
    choices = node.get("anyOf", [node])
    kinds = [each.get("type", "") for each in choices]
    yield from sorted(set.intersection(*({*WRONG[kind].split("|")} for kind in kinds if kind in WRONG)))
    if not {"null", "object"} & {*kinds}:
        yield ""
    for each in choices:
        yield from ["nope", "''"] if "enum" in each else []
        for bound, further in {"minimum": -1, "exclusiveMinimum": 0, "maximum": 1, "exclusiveMaximum": 0}.items():
            if bound in each:
                yield str(each[bound] + further)
                yield str(10**30 if "ax" in bound else -(10**30))


@pytest.mark.parametrize(("name", "node"), SETTINGS, ids=[name for name, _ in SETTINGS])
def test_what_a_setting_does_not_take(
    name: str,
    node: Node,
    cache_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    right = {"cache": str(cache_folder), "steps": 1, "device": "cpu", "validation": {"sets": {"mine": {"hr": "hr"}}}}
    right["loss"] = {"mine": {"view": "base", "to": "truth"}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(right))
    faults: list[str] = []
    for value in awkward(node):
        words = ["run", "--config", tmp_path / "c.yaml", "--set", f"{name}={value}", "--out", tmp_path / "run"]
        monkeypatch.setattr(sys, "argv", ["dukd-train", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        lines = printed.err.splitlines()
        if (end.value.code, len(lines), printed.out) != (2, 1, "") or name not in lines[0]:
            faults.append(f"{value}: {end.value.code} {lines}")
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]
    assert not faults, "\n".join(["", *faults])
