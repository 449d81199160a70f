"""Options that are made of a model of settings: its fields say their names, types, words, help and defaults, once.

What counts: the file of `--config`, then each `--set`, then the options that were given.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, Literal

import typer

from dukd_cache.command_line.values import CONFIG, Overrides, Section
from dukd_cache.settings.model import Model, Settings, content, validated
from dukd_cache.settings.presets import is_name
from dukd_cache.settings.schema import Node, node_at, schema_of, settings, short_of
from dukd_cache.settings.yaml_file import put
from dukd_cache.system.errors import SettingError

_UNGROUPED = "Settings"
_KINDS: Mapping[str, Any] = {"integer": int, "number": float, "boolean": bool, "array": list[str], "string": str}
_SHOWN: Mapping[Any, str] = {int: "N", float: "X", str: "TEXT", list[str]: "TEXT"}


@dataclass(frozen=True)
class Option:
    """Says one setting on the command line."""

    path: tuple[str, ...]
    name: str
    node: Node
    group: str
    """Heading that it stands under."""

    @property
    def word(self) -> str:
        """`--zoom-out-patch`"""
        return f"--{self.name.replace('_', '-')}"

    def parameter(self) -> Parameter:
        """As typer takes it. What is given stays text: the model reads it, as it reads what a file says."""
        *_, node = [each for each in self.node.get("anyOf", [self.node]) if each.get("type") != "null"]
        kind: Any = Literal.__getitem__(tuple(map(str, node["enum"]))) if "enum" in node else _KINDS[node["type"]]
        info = typer.Option(
            None,
            self.word,
            parser=None if kind is bool else str,
            metavar="PATH" if "path" in (node.get("format"), node.get("items", {}).get("format")) else _SHOWN.get(kind),
            help=_help(self.node),
            rich_help_panel=self.group,
            # A page is short; so the others of a group that has a short one.
            hidden=self.node.get("hidden", len(self.path) > 2 and self.name.endswith(self.path[-1])),
        )
        return Parameter(self.name, Parameter.KEYWORD_ONLY, default=info, annotation=kind)


def options_of(model: type[Settings]) -> list[Option]:
    """One for each setting: `views.zoom_out.patch` is `--zoom-out-patch`, that group's short one `--zoom-out`."""
    schema, found = schema_of(model), []
    for names, node in settings(schema):
        if "*" in names:  # a name of the user's: only a file and `set` can say it
            continue
        is_short = names[-1] == short_of(schema, names[:-1])
        group = (node_at(schema, names[:1]) or {}).get("group") or _UNGROUPED
        found.append(Option(names, "_".join(names[-2:-1] if is_short else names[-2:]), node, group))
    return found


def with_settings(model: type[Model]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command that takes settings: its first argument. It has `--config`, `--section`, `--set` and `options_of` them.

    Options of its own are its other arguments.
    """
    options = options_of(model)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def run(
            *,
            config: Annotated[str | None, CONFIG] = None,
            section: Section = None,
            overrides: Overrides = None,
            **words: Any,
        ) -> None:
            said = [(option, words.pop(option.name)) for option in options]
            given = [(option, value) for option, value in said if value is not None]
            command(_settings(model, config, section, overrides or [], given), **words)

        _, *own = signature(command).parameters.values()
        *shared, _ = signature(run).parameters.values()
        parameters = [*(each.replace(kind=Parameter.KEYWORD_ONLY) for each in own), *shared]
        vars(run)["__signature__"] = Signature([*parameters, *(option.parameter() for option in options)])
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        return run

    return decorate


def _settings(
    model: type[Model],
    config: str | None,
    section: str | None,
    overrides: Sequence[str],
    given: Sequence[tuple[Option, object]],
) -> Model:
    """What a command line asks for. A mistake names the option that made it, else the setting."""
    if section is not None and config is None:
        raise SettingError("give the file, too: --config FILE", f"--section {section}")
    found, schema = content(model, config, section, overrides), schema_of(model)
    for option, value in given:
        try:
            put(found, option.path, value, schema)
        except SettingError as error:
            raise error.about(option.word) from error
    may_hold_mistakes = overrides or (config is not None and not is_name(config))  # presets hold none
    named = [option for option, _ in given] if may_hold_mistakes else options_of(model)
    return validated(model, found, {option.path: option.word for option in named})


def _help(node: Node) -> str:
    """The first paragraph of what a field says; references and schemas have all."""
    first, _, _ = node["description"].partition("\n\n")
    text, default = " ".join(first.split()), node.get("default")
    if "default" not in node:
        return f"{text} Must be given."
    return text if default is None or default is False or default in ([], {}) else f"{text} Default: `{default}`."
