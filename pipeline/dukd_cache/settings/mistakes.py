"""What is wrong with settings, in one line: which setting, what is allowed, what was given, the nearest valid name."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from dukd_cache.settings.roles import called_here
from dukd_cache.settings.schema import Node, allowed, is_free, names_in, node_at, paths, required_in
from dukd_cache.settings.yaml_file import shown, word
from dukd_cache.system.errors import SettingError, unknown_name, wanted

Location = Sequence[str | int]


def explain(error: ValidationError, schema: Node, options: Mapping[tuple[str, ...], str]) -> SettingError:
    """The first thing that is wrong; `options` are names of options by the settings that they gave."""
    mistakes = error.errors()
    # A misspelt name comes before the setting that is missing for it.
    first = next((one for one in mistakes if one["type"] == "extra_forbidden"), mistakes[0])
    location, kind, given = first["loc"], first["type"], first["input"]
    if kind == "extra_forbidden" or location[-1:] == ("[key]",):
        return SettingError(_unknown([part for part in location if part != "[key]"], schema))
    option = next((name for path, name in options.items() if location[: len(path)] == path), None)
    if option and kind == "missing":
        return SettingError(f"{option} is missing: {(node_at(schema, location) or {}).get('description')}")
    if option and kind != "value_error":
        return SettingError(refused(option, first, _words(location, schema)))
    if kind == "value_error":  # raised by a check of the model
        return SettingError(
            str(first["ctx"]["error"]), option or (f"setting {_dotted(location)}" if location else None)
        )
    if kind == "missing" and not isinstance(location[-1], int):
        return SettingError(f"setting {_dotted(location)} is missing: expected {_allowed(location, schema)}")
    if kind == "literal_error" and isinstance(given, str) and (words := _words(location, schema)):
        return SettingError(unknown_name(_dotted(location), given, words))
    if kind == "missing":  # an item of a list: `given` is the list
        location = location[:-1]
    return SettingError(
        f"expected {_allowed(location, schema)}, got {shown(word(given))}", f"setting {_dotted(location)}"
    )


def refused(option: str, detail: Mapping[str, Any], words: Sequence[str]) -> str:
    """The line for the value of an option, by pydantic's error; `words` are those that it can be, if they are few."""
    given = str(detail["input"])
    if words and not all(map(str.isdigit, words)):
        return unknown_name(option, given, words)
    shown = given if re.fullmatch(r"[-+]?\d+(\.\d+)?", given) else repr(given)
    expected = f"{', '.join(words[:-1])} or {words[-1]}" if words else wanted(detail)
    return f"{option}: expected {expected}, got {shown}"


def _unknown(location: Location, schema: Node) -> str:
    *group, last = location
    name = str(last)
    valid = names_in(schema, group)
    suggested = " or ".join(repr(path) for path in _nearest(name, group, valid, schema))
    hint = f": did you mean {suggested}?" if suggested else ""
    own = required_in(schema, location)
    others = f", or a name of your own with {' and '.join(own)}" if own else ""
    return f"unknown setting {_dotted(location)!r}{hint} (valid: {', '.join(valid)}{others})"


def _nearest(name: str, group: Location, valid: list[str], schema: Node) -> list[str]:
    """What was probably meant: this name in another case or group, or another program's for it; then an alike one."""
    everywhere = list(paths(schema))
    if same := [other for other in valid if other.lower() == name.lower()]:
        return [_dotted([*group, same[0]])]
    if elsewhere := [_dotted(path) for path in everywhere if path[-1] == name.lower()]:
        return elsewhere
    if name in (others := called_here(schema)):
        return [others[name]]
    if alike := get_close_matches(name.lower(), valid, n=1, cutoff=0.5):
        return [_dotted([*group, alike[0]])]
    return [_dotted([*group, other, name]) for other in valid if is_free(schema, [*group, other])]


def _allowed(location: Location, schema: Node) -> str:
    node = node_at(schema, location)
    return allowed(schema, node) if node else "another value"


def _words(location: Location, schema: Node) -> list[str]:
    """The words that a setting can be."""
    node = node_at(schema, location) or {}
    return [word for choice in node.get("anyOf", [node]) for word in choice.get("enum", []) if isinstance(word, str)]


def _dotted(location: Location) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
