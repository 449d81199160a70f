"""The reference of all settings in docs/settings.md, and what `schema` prints, from the schema."""

import json

from pydantic import BaseModel

from dukd_cache.settings.schema import Node, allowed, node_at, schema_of, settings
from dukd_cache.settings.yaml_file import word

_HEAD = "| setting | takes | default | what |\n|---|---|---|---|"


def text_of(model: type[BaseModel], as_markdown: bool) -> str:
    """What `schema` prints: the JSON schema of `model`, or `markdown`."""
    schema = schema_of(model)
    return markdown(schema).rstrip() if as_markdown else json.dumps(schema, indent=1)


def markdown(schema: Node) -> str:
    """A table of each group's settings, as Markdown; a name of the user's choice is NAME."""
    groups: dict[tuple[str, ...], list[str]] = {(): []}  # the settings of no group first
    for path, node in settings(schema):
        groups.setdefault(path[:-1], []).append(_row(_name(path), node, schema))
    parts = []
    for group, rows in groups.items():
        title = [f"### {_name(group)}", _description(schema, group)] if group else []
        parts.append("\n\n".join([*title, "\n".join([_HEAD, *rows])]))
    return "\n\n".join(parts) + "\n"


def _name(path: tuple[str, ...]) -> str:
    return ".".join(path).replace("*", "NAME")


def _row(name: str, node: Node, schema: Node) -> str:
    default = f"`{word(node['default'], str)}`" if "default" in node else "must be given"
    cells = [f"`{name}`", allowed(schema, node), default, _one_line(node.get("description", ""))]
    return f"| {' | '.join(cells)} |"


def _description(schema: Node, group: tuple[str, ...]) -> str:
    """The docstring of a group's class."""
    node = node_at(schema, group) or {}
    inner: Node = schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
    return _one_line(inner.get("description", ""))


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
