"""What is said of a long command's progress, and where."""

import errno
import io
import sys

import pytest
from tests.terminals import terminal

from dukd_cache.system.terminal import can_redraw, progress, say, standard_error


@pytest.mark.parametrize(
    ("environment", "redrawn"),
    [
        ({}, True),
        ({"FORCE_COLOR": "1"}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": "unknown"}, False),
        ({"TTY_COMPATIBLE": "0"}, False),
        ({"TTY_INTERACTIVE": "0"}, False),
        ({"JPY_PARENT_PID": "12"}, False),
    ],
)
def test_where_lines_are_drawn_over(
    environment: dict[str, str], redrawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = terminal(monkeypatch, **environment)
    assert can_redraw(screen) == redrawn
    monkeypatch.setattr(sys, "stderr", screen)
    with progress("making", 2, "things") as advance:
        advance(2)
    assert "making" in screen.getvalue(), "never nothing"
    assert ("\x1b[" in screen.getvalue()) == redrawn


@pytest.mark.parametrize("asked", [{"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}])
def test_a_file_has_lines_only(asked: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(monkeypatch, **asked)
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with progress("making", 2, "things") as advance:
        advance(2)
    assert log.getvalue().startswith("making: 2/2 things, ")
    assert "\x1b" not in log.getvalue()


class Closed(io.StringIO):
    """A terminal that was closed."""

    def isatty(self) -> bool:
        return True

    def write(self, _text: str) -> int:
        raise OSError(errno.EIO, "Input/output error")

    def flush(self) -> None:
        self.write("")


def test_a_closed_terminal_ends_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(monkeypatch)
    monkeypatch.setattr(sys, "stderr", Closed())
    say("nobody reads this")
    standard_error().write("nor this")
    with progress("making", 2, "things") as advance:
        advance(2)
