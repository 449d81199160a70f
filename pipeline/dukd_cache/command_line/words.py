"""What is wrong with the words of a command, in one line: the option, what was expected, what was given.

typer says it in click's words and pydantic's; here it is said as all other mistakes are.
"""

import os
import re
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

from dukd_cache.system.errors import DukdError, unknown_name


def explain(error: Any, called_here: Mapping[str, str], model: Callable[[], type[Any]]) -> str:
    """The line for an error of typer's; typer's own where there is no better one.

    `called_here` says what a command of another name is called here; `model` loads that of the commands with `--set`.
    """
    command: Any = getattr(getattr(error, "ctx", None), "command", None)
    if hasattr(error, "option_name") and hasattr(error, "possibilities") and command is not None:
        options = [word for each in command.params for word in each.opts if word.startswith("--")]
        given = next((word for word in sys.argv if re.match(rf"{error.option_name}\w", word)), error.option_name)
        return unknown_name("option", given, [*options, "--help"], _meant(given, options, model))
    if (missing := re.match(r"No such command '(.*?)'", error.message)) and hasattr(command, "commands"):
        meant = [called_here[missing[1]]] if missing[1] in called_here else []
        return unknown_name("command", missing[1], command.commands, meant)
    if hasattr(error, "option_name"):
        takes_none = "does not take a value" in error.message
        return f"{error.option_name}: " + ("takes no value" if takes_none else "expected a value, got nothing")
    if extra := re.match(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", error.message, re.DOTALL):
        arguments = [named(each) for each in command.params if not each.opts[0].startswith("-")]
        is_setting = re.fullmatch(r"[a-z][\w.]*=\S+", extra[1]) and any("--set" in each.opts for each in command.params)
        hint = f"; did you mean --set {extra[1]}?" if is_setting else ""
        return (
            f"unexpected {extra[1]!r}: {command.name} takes {' '.join([*arguments, 'options'])} and nothing else{hint}"
        )
    if isinstance(error.__cause__, DukdError):  # raised by what reads a value
        parameter = getattr(error, "param", None)
        return f"{named(parameter)}: {error.__cause__}" if parameter else str(error.__cause__)
    details: list[Mapping[str, Any]] = getattr(error.__cause__, "errors", list)()
    if details and getattr(error, "param", None) is not None:
        from dukd_cache.settings.mistakes import refused  # waits for pydantic

        choices = getattr(getattr(error.param, "type_descriptor", None), "choices", None) or ()
        return refused(named(error.param), details[0], [str(choice) for choice in choices])
    if hasattr(error, "param_type") and error.param is not None:
        return f"{named(error.param)} is missing: {error.param.help}"
    line: str = error.format_message()
    return line or "expected a command, got nothing"  # after the help, which typer prints


NAMES_SETTINGS = "DUKD_NAMES_SETTINGS"
"""Environment variable: set by a program that runs this one with a file of settings. It names these, not options."""

_SETTING = re.compile(r"`([a-z][a-z0-9_.]*)(?:=([^`]*))?`")


def in_options(line: str, options: Mapping[str, str]) -> str:
    """The line of a `DukdError` as a command says it: `on_bad_image=skip` is `--on-bad-image skip`.

    `options` are those of the program by the names of their parameters. Settings without one are set by `--set`.
    Where another program asks (`NAMES_SETTINGS`), they keep their names.
    """
    if NAMES_SETTINGS in os.environ:
        return _SETTING.sub(lambda setting: setting[0].strip("`"), line)

    def said(setting: re.Match[str]) -> str:
        name, value = setting.groups()
        if name in options or name.startswith("views."):
            option = options.get(name) or "--" + re.sub("[._]", "-", name.removeprefix("views."))
            return option if value in (None, "true") else f"{option} {value}"
        return f"--set {name}={value}" if "." in name and value is not None else setting[0]

    return _SETTING.sub(said, line)


def named(parameter: Any) -> str:
    """What an option or argument is called where it is explained: `--out`, `CACHE`."""
    option: str = max(parameter.opts, key=len)
    return option if option.startswith("-") else parameter.metavar or option.upper()


_FILE_OF_SETTINGS = ("cfg", "conf", "opt", "yaml", "yml")
"""What other programs call `--config`."""


def _meant(word: str, options: Collection[str], model: Callable[[], type[Any]]) -> list[str]:
    """How a command with `options` says the settings that are called `word` in a file or in another program."""
    if "--set" not in options:
        return []
    from dukd_cache.command_line.options import options_of  # waits for pydantic
    from dukd_cache.settings.roles import called_here
    from dukd_cache.settings.schema import schema_of

    name = word.strip("-").replace("-", "_").lower()
    if name in _FILE_OF_SETTINGS and "--config" in options:
        return ["--config"]
    other = called_here(schema_of(model())).get(name)
    paths = {".".join(option.path): option for option in options_of(model())}
    found = {path: each for path, each in paths.items() if path in (name, other) or name in (each.name, each.path[-1])}
    return [each.word if each.word in options else f"--set {path}=…" for path, each in found.items()]
