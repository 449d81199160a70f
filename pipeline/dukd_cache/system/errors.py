"""What can go wrong by a user's doing. Each message is one line: the thing, what was expected, what was found.

    DukdError
    ├── ImageError        a source image: missing, unreadable, too small, of the wrong size
    ├── WeightsError      a weights file: unreadable, not an SR network, of the wrong scale
    ├── SettingError      a setting or an option: unknown, of the wrong type, impossible
    ├── AnswerError       a network's answer: numbers that are not finite
    ├── PlaceError        an address: of an unknown kind, without its extra, refused, not answering
    └── CacheError        a cache folder: not a cache, another cache, of an unknown version
        ├── BusyError     a folder in which another process writes
        ├── NoSuchView    a view that a cache lacks
        └── ShardCorrupt  stored bytes that are not what was written

The command lines print a `DukdError` as one line and end with exit code 2; anything else is a defect of dukd.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from difflib import get_close_matches
from typing import Any, Self


class DukdError(Exception):
    """Base of all errors that a user can cause and mend. Its text is one line: `subject: reason; cure`.

    Names of settings and parameters stand in backticks in all three, alone or with a value, as Python has them:
    `on_bad_image=skip`. A command line prints its options instead.

    Args:
        subject: what it is about, as it begins the line: a path, an address, a setting. None: the reason says it.
        cure: what helps, where that is known.
    """

    def __init__(self, reason: str, subject: object = None, cure: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.cure = reason, cure
        self._beginning = None if subject is None else str(subject)

    @property
    def subject(self) -> str | None:
        """A path, an address or the name of a setting, and nothing around it."""
        return self._beginning and self._beginning.strip("`").removeprefix("setting ")

    def about(self, subject: object) -> Self:
        """The same error of this subject, for those who know what a function was busy with."""
        same = copy(self)
        if self._beginning is not None:
            same.reason = f"{self._beginning}: {self.reason}"
        same._beginning = str(subject)
        return same

    def __str__(self) -> str:
        beginning = "" if self._beginning is None else f"{self._beginning}: "
        ending = "" if self.cure is None else f"; {self.cure}"
        return f"{beginning}{self.reason}{ending}"


class ImageError(DukdError):
    """A source image that cannot be used."""


class WeightsError(DukdError):
    """A weights file that cannot be used."""


class SettingError(DukdError):
    """A setting that is unknown, of the wrong type, or impossible."""


class AnswerError(DukdError):
    """A network's answer that is no picture. `indices` says which of the images it was asked about."""

    def __init__(
        self, reason: str, subject: object = None, cure: str | None = None, indices: Iterable[int] = ()
    ) -> None:
        super().__init__(reason, subject, cure)
        self.indices = tuple(indices)


class PlaceError(DukdError):
    """An address that cannot be used now. Not a CacheError: it says nothing of what lies there."""


class CacheError(DukdError):
    """A folder that is not the cache it should be."""


class BusyError(CacheError):
    """A folder in which another process writes. `work` says what that does: `build`, say."""

    def __init__(self, reason: str, subject: object = None, work: str = "build") -> None:
        super().__init__(reason, subject, "wait for its end, or choose another folder")
        self.work = work


class NoSuchView(CacheError, KeyError):
    """A view that a cache lacks. A KeyError too, as a cache is like a dict of views."""


class ShardCorrupt(CacheError):
    """Stored bytes that are not those that were written."""


def unknown_name(kind: str, given: str, valid: Iterable[str], meant: Sequence[str] = ()) -> str:
    """One line for a name that does not exist: `unknown student 'EDRS': did you mean 'EDSR'? (valid: …)`.

    Args:
        meant: what it is known to be called here; else the nearest of `valid` is suggested.
    """
    names = sorted(valid)
    near = get_close_matches(given.lower(), [name.lower() for name in names], n=1, cutoff=0.5)
    suggested = meant or [name for name in names if near and name.lower() == near[0]][:1]
    hint = f": did you mean {' or '.join(map(repr, suggested))}?" if suggested else ""
    return f"unknown {kind} {given!r}{hint} (valid: {', '.join(names)})"


def wanted(detail: Mapping[str, Any]) -> str:
    """What pydantic expected of a number or a word, by one of a `ValidationError`'s errors: `a number above 0`."""
    kind, bounds = str(detail["type"]), detail.get("ctx", {})
    for word in ("gt", "ge", "lt", "le"):
        if word in bounds:
            said = {"gt": "above", "ge": "of at least", "lt": "below", "le": "of at most"}[word]
            number = "a whole number" if isinstance(bounds[word], int) else "a number"
            return f"{number} {said} {bounds[word]}"
    if "expected" in bounds:
        return str(bounds["expected"])
    kinds = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text", "path": "a path"}
    return kinds.get(kind.partition("_")[0], str(detail["msg"]))


def printable(name: str) -> str:
    """A file's name as it can be printed and stored: bytes that are no UTF-8 become `\\udcff` and the like."""
    return name.encode(errors="backslashreplace").decode()


def one_line(error: Exception) -> str:
    """Another library's error as one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
