"""YAML as settings are written in it: numbers and truth values of YAML 1.2, no name twice, mistakes in one line.

PyYAML by itself goes by YAML 1.1, where `1e-4` is text, `no` is false and a folder called `2024-01-01` is a date. DVC
reads `params.yaml` by YAML 1.2, and so does this.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dukd_cache.settings.schema import Node, node_at, short_of
from dukd_cache.system.errors import SettingError, unknown_name
from dukd_cache.system.terminal import tell_once

_FOREIGN = ("network_g", "datasets", "train")
"""Groups at the top of an option file of BasicSR and its kin."""

_PLAIN = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    "int": (r"[-+]?[0-9][0-9_]*", [*"-+0123456789"]),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        [*"-+.0123456789"],
    ),
    "merge": (r"<<", ["<"]),
}
"""What a word without quotes can be, first match first: its pattern, and how it begins. Else it is text."""

_LONGEST = 80
"""Characters of a word that a line shows."""

_TAG = "tag:yaml.org,2002:"


def read(path: Path, section: str | None, needed: Sequence[str]) -> dict[str, Any]:
    """The settings in the file `path`, or in its part `section`; `needed` are those that cannot be left out.

    Raises:
        SettingError: no such file or section, not YAML, a name twice, or no settings by name.
    """
    if path.suffix.lower() == ".toml":
        raise SettingError("a TOML file; settings are written in YAML, see docs/settings.md", path)
    try:
        settings = _by_name(parse(path.read_bytes()), str(path))
    except FileNotFoundError as error:
        raise SettingError("no such config file", path) from error
    except OSError as error:
        raise SettingError(f"not a YAML file ({error.strerror})", path) from error
    except yaml.YAMLError as error:
        raise SettingError(f"not a YAML file ({_explain(error)})", path) from error
    if section is None:
        _refuse_others(settings, path, needed)
        return settings
    if section not in settings:
        raise SettingError(unknown_name("section", section, settings), path)
    return _by_name(settings[section], f"{path}: section {section}")


def change(settings: dict[str, Any], override: str, schema: Node) -> None:
    """Set what `override` (`a.b=value`, the value in YAML) says.

    Raises:
        SettingError: not `name=value`, a value that is not YAML, or a way through something that is no group.
    """
    names, value = _said(override)
    try:
        put(settings, names, value, schema)
    except SettingError as error:
        raise error.about(f"`overrides={override}`") from error


def drop_decided(settings: dict[str, Any], overrides: Sequence[str], schema: Node) -> None:
    """Drop from a file's `settings` what says nothing any more beside `overrides`: see `Marked.decides`.

    That is told, unless `overrides` give it anew. What they say of single settings in it counts.

    Raises:
        SettingError: an override is not `name=value`, or its value is not YAML.
    """
    said = [_said(override) for override in overrides]
    for names, value in said:
        decided = (node_at(schema, names) or {}).get("decides", ())
        group: Any = settings
        for name in names[:-1]:
            group = group.get(name) if isinstance(group, dict) else None
        if not decided or not isinstance(group, dict):
            continue
        before = group.get(names[-1], (node_at(schema, names) or {}).get("default"))
        for path in ([*names[:-1], name] for name in decided if str(before).lower() != str(value).lower()):
            dropped = group.pop(path[-1], None)
            if dropped and path not in [each for each, _ in said]:
                tell_once(f"{'.'.join(path)} of {before} do not count for {value}: {', '.join(dropped)}")


def _said(override: str) -> tuple[list[str], object]:
    """The path of a setting and its value: `a.b=value`."""
    path, equals, value = override.partition("=")
    names = [name.strip() for name in path.split(".")]
    if not equals or not all(names):
        raise SettingError("expected key=value, like optimizer.lr=2e-4", f"`overrides={override}`")
    try:
        return names, parse(value)
    except yaml.YAMLError as error:
        raise SettingError(f"{shown(value)!r} is not a YAML value", f"`overrides={shown(override)}`") from error


def put(settings: dict[str, Any], names: Sequence[str], value: object, schema: Node) -> None:
    """Set `value` at the path `names`; missing or empty groups on the way are made, those given as one value spelt out.

    Raises:
        SettingError: a way through something that is no group.
    """
    for depth, name in enumerate(names[:-1], 1):
        group = {} if settings.get(name) is None else settings[name]
        if not isinstance(group, dict):
            path, short = ".".join(names[:depth]), short_of(schema, names[:depth])
            if isinstance(group, list):
                raise SettingError(f"{path} is a list: give it whole, {path}=[…]")
            if short is None:
                raise SettingError(f"{path} is a value, not a group of settings")
            group = {short: group}
        settings[name] = dict(group)  # a copy, as YAML anchors share groups
        settings = settings[name]
    there, short = settings.get(names[-1]), short_of(schema, names)
    if short and isinstance(there, dict) and not isinstance(value, dict):
        value = there | {short: value}  # the rest of the group stays
    settings[names[-1]] = value


def shown(text: str) -> str:
    """A word as a line can hold it."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def word(value: object, other: Callable[[object], str] = repr) -> str:
    """A value as YAML has it: `null`, `true`, `false`, and what `other` makes of all else."""
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else other(value)


