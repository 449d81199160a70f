"""One writer an address, where no operating system keeps a lock: by objects that show signs of life.

Who wants to write puts an object of its own below `building.lock`, then lists them all. Stores list an object as soon
as its put has ended, so of two who come at once at least one sees the other: of those who ask, the least name stays;
one who writes already is never asked to go. The object is put anew every `BEAT_S` seconds with another number in it.

An owner is taken for dead when its process is known to have ended (on the same machine), or when its object did not
change while it was watched for `EXPIRY_S` seconds. Its successor says so in its own object, then removes the other.
An owner that only slept finds that out before its next put: it asks every time. So what remains possible is that a
writer sleeps or waits for longer than `EXPIRY_S` in the middle of one put, and that this put arrives afterwards.
"""

import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from pydantic import BaseModel, ValidationError

from dukd_cache.places import Place
from dukd_cache.system.errors import CacheError, PlaceError
from dukd_cache.system.lock import LOCK, refusal
from dukd_cache.system.processes import machine, start_of

BEAT_S = 10.0
EXPIRY_S = 60.0
_LOOK_S = 0.2
"""Between two looks at another's object."""

_NAME = re.compile(rf"{re.escape(LOCK)}/[0-9a-f]{{16}}")
"""Other objects there are none of a build's, and left alone."""

_HELD: set[str] = set()
"""Names of the locks of this process."""


class _Owner(BaseModel):
    """What a lock's object says."""

    host: str
    machine: str
    """Which numbers of processes the next one is of; empty where that cannot be told."""
    process: int
    started: str
    """So that another process of the same number is not taken for this one."""
    asking: bool = True
    """It does not write yet."""
    beat: int = 0
    over: tuple[str, ...] = ()
    """Names of the locks whose owners it took for dead."""


@contextmanager
def held(place: Place) -> Iterator["ObjectLock"]:
    """Be the only one to write to `place` until the block ends.

    Raises:
        CacheError: another process writes there.
    """
    lock = ObjectLock(place)
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
        CacheError: another process writes to `place`.
    """
    for name in _names(place):
        owner = _read(place, name)
        if owner is None or _ended(name, owner):
            continue
        if _is_here(owner) or _changes(place, name, owner, 1.5 * BEAT_S):
            _refuse(place, owner)


class ObjectLock:
    """The lock of this process on `place`."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._name = f"{LOCK}/{secrets.token_hex(8)}"
        self._owner = _Owner(host=socket.gethostname(), machine=machine(), process=os.getpid(), started=start_of())
        self._writing = threading.Lock()
        self._stop = threading.Event()
        self._beats = threading.Thread(target=self._beat, daemon=True)

    def take(self) -> None:
        """Become the owner.

        Raises:
            CacheError: there is another one.
        """
        _HELD.add(self._name)
        self._put()
        self._beats.start()
        while others := self._others():
            for name, owner in others.items():
                self._outlive(name, owner)
            self._put(over=(*self._owner.over, *others))
            self._place.delete(others)
        self._put(asking=False)

    def check(self, name: str) -> None:
        """Called before each change of the file `name`.

        Raises:
            CacheError: another process took this one for dead.
        """
        if name.startswith(f"{LOCK}/"):
            return
        if not self._is_mine():
            raise CacheError(
                f"{self._place}: this build gave no sign of life for {EXPIRY_S:.0f} s and another one took over; "
                "the same command goes on when that one has ended"
            )

    def release(self) -> None:
        """Let others write."""
        if self._name in _HELD:
            self.stop()
            with suppress(PlaceError):  # an error that is on its way is more important
                self._place.delete([self._name])

    def stop(self) -> None:
        """Give no more signs of life."""
        _HELD.discard(self._name)
        self._stop.set()
        if self._beats.ident is not None:
            self._beats.join()

    def _outlive(self, name: str, first: _Owner) -> None:
        """Return when the owner of that other lock has ended or gave way; refuse where it lives and stays."""
        owner, seen = first, time.monotonic()
        while not _ended(name, owner) and time.monotonic() - seen < EXPIRY_S:
            stays = not owner.asking or name < self._name
            if stays and (_is_here(owner) or owner != first):
                _refuse(self._place, owner)
            time.sleep(_LOOK_S)
            found = _read(self._place, name)
            if found is None:
                return
            if found != owner:
                owner, seen = found, time.monotonic()

    def _others(self) -> dict[str, _Owner]:
        names = [name for name in _names(self._place) if name != self._name]
        return {name: owner for name in names if (owner := _read(self._place, name))}

    def _is_mine(self) -> bool:
        names = _names(self._place)
        others = (_read(self._place, name) for name in names if name != self._name)
        return self._name in names and not any(self._name in owner.over for owner in others if owner)

    def _put(self, **changes: object) -> None:
        with self._writing:
            self._owner = self._owner.model_copy(update={"beat": self._owner.beat + 1, **changes})
            self._place.write(self._name, self._owner.model_dump_json().encode())

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            with suppress(PlaceError):  # tried again with the next beat
                if not self._is_mine():
                    return
                self._put()


def _names(place: Place) -> list[str]:
    """Of all locks on `place`."""
    return [name for name in place.names(f"{LOCK}/") if _NAME.fullmatch(name)]


def _read(place: Place, name: str) -> _Owner | None:
    """What a lock says; None where it is gone."""
    try:
        return _Owner.model_validate_json(place.read(name))
    except FileNotFoundError:
        return None
    except ValidationError:  # nothing that a build wrote: it never changes, so it counts as dead in the end
        return _Owner(host="unknown", machine="", process=0, started="", asking=False)


def _changes(place: Place, name: str, before: _Owner, seconds: float) -> bool:
    """Whether the lock changes while it is watched for that long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(min(_LOOK_S, seconds))
        found = _read(place, name)
        if found != before:
            return found is not None
    return False


def _refuse(place: Place, owner: _Owner) -> NoReturn:
    where = "" if owner.machine == machine() != "" else f" on {owner.host}"
    raise CacheError(refusal(str(place), f"{owner.process}{where}"))


def _is_here(owner: _Owner) -> bool:
    """Whether its process is one of those that this process can see."""
    return owner.machine == machine() != ""


def _ended(name: str, owner: _Owner) -> bool:
    """Whether the lock's process is known to have ended, or is this one and does not hold it any more."""
    if not _is_here(owner):
        return False
    return name not in _HELD if owner.process == os.getpid() else start_of(owner.process) != owner.started
