"""A build of days is told of once, when its pace is known."""

import pytest

from dukd_cache.commands.long_builds import TellsOfDays


def told_of(records: int, seconds: list[float], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    clock = iter(seconds)
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    advanced: list[int] = []
    advance = TellsOfDays(advanced.append, records)
    for count in [1000, *[1] * (len(seconds) - 1)]:
        advance(count)
    return advanced


def test_more_than_a_day_is_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """1000 are kept; then one every 4 seconds, of 101 000."""
    advanced = told_of(101_000, [100.0, 104, 108, 112, 116, 120], monkeypatch)
    assert advanced == [1000, 1, 1, 1, 1, 1]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("note: about 4.6 d at this pace; `dukd-cache plan` says why, --part shares it")


def test_less_is_not_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    told_of(3_000, [100.0, 104, 108, 112, 116, 120], monkeypatch)
    assert capsys.readouterr().err == ""
