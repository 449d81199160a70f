"""The schema as an editor uses it, and its parts in words."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import BaseModel, Field
from tests.conftest import PROJECT

from dukd_cache.settings.schema import Node, allowed, is_free, names_in, node_at, paths, schema_of, settings
from dukd_train.settings import TrainConfig


class Inner(BaseModel):
    """A group."""

    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    rate: Annotated[float, Field(gt=0)] = 1.0
    folder: Path


class Outer(BaseModel):
    kind: Literal["a", "b", "c"]
    only: Literal["a"] = "a"
    free: dict[str, Any] = {}
    named: dict[str, Inner] = {}
    inner: Inner
    perhaps: Inner | None = None
    side: Annotated[int, Field(ge=2, lt=9)] | None = None
    flag: bool = False
    word: str | int = "x"
    two: tuple[int, int] = (1, 2)
    mixed: tuple[int, str] = (1, "x")
    many: list[bool] = []


SCHEMA = schema_of(Outer)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (("kind",), "a, b or c"),
        (("only",), "a"),
        (("free",), "settings by name"),
        (("named",), "settings by name"),
        (("named", "mine"), "settings by name"),
        (("named", "mine", "folder"), "a path"),
        (("inner",), "settings by name"),
        (("inner", "share"), "a number from 0 to 1"),
        (("perhaps",), "settings by name or null"),
        (("perhaps", "rate"), "a number above 0"),
        (("side",), "a whole number of at least 2 and below 9 or null"),
        (("flag",), "true or false"),
        (("word",), "text or a whole number"),
        (("two",), "a list of 2, each a whole number"),
        (("two", 1), "a whole number"),
        (("mixed",), "a list of 2, a whole number, text"),
        (("mixed", 1), "text"),
        (("many",), "a list, each true or false"),
        (("many", 7), "true or false"),
    ],
)
def test_what_is_allowed_in_words(path: tuple[str | int, ...], words: str) -> None:
    node = node_at(SCHEMA, path)
    assert node is not None
    assert allowed(SCHEMA, node) == words


@pytest.mark.parametrize("path", [("nothing",), ("inner", "nothing"), ("side", "nothing"), ("free", "x")])
def test_where_nothing_is(path: tuple[str, ...]) -> None:
    assert node_at(SCHEMA, path) is None
    assert names_in(SCHEMA, path) == []


def test_names_and_paths() -> None:
    assert names_in(SCHEMA, ()) == sorted(Outer.model_fields)
    assert names_in(SCHEMA, ("perhaps",)) == ["folder", "rate", "share"]
    assert names_in(SCHEMA, ("named", "mine")) == ["folder", "rate", "share"]
    assert names_in(SCHEMA, ("named",)) == []
    assert [path for path in Outer.model_fields if is_free(SCHEMA, (path,))] == ["free"]
    found = [path for path, _ in settings(SCHEMA)]
    assert found[:7] == [
        ("kind",), ("only",), ("free",), ("named", "*", "share"), ("named", "*", "rate"), ("named", "*", "folder"),
        ("inner", "share"),
    ]  # fmt: skip
    assert list(paths(SCHEMA))[2:6] == [("free",), ("named",), ("inner",), ("inner", "share")]


@pytest.fixture(scope="module")
def schema() -> Node:
    return schema_of(TrainConfig)


def test_every_setting_and_group_says_what_it_is(schema: Node) -> None:
    assert [path for path, node in settings(schema) if not node.get("description")] == []
    assert [name for name, group in schema["$defs"].items() if not group.get("description")] == []


@pytest.mark.parametrize(
    "path", sorted((PROJECT / "trainer/dukd_train/presets").glob("*.yaml")), ids=lambda path: path.stem
)
def test_an_editor_accepts_the_presets_and_marks_mistakes(schema: Node, path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    preset = yaml.safe_load(path.read_text())
    assert check.is_valid(preset)
    for mistake in ({"stepss": 1}, {"steps": 0}, {"method": "dudk"}, {"loss": {"kd": -1}}, {"loss": {"dk": 1}}):
        assert not check.is_valid(preset | mistake)
