"""One writer an address, where no operating system keeps a lock: by objects that are put only where there is none.

The lock is an object `building.lock/<number>`. Who wants to write puts the one after the highest number there is; of
several who do so the store lets one. The owner shows signs of life in the same way: every `BEAT_S` seconds it puts the
next number, then removes the one before. An owner is taken for dead when its process is known to have ended (on the
same machine), or when the highest number stays the same for as long as the lock itself says, by the watcher's clock.

Numbers begin anew where no lock is left, so a number that comes late may find its place free. It counts only if the
object that it follows is still the same, or, for the first, if it is alone. Before each change an owner reads its own
object, which a successor removes. So what remains possible is that a writer sleeps for longer than it said in the
middle of one put, and that this put arrives afterwards.
"""

import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from pydantic import BaseModel, ValidationError

from dukd_cache.places import Place
from dukd_cache.system.errors import CacheError, PlaceError
from dukd_cache.system.lock import LOCK, PART, refusal
from dukd_cache.system.processes import machine, start_of
from dukd_cache.system.threads import repeating

BEAT_S = 10.0
PATIENCE_S = 60.0
_LOOK_S = 1.0
"""Between two looks at another's lock."""

_NAME = re.compile(rf"{re.escape(LOCK)}/([0-9]{{12}})")
"""Other objects there are none of a build's, and left alone."""

_HELD: set[str] = set()
"""Tokens of the locks of this process."""


class _Owner(BaseModel, frozen=True):
    """What a lock's object says."""

    work: str = "build"
    patience: float
    """Seconds without a sign of life, after which it may be taken for dead."""
    host: str = "unknown"
    machine: str = ""
    """Which numbers of processes the next one is of; empty where that cannot be told."""
    process: int = 0
    started: str = ""
    """So that another process of the same number is not taken for this one."""
    token: str = ""
    """Of this lock alone."""


class Creating(Place, Protocol):
    """A place that can put an object where there is none."""

    def create(self, name: str, content: bytes) -> bool:
        """Whether it did: False where there is an object of that name already."""


@contextmanager
def held(lock: "ObjectLock") -> Iterator["ObjectLock"]:
    """Hold `lock` until the block ends.

    Raises:
        BusyError: another process writes there.
        PlaceError: the store does not keep to conditions, or as all of `Place`.
    """
    try:
        lock.take()
        yield lock
    except PlaceError:  # nothing answers: the next one sees that the owner has ended
        lock.stop()
        raise
    finally:
        lock.release()


def refuse_if_held(place: Place) -> None:
    """Refuse where another writer shows a sign of life now; one that does not is left to `held`.

    Raises:
        BusyError: another process writes to `place`.
    """
    _outlived(place, 1.5 * BEAT_S)


class ObjectLock:
    """The lock of this process on `store`."""

    def __init__(self, store: Creating, work: str = "build") -> None:
        self._store = store
        self._owner = _Owner(
            work=work,
            host=socket.gethostname(),
            machine=machine(),
            process=os.getpid(),
            started=start_of(),
            token=secrets.token_hex(8),
            patience=PATIENCE_S,
        )
        self._content = self._owner.model_dump_json().encode()
        self._number = 0
        """Of the object that this lock is now; 0 before it is taken, and when another process has it."""
        self._counting = threading.Lock()
        self._end_beats: Callable[[], None] = lambda: None

    def take(self) -> None:
        """Become the owner.

        Raises:
            BusyError: there is another one.
            PlaceError: the store puts an object over another where it is told not to.
        """
        _HELD.add(self._owner.token)
        while not self._number:
            self._number = self._put_after(*_outlived(self._store))
        self._store.delete(_name(number) for number in _numbers(self._store) if number < self._number)
        if self._store.create(_name(self._number), self._content):
            self._store.delete([_name(self._number)])
            raise PlaceError(
                "its server ignores conditions (If-None-Match), without which two builds could write "
                "at once: a cache there can be read, not written",
                self._store,
            )
        self._end_beats = repeating(self._beat, BEAT_S)

    def check(self, name: str) -> None:
        """Called before each change of the file `name`.

        Raises:
            CacheError: another process took this one for dead.
        """
        if name.startswith(f"{LOCK}/"):
            return
        with self._counting:
            if not (self._is_there() or self._moved_on()):
                raise CacheError(
                    f"this build gave no sign of life for {self._owner.patience:.0f} s and another one took over",
                    self._store,
                    cure="run the same command again when that one has ended",
                )

    def release(self) -> None:
        """Let others write."""
        if self._owner.token in _HELD:
            self.stop()
            with suppress(PlaceError):  # an error that is on its way is more important
                names = [_name(number) for number in _numbers(self._store)]
                self._store.delete(name for name in names if _read(self._store, name) == self._owner)

    def stop(self) -> None:
        """Give no more signs of life."""
        _HELD.discard(self._owner.token)
        self._end_beats()

    def _put_after(self, number: int, owner: _Owner | None) -> int:
        """The number after that of `owner` (0 where there is none), if this process has the lock by it; else 0."""
        name = _name(number + 1)
        if (
            not self._store.create(name, self._content) and _read(self._store, name) != self._owner
        ):  # nor was it there by a lost answer
            return 0
        if _read(self._store, _name(number)) == owner if owner else _numbers(self._store) == [1]:
            return number + 1
        self._store.delete([name])
        return 0

    def _beat(self) -> bool:
        with suppress(PlaceError), self._counting:  # tried again with the next beat
            return self._shown()
        return True

    def _shown(self) -> bool:
        """Show a sign of life; False where another process has the lock."""
        last, self._number = self._number, self._put_after(self._number, self._owner)
        if self._number:
            self._store.delete([_name(last)])
        return bool(self._number)

    def _moved_on(self) -> bool:
        """Whether the lock is still this one under another number."""
        return False

    def _is_there(self) -> bool:
        """Asked before each change, and of a length that is known: one small question, where `read` asks two of S3."""
        with suppress(FileNotFoundError):
            return self._store.read_range(_name(self._number), 0, len(self._content)) == self._content
        return False


