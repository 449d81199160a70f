"""One writer an address: who lives keeps the lock, who is dead loses it, and finds out if it was only asleep."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from tests.object_store import Bucket, environment, found_at

from dukd_cache.places import Place, object_lock
from dukd_cache.places.choice import place_at
from dukd_cache.places.object_lock import ObjectLock, refuse_if_held
from dukd_cache.system.errors import BusyError, CacheError, PlaceError
from dukd_cache.system.lock import LOCK, PART
from dukd_cache.system.processes import machine

ADDRESS = "memory://locks/cache"
BUSY = rf"{ADDRESS}: another build writes here \(process \d+.*\); wait for its end, or choose another folder"


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(object_lock, "BEAT_S", 0.05)
    monkeypatch.setattr(object_lock, "PATIENCE_S", 1.0)
    monkeypatch.setattr(object_lock, "_LOOK_S", 0.01)
    yield place_at(ADDRESS)
    fsspec.filesystem("memory").store.clear()


def name_of(number: int) -> str:
    return f"{LOCK}/{number:012d}"


def stranger(place: Place, number: int = 1, **changes: object) -> None:
    """A lock as a process of another machine puts it."""
    content = {"host": "elsewhere", "machine": "another", "process": 7, "started": "1", "token": "x", "patience": 1.0}
    place.write(name_of(number), json.dumps(content | changes).encode())


def beating(place: Place, stop: threading.Event) -> threading.Thread:
    """The same, with signs of life until it is told to stop."""

    def run() -> None:
        number = 1
        while not stop.wait(0.03):
            stranger(place, number + 1)
            place.delete([name_of(number)])
            number += 1

    stranger(place)
    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_one_at_a_time_and_nothing_is_left(place: Place) -> None:
    for _ in range(2):
        with place.locked():
            assert len(place.names(f"{LOCK}/")) == 1
            with pytest.raises(CacheError, match=BUSY), place_at(ADDRESS).locked():
                pass
            with pytest.raises(CacheError, match=BUSY):
                place_at(ADDRESS).refuse_if_locked()
            assert len(place.names(f"{LOCK}/")) == 1, "the refused one took its own away"
        assert place.names() == []
        place.refuse_if_locked()


def test_of_those_who_come_at_once_one_goes_on(place: Place) -> None:
    for _ in range(5):
        together, inside, most = threading.Barrier(6), [], []
        refused: list[CacheError] = []

        def come(together=together, inside=inside, most=most, refused=refused) -> None:  # type: ignore[no-untyped-def]
            together.wait()
            try:
                with place_at(ADDRESS).locked():
                    inside.append(1)
                    most.append(len(inside))
                    time.sleep(0.3)
                    inside.pop()
            except CacheError as error:
                refused.append(error)

        threads = [threading.Thread(target=come) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(most) >= 1, "somebody goes on"
        assert max(most) == 1, "never two"
        assert len(most) + len(refused) == 6
        assert place.names() == []


def test_a_living_writer_of_another_machine_is_left_alone(place: Place) -> None:
    stop = threading.Event()
    thread = beating(place, stop)
    try:
        for attempt in (lambda: place.locked().__enter__(), lambda: refuse_if_held(place)):
            started = time.monotonic()
            with pytest.raises(CacheError, match=rf"{ADDRESS}: another build writes here \(process 7 on elsewhere\)"):
                attempt()
            assert time.monotonic() - started < 0.9, "told at its next sign of life"
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("patience", [0.3, 1.5])
def test_a_silent_one_is_taken_for_dead_when_its_own_patience_is_over(place: Place, patience: float) -> None:
    stranger(place, 41, patience=patience)
    refuse_if_held(place)
    started = time.monotonic()
    with place.locked():
        assert patience <= time.monotonic() - started < patience + 1
        assert int(place.names(f"{LOCK}/")[0][-12:]) >= 42
        assert len(place.names()) <= 2, "two while it gives a sign of life"
    assert place.names() == []


def test_an_ended_process_of_this_machine_is_not_waited_for(place: Place) -> None:
    if not machine():
        pytest.skip("this system does not tell")
    stranger(place, machine=machine(), process=2**22 + 1)  # above the largest number of a process
    started = time.monotonic()
    with place.locked():
        assert time.monotonic() - started < 0.9


def test_what_is_no_lock_does_not_stay_in_the_way(place: Place) -> None:
    place.write(f"{LOCK}/notes", b"not what a build wrote")
    place.write(name_of(5), b"not what a build wrote under such a name")
    with place.locked():
        assert len(place.names()) == 2
    assert place.names() == [f"{LOCK}/notes"]


def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on locks give no sign of life."""
    monkeypatch.setattr(object_lock, "BEAT_S", 1e9)


def overtaken(place: Place, after: str) -> None:
    """Write, be taken for dead, write again."""
    with place.locked():
        (mine,) = place.names(f"{LOCK}/")
        place.write("base-000000.tar", b"still mine")
        other = place_at(ADDRESS)
        stranger(other, 2)
        other.delete([mine])
        if after != "it writes":
            other.delete([name_of(2)])
        if after == "a third one writes":
            stranger(other, 1, token="third")
        place.write("base-000001.tar", b"not mine any more")


