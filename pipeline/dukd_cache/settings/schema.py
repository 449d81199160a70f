"""The settings' JSON schema: for editors, for the lines that explain mistakes, and for docs/settings.md.

A node is a schema of one setting or group; a path is the names that lead to it, `("optimizer", "lr")`.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel

Node = dict[str, Any]
Path = tuple[str, ...]


def schema_of(model: type[BaseModel]) -> Node:
    """The whole schema (JSON Schema 2020-12); descriptions are the docstrings. Not to be changed."""
    return _schema_of(model)


@cache  # a command asks for it seven times, and it takes 10 ms or more
def _schema_of(model: type[BaseModel]) -> Node:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}


def node_at(schema: Node, path: Sequence[str | int]) -> Node | None:
    """The node of a setting, a group, or an item of a list; None where there is nothing of this name."""
    node = schema
    for part in path:
        found = next((found for form in _forms(schema, node) if isinstance(found := _part(form, part), dict)), None)
        if found is None:
            return None
        node = found
    return node


def names_in(schema: Node, group: Sequence[str | int]) -> list[str]:
    """The names of the settings in a group, sorted; none for what is no group, or one with names of the user's."""
    node = node_at(schema, group)
    return sorted({name for form in _forms(schema, node) for name in _named(form)}) if node else []


def required_in(schema: Node, group: Sequence[str | int]) -> list[str]:
    """The settings that must be given in a group."""
    node = node_at(schema, group)
    return [name for form in _forms(schema, node) for name in form.get("required", [])] if node else []


def settings(schema: Node, group: Path = ()) -> Iterator[tuple[Path, Node]]:
    """All settings with their paths, in the order of the fields; `*` stands for a name of the user's choice."""
    inner = _inner(schema, node_at(schema, group) or {})
    named = dict(_named(inner))
    if "propertyNames" not in inner and isinstance(inner.get("additionalProperties"), dict):
        named["*"] = inner["additionalProperties"]
    for name, node in named.items():
        deeper = _forms(schema, node)[0]
        if "properties" in deeper or isinstance(deeper.get("additionalProperties"), dict):
            yield from settings(schema, (*group, name))
        else:
            yield (*group, name), node


def paths(schema: Node) -> Iterator[Path]:
    """Paths of all groups and settings, each once, groups before what they hold; without the user's own names."""
    every = [path[:depth] for path, _ in settings(schema) for depth in range(1, len(path) + 1)]
    yield from (path for path in dict.fromkeys(every) if "*" not in path)


def is_free(schema: Node, path: Sequence[str | int]) -> bool:
    """Whether a group takes any names, as the settings of an architecture do."""
    node = node_at(schema, path)
    return node is not None and _inner(schema, node).get("additionalProperties") is True


def short_of(schema: Node, path: Sequence[str]) -> str | None:
    """The setting that is meant where the group `path` is given as one value, if there is one."""
    node = node_at(schema, path)
    return _inner(schema, node).get("short") if node else None


def allowed(schema: Node, node: Node) -> str:
    """What a node takes, in words: `a whole number above 0`, `a list of 2: …`."""
    if "$ref" in node:
        return allowed(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
    if "anyOf" in node or "enum" in node:
        *first, last = _choices(schema, node)
        return f"{', '.join(first)} or {last}" if first else last
    if "const" in node:
        return str(node["const"])
    match node.get("type"):
        case "integer":
            return f"a whole number{_bounds(node)}"
        case "number":
            return f"a number{_bounds(node)}"
        case "boolean":
            return "true or false"
        case "null":
            return "null"
        case "string":
            return "a path" if node.get("format") == "path" else "text"
        case "array" if "prefixItems" in node:
            kinds = [allowed(schema, item) for item in node["prefixItems"]]
            same = len(set(kinds)) == 1
            return f"a list of {len(kinds)}, " + (f"each {kinds[0]}" if same else ", ".join(kinds))
        case "array":
            return f"a list, each {allowed(schema, node['items'])}"
        case _:
            return "settings by name"


def _forms(schema: Node, node: Node) -> list[Node]:
    """What a node may be but null, the usual form first, references followed."""
    if "anyOf" in node:
        return [form for choice in node["anyOf"] if choice.get("type") != "null" for form in _forms(schema, choice)]
    return _forms(schema, schema["$defs"][node["$ref"].rpartition("/")[2]]) if "$ref" in node else [node]


def _inner(schema: Node, node: Node) -> Node:
    """`node` itself, or the group or list that it refers to, also where it may be something else."""
    forms = _forms(schema, node)
    return next((form for form in forms if form.get("type") in ("object", "array")), forms[0])


def _named(group: Node) -> dict[str, Node]:
    """What a group holds by names that are known: its fields, or one and the same for each name that is allowed."""
    names = group.get("propertyNames", {}).get("enum", [])
    return group.get("properties") or dict.fromkeys(names, group.get("additionalProperties", {}))


def _part(form: Node, part: str | int) -> Any:
    if isinstance(part, str):
        free = part in form.get("propertyNames", {}).get("enum", [part])
        return form.get("properties", {}).get(part, form.get("additionalProperties") if free else None)
    items = form.get("prefixItems", [form.get("items")])
    return items[min(part, len(items) - 1)]


def _choices(schema: Node, node: Node) -> list[str]:
    if "anyOf" in node:  # a group that is usually given as one value is told by that
        usual, *others = node["anyOf"]
        told = [usual, *(choice for choice in others if "short" not in choice)]
        return [words for choice in told for words in _choices(schema, choice)]
    return [str(word) for word in node["enum"]] if "enum" in node else [allowed(schema, node)]


def _bounds(node: Node) -> str:
    if "minimum" in node and "maximum" in node:
        return f" from {node['minimum']} to {node['maximum']}"
    words = {"exclusiveMinimum": "above", "minimum": "of at least", "exclusiveMaximum": "below", "maximum": "at most"}
    found = [f" {word} {node[key]}" for key, word in words.items() if key in node]
    return " and".join(found)
