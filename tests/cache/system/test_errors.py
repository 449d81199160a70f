"""What an error says as text, and in parts."""

import pickle
from pathlib import Path

import pytest

from dukd_cache.system.errors import AnswerError, DukdError, ImageError, NoSuchView, SettingError


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DukdError("nothing left"), "nothing left"),
        (ImageError("no such file", Path("a/b.png")), "a/b.png: no such file"),
        (
            SettingError("exists already", "out", cure="`overwrite` makes it anew"),
            "out: exists already; `overwrite` mak",
        ),
        (DukdError("no room", cure="make some"), "no room; make some"),
        (NoSuchView("unknown view 'x'", "cache"), "cache: unknown view 'x'"),
    ],
)
def test_the_line(error: DukdError, line: str) -> None:
    assert str(error).startswith(line)


def test_its_parts() -> None:
    error = SettingError("must be positive, got 0", "`views.zoom_in.patch`", "leave it out")
    assert (error.subject, error.reason, error.cure) == (
        "views.zoom_in.patch",
        "must be positive, got 0",
        "leave it out",
    )
    assert str(error).startswith("`views.zoom_in.patch`: must")
    assert ImageError("x", Path("a")).subject == "a"
    assert (DukdError("x").subject, DukdError("x").cure) == (None, None)


def test_who_knows_the_subject_adds_it() -> None:
    error = AnswerError("not finite", cure="use fp32", indices=[2])
    told = error.about("a.png")
    assert (str(told), str(error)) == ("a.png: not finite; use fp32", "not finite; use fp32")
    assert (type(told), told.indices) == (AnswerError, (2,))
    assert str(told.about("set x")) == "set x: a.png: not finite; use fp32"


def test_it_comes_whole_from_another_process() -> None:
    error = AnswerError("not finite", Path("a.png"), "use fp32", [2])
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.subject, again.indices) == (str(error), "a.png", (2,))
