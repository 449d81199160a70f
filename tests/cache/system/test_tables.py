"""Tables in a pipe and on a terminal."""

import re
import sys

import pytest
from tests.terminals import terminal

from dukd_cache.system.tables import markdown_table, show

TEXT = f"two views:\n\n{markdown_table(('view', 'dB'), [('a|b', 30.5), ('zoom', '**31.25**')])}\nthe end"


def test_a_pipe_gets_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    show(TEXT)
    assert capsys.readouterr().out.splitlines() == [
        "two views:",
        "",
        "| view |        dB |",
        "| ---- | --------: |",
        "| a\\|b |      30.5 |",
        "| zoom | **31.25** |",
        "",
        "the end",
    ]


def test_a_terminal_gets_a_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, COLUMNS="80")
    monkeypatch.setattr(sys, "stdout", screen)
    show(TEXT)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    assert "\x1b[1m31.25\x1b" in screen.getvalue()
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    assert lines[0] == "two views:"
    assert lines[1].split() == ["view", "dB"]
    assert set(lines[2]) == {"─"}
    assert [line.split() for line in lines[3:5]] == [["a|b", "30.5"], ["zoom", "31.25"]]
    assert lines[5] == "the end"
    assert "*" not in plain
    assert "| " not in plain


def test_a_terminal_that_draws_nothing_gets_markdown(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, TERM="dumb")
    monkeypatch.setattr(sys, "stdout", screen)
    show(TEXT)
    assert screen.getvalue() == f"{TEXT}\n"
