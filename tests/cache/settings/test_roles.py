"""Marks on fields, and settings by their dotted paths."""

from typing import Annotated

from pydantic import BaseModel

from dukd_cache.settings.roles import Marked, called_here, flat, settings_with, within
from dukd_cache.settings.schema import schema_of


class Inner(BaseModel):
    rate: Annotated[float, Marked(called=("speed",))] = 1.0
    side: Annotated[int | None, Marked(("shape",))] = None


class Outer(BaseModel):
    inner: Annotated[Inner, Marked(("loose",))] = Inner()
    perhaps: Annotated[Inner | None, Marked(("loose", "shape"))] = None
    other: Inner = Inner()


SCHEMA = schema_of(Outer)


def test_marks_are_read_where_they_stand() -> None:
    assert settings_with(SCHEMA, "loose") == ("inner", "perhaps")
    assert settings_with(SCHEMA, "shape") == ("inner.side", "perhaps", "perhaps.side", "other.side")
    assert settings_with(SCHEMA, "nothing") == ()
    assert called_here(SCHEMA)["speed"] == "other.rate"


def test_what_lies_within() -> None:
    assert [within(name, ("a", "b.c")) for name in ("a", "a.x", "b", "b.c.d", "ab", "b.cd")] == [
        True, True, False, True, False, False,
    ]  # fmt: skip


def test_flat_settings() -> None:
    assert flat({"a": 1, "b": {"c": {"d": [1, {"e": 2}]}, "f": {}}, "g": None}) == {
        "a": 1, "b.c.d": [1, {"e": 2}], "g": None,
    }  # fmt: skip
