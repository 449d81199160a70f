"""Presets: settings that come with a program. Wherever a file of settings is asked for, a preset's name will do.

Each is a file NAME.yaml in a package of its own, whose first line says in a comment what it is for.
"""

import re
from collections.abc import Sequence
from functools import reduce
from importlib.resources import files
from typing import Any

from dukd_cache.settings import yaml_file
from dukd_cache.system.errors import SettingError, unknown_name

_SUFFIX = ".yaml"


def is_name(given: str) -> bool:
    """Whether `given` names a preset: a word without suffix and folder, even where there is a file of that name."""
    return re.fullmatch(r"[\w-]+", given) is not None


def names(package: str) -> list[str]:
    """Of all presets, sorted."""
    found = (each.name for each in files(package).iterdir())
    return sorted(name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX))


def text(package: str, name: str) -> str:
    """The YAML of a preset, with its comments.

    Raises:
        SettingError: there is none of that name.
    """
    if name not in (there := names(package)):
        raise SettingError(unknown_name("preset", name, there))
    return (files(package) / f"{name}{_SUFFIX}").read_text(encoding="utf-8")


def summary(package: str, name: str) -> str:
    """What a preset is for, in a line."""
    return text(package, name).splitlines()[0].removeprefix("# ")


def read(package: str, name: str) -> dict[str, Any]:
    """What a preset says.

    Raises:
        SettingError: there is none of that name.
    """
    found = yaml_file.parse(text(package, name))
    assert isinstance(found, dict)
    return found


def table(package: str, shown: Sequence[str]) -> str:
    """A line for each preset: its name, the settings `shown` (dotted paths; `any` where it has none), its summary."""
    rows = [["preset", *(path.rpartition(".")[2] for path in shown), "for"]]
    for name in names(package):
        settings = read(package, name)
        values = (reduce(lambda group, part: group.get(part, {}), path.split("."), settings) for path in shown)
        rows.append([name, *(str(value or "any") for value in values), summary(package, name)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