@pytest.mark.parametrize("after", ["it writes", "it ended", "a third one writes"])
def test_a_sleeper_finds_out_before_its_next_put(place: Place, after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen(monkeypatch)
    with pytest.raises(CacheError, match="gave no sign of life for 1 s and another one took over"):
        overtaken(place, after)
    assert "base-000000.tar" in place.names()
    assert "base-000001.tar" not in place.names()


def test_a_sleeper_puts_itself_over_no_other(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It wakes up when its successor has ended and a third one writes, whose number happens to be its own."""
    monkeypatch.setattr(object_lock, "BEAT_S", 0.5)

    def sleeps() -> None:
        with place.locked():
            stranger(place, 1, token="third")
            time.sleep(0.8)
            assert place.names() == [name_of(1)], "its next number was taken back"
            place.write("base-000000.tar", b"not mine any more")

    with pytest.raises(CacheError, match="another one took over"):
        sleeps()
    assert json.loads(place.read(name_of(1)))["token"] == "third"


def test_signs_of_life_end_with_the_lock(place: Place) -> None:
    before = threading.active_count()
    with place.locked():
        first = place.names()[-1]
        time.sleep(0.3)
        assert place.names()[-1] > first
    assert threading.active_count() == before
    assert place.names() == []


def test_a_server_that_ignores_conditions_is_not_written_to(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As S3's first clones do. None such runs here."""
    pipe = MemoryFileSystem.pipe_file
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", lambda store, path, value, **_named: pipe(store, path, value))
    with pytest.raises(PlaceError, match=rf"{ADDRESS}: its server ignores conditions .*: .* read, not written"):
        place.locked().__enter__()
    assert place.names() == []


def test_a_lock_that_could_not_be_removed_does_not_stop_its_own_process(place: Place) -> None:
    lock = ObjectLock(place)
    lock.take()
    lock.stop()
    assert len(place.names()) == 1
    started = time.monotonic()
    with place.locked():
        assert time.monotonic() - started < 0.9


def test_those_that_joined_write_together_and_nobody_else_does(place: Place) -> None:
    first, second = place_at(ADDRESS), place_at(ADDRESS)
    with first.joined():
        with second.joined():
            assert first.names(f"{LOCK}/"), "one lock for both"
            for each in (first, second):
                each.write("base-000000.tar", b"equal bytes")
            with pytest.raises(BusyError, match=f"another {PART} writes here"), place_at(ADDRESS).locked():
                pass
        time.sleep(0.2)
        first.write("base-000001.tar", b"the second one left, the first goes on")
        with pytest.raises(BusyError, match=f"another {PART} writes here"):
            place_at(ADDRESS).refuse_if_locked()
    started = time.monotonic()
    with place.locked():
        assert time.monotonic() - started > 0.5, "who leaves does not know whether others go on"
    assert not place.names(f"{LOCK}/")


def test_signs_of_life_of_many_are_not_more_than_those_of_one(place: Place) -> None:
    with ExitStack() as inside:
        for _ in range(6):
            inside.enter_context(place_at(ADDRESS).joined())
        before = int(place.names(f"{LOCK}/")[-1][-12:])
        time.sleep(0.5)
        after = place.names(f"{LOCK}/")
        assert 1 <= int(after[-1][-12:]) - before <= 25, "one has 10 in this time, six have 60"
        assert len(after) <= 3


def test_when_all_is_done_the_place_is_free_at_once(place: Place) -> None:
    started = time.monotonic()
    with place.joined() as free:
        place.write("base-000000.tar", b"the last one")
        free()
    with place.locked():
        assert time.monotonic() - started < 0.5


def test_one_that_wants_to_be_alone_is_not_joined(place: Place) -> None:
    with place.locked("build"), pytest.raises(BusyError, match="another build writes here"), place.joined():
        pass


def test_a_part_that_slept_finds_out_before_its_next_put(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen(monkeypatch)

    def sleeps() -> None:
        with place.joined():
            other = place_at(ADDRESS)
            with other.locked():  # waits until the silent one is taken for dead
                other.write("base-000000.tar", b"of another cache")
                place.write("base-000000.tar", b"not mine any more")

    with pytest.raises(CacheError, match="another one took over"):
        sleeps()
    assert place.read("base-000000.tar") == b"of another cache"


_WRITER = """
import sys
from dukd_cache.places import object_lock
from dukd_cache.places.choice import place_at
object_lock.BEAT_S, object_lock.PATIENCE_S = 0.1, 1.0
object_lock.machine = lambda: "another"  # whose processes cannot be seen from here
place = place_at(sys.argv[1])
with place.locked():
    place.write("first", b"")
    print("writes", flush=True)
    sys.stdin.readline()
    place.write("second", b"")
"""


def test_a_frozen_process_that_wakes_up_does_not_write(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_lock, "_LOOK_S", 0.05)
    address, pipe = bucket.address("cache"), subprocess.PIPE
    paths = os.pathsep.join(filter(None, sys.path))
    started = subprocess.Popen(
        [sys.executable, "-c", _WRITER, address],
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        env=os.environ | environment(bucket.endpoint) | {"PYTHONPATH": paths},
    )
    with found_at(bucket.endpoint), started as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writes\n"
        with pytest.raises(CacheError, match="another build writes here"), place_at(address).locked():
            pass
        writer.send_signal(signal.SIGSTOP)
        place = place_at(address)
        with place.locked():
            place.write("mine", b"")
            writer.send_signal(signal.SIGCONT)
            _, told = writer.communicate("go on\n", timeout=30)
            assert "gave no sign of life for 1 s and another one took over" in told
            assert [name for name in place.names() if not name.startswith(LOCK)] == ["first", "mine"]
    assert bucket.names("cache") == ["first", "mine"]
