"""What a setting is to those who compare, resume and explain settings: marked at its field, read from the schema."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from dukd_cache.settings.schema import Node, node_at, paths


@dataclass(frozen=True)
class Marked:
    """A mark on a field: `seed: Annotated[Seed, Marked(roles=("of the method",), called=("manual_seed",))] = 0`."""

    roles: tuple[str, ...] = ()
    """Words that programs ask for with `settings_with`; on a group they are those of all that it holds."""
    called: tuple[str, ...] = ()
    """What users of other programs call it."""
    decides: tuple[str, ...] = ()
    """Settings of its group that mean nothing beside another value of it: where that is overridden, a file's go."""
    group: str = ""
    """Heading that it stands under where options are listed."""
    hidden: bool = False
    """Its option is not listed: a page is short."""

    def named(self, *called: str) -> Self:
        """The same mark, of a setting that users of other programs call so."""
        return replace(self, called=called)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        marks = {"roles": [*self.roles], "called": [*self.called], "decides": [*self.decides], "group": self.group}
        return handler(core) | marks | ({"hidden": True} if self.hidden else {})


def settings_with(schema: Node, role: str) -> tuple[str, ...]:
    """Dotted paths of the groups and settings that are marked with `role`."""
    return tuple(".".join(path) for path in paths(schema) if role in (node_at(schema, path) or {}).get("roles", ()))


def called_here(schema: Node) -> dict[str, str]:
    """What users of other programs call a setting → its dotted path."""
    return {
        theirs: ".".join(path) for path in paths(schema) for theirs in (node_at(schema, path) or {}).get("called", ())
    }


def within(name: str, groups: Iterable[str]) -> bool:
    """Whether a setting is one of `groups`, or in one of them; all by their dotted paths."""
    return any(name == group or name.startswith(f"{group}.") for group in groups)


def flat(settings: Mapping[str, Any], group: str = "") -> dict[str, Any]:
    """Every setting by its dotted path; an empty group has none."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= flat(value, f"{group}{name}.") if isinstance(value, Mapping) else {f"{group}{name}": value}
    return found
