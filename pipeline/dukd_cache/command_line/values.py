"""How both commands read a value of an option or an argument, and the options that several commands have."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from dukd_cache.settings.addresses import local_path, network_file, parsed
from dukd_cache.settings.part import Part, part_of
from dukd_cache.system.errors import DukdError, SettingError

T = TypeVar("T")


def path(text: str) -> Path:
    """Reads an option or argument that names a file or folder of this machine."""
    return _read(local_path, text)


def network(text: str) -> Path:
    """Reads one that names weights, a program, or the user's own code."""
    return _read(network_file, text)


def source(text: str) -> str:
    """Reads one that names a file of settings, or a preset."""
    _read(local_path, text)
    return text


def address(text: str) -> str:
    """Reads one that names a place which may be elsewhere: that of a cache."""
    return str(_read(parsed, text))


def part(text: str) -> Part:
    """Reads which share of the work this machine does."""
    return _read(part_of, text)


def numbers(text: str, option: str) -> tuple[float, ...]:
    """The numbers separated by commas that `option` was given; `none` is none of them.

    Raises:
        SettingError: they are something else.
    """
    parts = [] if text.strip() == "none" else text.split(",")
    try:
        return tuple(float(part) for part in parts)
    except ValueError:
        raise SettingError(f"expected numbers separated by commas, or none, got {text!r}", f"`{option}`") from None


def _read(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except DukdError as error:
        raise typer.BadParameter(str(error)) from error


CONFIG = typer.Option("--config", parser=source, metavar="FILE|NAME", help="YAML file of settings, or a preset.")
Section = Annotated[str | None, typer.Option(metavar="NAME", help="Read only this section of the file.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change one setting.")]

PartOption = Annotated[
    Part | None,
    typer.Option(
        "--part",
        parser=part,
        metavar="I/N",
        help="This machine's share; auto: from Slurm.",
    ),
]
