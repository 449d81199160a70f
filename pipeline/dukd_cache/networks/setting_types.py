"""Whether a value is of the kind that an architecture's constructor takes, by its default and its annotation.

Constructors check nothing: text that means no is true to them, as YAML 1.2 makes text of `no`.
"""

import inspect
import math
import types
import typing
from collections.abc import Sequence
from typing import Any, Literal

from torch import nn

from dukd_cache.settings.yaml_file import shown, word
from dukd_cache.system.errors import SettingError, unknown_name

_YES = ("yes", "on", "y", "true", "1")
_NO = ("no", "off", "n", "false", "0", "none")


def checked(name: str, constructor: type[nn.Module], key: str, default: object, given: Any) -> Any:
    """`given` as the constructor takes it for `key`: 16.0 is 16 where a whole number is wanted.

    Raises:
        SettingError: it is of another kind; the line says what to write.
    """
    kinds = _kinds(constructor, key, default)
    if not kinds or any(_is(given, kind) for kind in kinds):
        is_whole = isinstance(given, float) and given.is_integer() and isinstance(default, int)
        return int(given) if is_whole else given
    if int in kinds and isinstance(given, float) and given.is_integer():
        return int(given)
    words = [word for kind in kinds if typing.get_origin(kind) is Literal for word in typing.get_args(kind)]
    if words and isinstance(given, str):
        raise SettingError(unknown_name(f"{key} of {name}", given, words))
    wanted = " or ".join(dict.fromkeys(_said(kind) for kind in kinds if kind is not _NUMBERS))
    line = f"setting {key!r} of {name}: expected {wanted}"
    raise SettingError(f"{line}, got {shown(word(given))}{_cure(key, kinds, given)}")


def _kinds(constructor: type[nn.Module], key: str, default: object) -> list[Any]:
    """What may be given, as types; none where nothing is known.

    An annotation says it. Without one the default does; then any number will do for a number, as 2 may stand for 2.66,
    and a list of them, as some take one for each side.
    """
    annotation = _annotation(constructor, key)
    if annotation is not None:
        return list(typing.get_args(annotation)) if _is_union(annotation) else [annotation]
    match default:
        case bool():
            return [bool]
        case int() | float():
            return [float, _NUMBERS]
        case str():
            return [str]
        case [first, *_] if first is not None:
            return [list[type(first)]]  # type: ignore[misc]
        case list() | tuple():
            return [list]
    return []


_NUMBERS = list[float]
"""Taken for a number where nothing forbids it; not worth a word in a line."""


def _annotation(constructor: type[nn.Module], key: str) -> Any:
    """Of a parameter, resolved; None where there is none, or it cannot be resolved."""
    parameter = inspect.signature(constructor).parameters[key].annotation
    if parameter is inspect.Parameter.empty:
        return None
    try:
        return typing.get_type_hints(constructor.__init__).get(key)
    except (NameError, TypeError):
        return None


def _is_union(annotation: object) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _is(given: object, kind: Any) -> bool:
    """Whether a value from YAML or JSON is of a kind; true for kinds that are unknown here."""
    origin = typing.get_origin(kind)
    if origin is Literal:
        return given in typing.get_args(kind)
    if _is_union(kind):
        return any(_is(given, each) for each in typing.get_args(kind))
    if kind is bool or kind is str:
        return isinstance(given, kind)
    if kind is int:
        return isinstance(given, int) and not isinstance(given, bool)
    if kind is float:
        return isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)
    if kind in (None, types.NoneType):
        return given is None
    if kind in (list, tuple) or origin in (list, tuple, Sequence):
        item = typing.get_args(kind)[:1]
        return isinstance(given, list | tuple) and all(_is(each, item[0]) for each in given if item)
    return True


def _said(kind: Any) -> str:
    simple = {bool: "true or false", int: "a whole number", float: "a number", str: "text", types.NoneType: "null"}
    if kind in simple:
        return simple[kind]
    if typing.get_origin(kind) is Literal:
        return " or ".join(map(repr, typing.get_args(kind)))
    item = [each for each in typing.get_args(kind) if each in simple]
    return f"a list, each {simple[item[0]]}" if item else "a list"


def _cure(key: str, kinds: Sequence[Any], given: object) -> str:
    """The line to write, where it can be told."""
    text = str(given).lower()
    if bool in kinds and text in _YES + _NO:
        why = ", which is text in YAML 1.2" if isinstance(given, str) else ""
        return f"{why}: write {key}: {'true' if text in _YES else 'false'}"
    if isinstance(given, str) and any(_is(1, kind) for kind in kinds) and _is_number(given):
        return f", which is text: write {key}: {given} without quotes"
    if (
        isinstance(given, int | float)
        and not isinstance(given, bool)
        and any(_is([given], kind) for kind in kinds if kind is not _NUMBERS)
    ):
        return f": write {key}: [{given}, …], one for each"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
