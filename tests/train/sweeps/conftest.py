"""Trainings and builds of sweeps that take no seconds to start."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pytest
from tests.processes import start_program


class Forked:
    """What `RunProcess` asks of a `subprocess.Popen`: a real process, forked where torch is loaded already."""

    def __init__(self, words: Sequence[str], *, stdout: IO[bytes], env: Mapping[str, str], **_: object) -> None:
        self._process = start_program("dukd_train", words[3:], Path(str(stdout.name)), env).process
        self.terminate, self.kill = self._process.terminate, self._process.kill

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, seconds: float | None = None) -> None:
        self._process.join(seconds)
        if self._process.is_alive():
            raise subprocess.TimeoutExpired("dukd-train run", seconds or 0)


@pytest.fixture
def forked_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process's sweeps and studies start; other tests let them start it as for users."""

    def run(words: Sequence[str], check: bool, env: Mapping[str, str]) -> SimpleNamespace:
        assert not check
        return SimpleNamespace(returncode=start_program("dukd_cache", words[3:], tmp_path / "build.txt", env).end()[0])

    @contextmanager
    def plan(words: Sequence[str], *, stderr: int, text: bool, env: Mapping[str, str]) -> Iterator[SimpleNamespace]:
        assert (stderr, text) == (subprocess.PIPE, True)
        output = tmp_path / "plan.txt"
        output.unlink(missing_ok=True)
        code, told = start_program("dukd_cache", words[3:], output, env).end()
        yield SimpleNamespace(returncode=code, stderr=told.splitlines(keepends=True))

    trains = SimpleNamespace(Popen=Forked, DEVNULL=subprocess.DEVNULL, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr("dukd_train.sweeps.run_process.subprocess", trains)
    monkeypatch.setattr(
        "dukd_train.sweeps.study.subprocess", SimpleNamespace(run=run, Popen=plan, PIPE=subprocess.PIPE)
    )