class SharedLock(ObjectLock):
    """The lock of all that joined: objects of one content, of which each may put the next.

    Who leaves lets it be, as nobody knows whether others go on: it is free when it was silent for as long as it says,
    or after `free`.
    """

    def __init__(self, store: Creating) -> None:
        super().__init__(store, PART)
        self._owner = _Owner(work=PART, patience=PATIENCE_S)
        self._content = self._owner.model_dump_json().encode()

    def take(self) -> None:
        """Join.

        Raises:
            BusyError: a process writes there that wants to be alone.
        """
        while not (self._moved_on() and self._shown()):
            self._put_after(*_outlived(self._store))
        self._end_beats = repeating(self._beat, BEAT_S)

    def release(self) -> None:
        """Leave."""
        self.stop()

    def free(self) -> None:
        """Let others write at once. None of those that joined has anything left to write."""
        with self._counting:
            self._store.delete(map(_name, _numbers(self._store)))

    def _shown(self) -> bool:
        """Nothing has to be shown where another did since this one last looked. The last two numbers stay."""
        before = self._number
        if self._moved_on() and self._number == before:
            self._store.create(_name(self._number + 1), self._content)
            self._store.delete(_name(number) for number in _numbers(self._store) if number < before)
        return self._moved_on()

    def _moved_on(self) -> bool:
        numbers = _numbers(self._store)
        self._number = numbers[-1] if numbers and _read(self._store, _name(numbers[-1])) == self._owner else 0
        return bool(self._number)


def _name(number: int) -> str:
    return f"{LOCK}/{number:012d}"


def _numbers(place: Place) -> list[int]:
    """Of all objects of the lock on `place`, in order."""
    return [int(found[1]) for name in place.names(f"{LOCK}/") if (found := _NAME.fullmatch(name))]


def _read(place: Place, name: str) -> _Owner | None:
    """Whose lock an object is; None where it is gone."""
    try:
        return _Owner.model_validate_json(place.read(name))
    except FileNotFoundError:
        return None
    except ValidationError:  # nothing that a build wrote: it never changes, so it counts as dead in the end
        return _Owner(patience=PATIENCE_S)


def _outlived(place: Place, most: float = float("inf")) -> tuple[int, _Owner | None]:
    """The highest number and its owner, who is taken for dead or was watched for `most` seconds; 0 and None if free.

    Raises:
        BusyError: the owner lives.
    """
    while numbers := _numbers(place):
        if (owner := _read(place, _name(numbers[-1]))) is None:
            continue  # it was put anew, or removed, in between
        lives, end = _lives(owner), time.monotonic() + min(most, owner.patience)
        while (now := _numbers(place)) and lives is not False and time.monotonic() < end:
            if lives or now[-1] != numbers[-1]:
                where = "" if lives else f" on {owner.host}"
                raise refusal(place, f"{owner.process}{where}", owner.work)
            time.sleep(_LOOK_S)
        if now:
            return numbers[-1], owner
    return 0, None


def _lives(owner: _Owner) -> bool | None:
    """Whether its process lives (this one: and holds the lock); None of processes that cannot be seen from here."""
    if not owner.machine or owner.machine != machine():
        return None
    return owner.token in _HELD if owner.process == os.getpid() else start_of(owner.process) == owner.started
