"""What an error says as text, and in parts."""

import pickle
from pathlib import Path

import pytest

from dukd_cache.system.errors import AnswerError, BusyError, DukdError, ImageError, NoSuchView, SettingError


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


def errors_below(kind: type[DukdError]) -> list[type[DukdError]]:
    return [kind, *(each for below in kind.__subclasses__() for each in errors_below(below))]


@pytest.mark.parametrize("kind", errors_below(DukdError))
def test_it_comes_whole_from_another_process(kind: type[DukdError]) -> None:
    more = {AnswerError: {"indices": [2]}, BusyError: {"work": "training"}}.get(kind, {})
    error = kind("not finite", Path("a.png"), **more)  # type: ignore[arg-type]
    for told in (error, error.about("worker 1")):
        again = pickle.loads(pickle.dumps(told))
        assert (type(again), str(again), vars(again)) == (kind, str(told), vars(told))
