"""What answers are called: as the user says, else after their teachers' files; those of an only teacher `teacher`."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from dukd_cache.format.record import NOT_ANSWERS

ALONE = "teacher"
"""Answers of the one teacher."""

_LONGEST = 28
"""Of a name made here: three characters are left to tell equal ones apart."""


def by_name(given: object) -> object:
    """Teachers as a setting has them: one file, several, or files by the names of their answers; None: none."""
    if given is None or isinstance(given, str | Path):
        given = () if given is None else (given,)
    if not isinstance(given, list | tuple):
        return given
    texts = [str(each) for each in given]
    if twice := next((text for text in texts if texts.count(text) > 1), None):
        raise ValueError(f"{twice} is given twice")
    return dict(zip([ALONE] if len(texts) == 1 else named_after(texts), given, strict=True))


def named_after(files: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """A name for the answers of each: the file's without its suffix, of small letters, digits and `_`; none twice."""
    names: list[str] = []
    for file in files:
        plain = re.sub(r"[^a-z0-9]+", "_", Path(file).stem.lower()).strip("_")[:_LONGEST]
        name = first = plain if re.match("[a-z]", plain) else f"t_{plain}"[:_LONGEST].rstrip("_")
        number = 2
        while name in names or name in taken or name in NOT_ANSWERS:
            name, number = f"{first}_{number}", number + 1
        names.append(name)
    return names


def refuse_no_names(found: Mapping[str, Path]) -> Mapping[str, Path]:
    """Those whose names can be names of answers.

    Raises:
        ValueError: one cannot.
    """
    for name in found:
        refuse_no_name(name)
    return found


def refuse_no_name(name: str) -> None:
    """Raise a ValueError where answers cannot be called so."""
    if not re.fullmatch("[a-z][a-z0-9_]{0,30}", name):
        raise ValueError(f"expected a name of small letters, digits and _ for its answers, got {name!r}")
    if name in NOT_ANSWERS:
        raise ValueError(f"no answers can be called {name!r}: that means something else")
