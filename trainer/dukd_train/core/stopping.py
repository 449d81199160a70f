"""What asks a training to stop: signals, and the end of the process that started it. The step under way ends first."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

PARENT = "DUKD_PARENT"
"""Environment variable in which a sweep names its process to those it starts."""

_OF_DVC = "DVC_STAGE"
"""Set by DVC for the commands of its stages."""

_SECONDS_TO_LOOK = 0.5
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_with_parent() -> None:
    """Where a sweep or DVC started this process: end as by SIGTERM soon after that one is gone, however it went.

    SIGKILL tells nobody else; a training that goes on unseen would be in the way of the next one.
    """
    if os.environ.get(PARENT) or os.environ.get(_OF_DVC):
        threading.Thread(target=_end_after, args=(os.getppid(), os.environ.get(PARENT)), daemon=True).start()


def _end_after(parent: int, named: str | None) -> None:
    while os.getppid() == parent and (named is None or _lives(int(named))):
        time.sleep(_SECONDS_TO_LOOK)
    os.kill(os.getpid(), signal.SIGTERM)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


class Stop:
    """While entered, the first SIGINT, SIGTERM or SIGHUP is only noted; the next one acts as it did before.

    Where Python allows no handlers (outside the main thread), signals act as ever. SIGHUP stays ignored under `nohup`.
    """

    def __init__(self, patient: bool = False) -> None:
        """`patient`: the next ones are only noted, too. A launcher passes on what its processes got themselves."""
        self._patient = patient
        self._signal = 0
        self._before: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}
        self._at_once = False

    @property
    def signal(self) -> int:
        """The number of the signal that came; 0 if none did."""
        return self._signal

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            for number in _STOPPING:
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, _kind: type | None, _error: BaseException | None, _where: TracebackType | None) -> None:
        self._restore()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """In this block nothing would be lost: a signal acts immediately, as it did before `Stop` was entered."""
        self._at_once = True
        try:
            self.deliver(self._signal)
            yield
        finally:
            self._at_once = False

    def deliver(self, number: int) -> None:
        """Let a signal act (0: none). What it raises, or that it ends the process, is up to the handler before."""
        if number:
            self._restore()
            signal.raise_signal(number)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signal = number
        if self._at_once:
            self.deliver(number)
        elif not self._patient:
            self._restore()

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
