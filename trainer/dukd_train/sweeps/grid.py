"""A grid of settings → its points, each a valid run with a name.

`key=a,b,c` is three values of a setting. Values that hold commas themselves are written as one YAML list:
`optimizer.betas=[[0.9, 0.99], [0.9, 0.999]]` is two.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import yaml

from dukd_cache.settings import yaml_file
from dukd_cache.settings.yaml_file import shown
from dukd_cache.system.errors import SettingError
from dukd_train.settings import TrainConfig

_LONGEST_NAME = 200
"""Characters; file systems stop at 255."""


@dataclass(frozen=True)
class Axis:
    """A setting and the values that a sweep gives it."""

    key: str
    """With dots: `student.settings.channels`."""
    values: tuple[str, ...]
    """In YAML."""


@dataclass(frozen=True)
class Point:
    """A run of a sweep."""

    name: str
    """Of its folder: `method=dukd,seed=0`."""
    config: TrainConfig
    after: str = ""
    """Name of the run whose student it starts from, an earlier one of the same sweep."""


def points(source: str | Path, section: str | None, changes: Sequence[str], grid: Sequence[str]) -> list[Point]:
    """All runs of a grid, the last axis running fastest.

    Args:
        source: YAML file of settings, or a preset; `section` is the part of a file that holds others too.
        changes: `key=value` for all runs.
        grid: `key=a,b,c` for each axis.

    Raises:
        SettingError: an axis or a value is not valid; the run is named.
    """
    axes = [parse_axis(word) for word in grid]
    for axis in axes:
        if [other.key for other in axes].count(axis.key) > 1:
            raise SettingError("given twice", f"`grid={axis.key}`")
    labels = _labels([axis.key for axis in axes])
    found: list[Point] = []
    for values in product(*(axis.values for axis in axes)):
        name = ",".join(f"{label}={_plain(value)}" for label, value in zip(labels, values, strict=True))
        overrides = [f"{axis.key}={value}" for axis, value in zip(axes, values, strict=True)]
        try:
            found.append(Point(name, TrainConfig.load(source, section, [*changes, *overrides])))
        except SettingError as error:
            raise error.about(name) from error
    return distinct(found, "`grid`")


def parse_axis(word: str) -> Axis:
    """`key=a,b,c`, or `key=[a, b, c]` in YAML.

    Raises:
        SettingError: it is neither, or a value comes twice.
    """
    key, equals, text = (part.strip() for part in word.partition("="))
    if not equals or not key:
        raise SettingError("expected key=a,b,c, like method=scratch,kd,dukd", f"`grid={word}`")
    values = _listed(word, text) if text.startswith("[") else [part.strip() for part in text.split(",")]
    if not values:
        raise SettingError("no value", f"`grid={word}`")
    if not all(values):
        raise SettingError("a value is empty", f"`grid={word}`")
    for value in values:
        if values.count(value) > 1:
            raise SettingError(f"{value} is there twice", f"`grid={word}`")
    return Axis(key, tuple(values))


def distinct(found: Iterable[Point], given: str) -> list[Point]:
    """Those points, if each is a run and a folder of its own; `given` is what they come from, for messages.

    Raises:
        SettingError: two are one run, or have one name; a name is too long for a folder.
    """
    runs: dict[str, str] = {}
    points: dict[str, Point] = {}
    for point in found:
        if (other := runs.setdefault(point.config.model_dump_json(), point.name)) != point.name:
            raise SettingError(f"{other} and {point.name} are one run: their settings are equal", given)
        if point.name in points:
            raise SettingError(f"two values make the same name, {point.name}", given)
        if len(point.name) > _LONGEST_NAME:
            raise SettingError(f"too long for the name of a folder: {point.name}", given)
        points[point.name] = point
    return [*points.values()]


def one_scale(scales: Mapping[str, int]) -> int:
    """The scale that all caches have; `scales` are theirs, by name.

    Raises:
        SettingError: they have several, and a report compares students of one.
    """
    found = sorted({*scales.values()})
    if len(found) > 1:
        named = " and ".join(f"{min(name for name in scales if scales[name] == scale)} has {scale}" for scale in found)
        raise SettingError(f"expected caches of one scale, for one report; {named}", "`cache`")
    return found[0]


def _listed(word: str, text: str) -> list[str]:
    try:
        values = yaml_file.parse(text)
    except yaml.YAMLError as error:
        raise SettingError(f"{shown(text)!r} is not a YAML list", f"`grid={shown(word)}`") from error
    if not isinstance(values, list):
        raise SettingError(f"expected one list in brackets, found {shown(text)!r}", f"`grid={shown(word)}`")
    return [json.dumps(value, ensure_ascii=False) for value in values]


def _labels(keys: Sequence[str]) -> list[str]:
    """The last part of each key, or all of it where two end alike."""
    ends = [key.rpartition(".")[2] for key in keys]
    return [end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)]


def _plain(value: str) -> str:
    """A value as it can stand in the name of a folder: `{"channels": 16}` becomes `channels-16`."""
    return re.sub(r"[^\w.+-]+", "-", value.strip("[]{}\"' "))
