"""The reference of all settings in docs/settings.md, and what `schema` prints, from the schema."""

import json
from itertools import groupby

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
    leaves = [(path[:-1], ".".join(path).replace("*", "NAME"), node) for path, node in settings(schema)]
    leaves.sort(key=lambda leaf: leaf[0] != ())  # the settings of no group first; else the order stays
    parts = []
    for group, members in groupby(leaves, key=lambda leaf: leaf[0]):
        rows = [_row(name, node, schema) for _, name, node in members]
        title = [f"### {'.'.join(group).replace('*', 'NAME')}", _description(schema, group)] if group else []
        parts.append("\n\n".join([*title, "\n".join([_HEAD, *rows])]))
    return "\n\n".join(parts) + "\n"


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