def dump(settings: Mapping[str, Any]) -> str:
    """YAML that `read` turns into `settings` again."""
    return yaml.dump(settings, Dumper=_Dumper, sort_keys=False)


class _Loader(yaml.SafeLoader):
    """Plain data by YAML 1.2; names are text, and each is given once."""

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.composer.ComposerError(None, None, "expected a name before ':'", key.start_mark)
            if key.tag == _TAG + "merge":
                continue
            key.tag = _TAG + "str"
            if key.value in lines:
                problem = f"{key.value!r} is there already, in line {lines[key.value]}"
                raise yaml.composer.ComposerError(None, None, problem, key.start_mark)
            lines[key.value] = key.start_mark.line + 1
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Without YAML 1.1's octal numbers: 010 is ten."""
        return int(node.value)


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 or 1.2 would take for something else; writes shared groups out."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


_Loader.yaml_implicit_resolvers = {}
_Loader.add_constructor(_TAG + "int", _Loader.construct_yaml_int)
for kind in (_Loader, _Dumper):
    for name, (pattern, letters) in _PLAIN.items():
        kind.add_implicit_resolver(_TAG + name, re.compile(rf"(?:{pattern})\Z"), letters)


def parse(text: str | bytes) -> object:
    """What a text says in YAML 1.2.

    Raises:
        yaml.YAMLError: it is none, or has a name twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise yaml.YAMLError("brackets or groups within each other, hundreds deep") from None


def _by_name(content: object, where: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        found = "nothing" if content is None else type(content).__name__
        raise SettingError(f"expected settings by name, found {found}", where)
    return content


def _refuse_others(settings: dict[str, Any], path: Path, needed: Sequence[str]) -> None:
    """Name the file where it is another program's, or holds the settings one level deeper."""
    groups = {name: group for name, group in settings.items() if isinstance(group, dict)}
    foreign = [name for name in _FOREIGN if name in groups]
    if len(foreign) > 1:
        message = f"an option file of BasicSR, neosr or traiNNer ({', '.join(foreign)})"
        raise SettingError(f"{message}; docs/settings.md has what each option is called here", path)
    parts = [name for name, group in groups.items() if _has(group, needed)]
    if parts and not _has(settings, needed):
        raise SettingError(f"holds settings in {' and '.join(parts)}: give `section={parts[0]}`", path)


def _has(settings: Mapping[str, Any], needed: Sequence[str]) -> bool:
    return all(isinstance(settings.get(name), str | list) for name in needed)


def _explain(error: yaml.YAMLError) -> str:
    """PyYAML's message as one line, with the line that it is about."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None or error.problem is None:
        return " ".join(str(error).split())
    problem = "a tab, where YAML wants spaces" if r"'\t'" in error.problem else error.problem
    return f"line {error.problem_mark.line + 1}: {problem}"
