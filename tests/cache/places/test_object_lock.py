"""One writer an address: who lives keeps the lock, who is dead loses it, and finds out if it was only asleep."""

import json
import threading
import time
from collections.abc import Iterator

import fsspec
import pytest

from dukd_cache.places import Place, object_lock
from dukd_cache.places.choice import place_at
from dukd_cache.places.object_lock import ObjectLock, refuse_if_held
from dukd_cache.system.errors import CacheError
from dukd_cache.system.lock import LOCK
from dukd_cache.system.processes import machine

ADDRESS = "memory://locks/cache"
BUSY = rf"{ADDRESS}: another build writes here \(process \d+.*\); wait for its end, or choose another folder"


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(object_lock, "BEAT_S", 0.05)
    monkeypatch.setattr(object_lock, "EXPIRY_S", 1.0)
    monkeypatch.setattr(object_lock, "_LOOK_S", 0.01)
    yield place_at(ADDRESS)
    fsspec.filesystem("memory").store.clear()


def stranger(place: Place, name: str = "0" * 16, **changes: object) -> dict[str, object]:
    """A lock as a process of another machine puts it."""
    content = {"host": "elsewhere", "machine": "another", "process": 7, "started": "1", "asking": False, "beat": 1}
    content |= changes
    place.write(f"{LOCK}/{name}", json.dumps(content).encode())
    return content


def beating(place: Place, stop: threading.Event, **changes: object) -> threading.Thread:
    """The same, with signs of life until it is told to stop."""

    def run() -> None:
        beat = 1
        while not stop.wait(0.03):
            beat += 1
            stranger(place, beat=beat, **changes)

    stranger(place, **changes)
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


def test_a_silent_one_is_waited_for_and_then_taken_for_dead(place: Place) -> None:
    stranger(place)
    refuse_if_held(place)
    started = time.monotonic()
    with place.locked():
        assert time.monotonic() - started >= 1
        names = place.names(f"{LOCK}/")
        assert len(names) == 1
        assert json.loads(place.read(names[0]))["over"] == [f"{LOCK}/{'0' * 16}"]
    assert place.names() == []


def test_one_that_asks_and_dies_is_not_waited_for_for_ever(place: Place) -> None:
    stranger(place, "f" * 16, asking=True)
    with place.locked():
        assert len(place.names()) == 1


def test_an_ended_process_of_this_machine_is_not_waited_for(place: Place) -> None:
    if not machine():
        pytest.skip("this system does not tell")
    stranger(place, machine=machine(), process=2**22 + 1)  # above the largest number of a process
    started = time.monotonic()
    with place.locked():
        assert time.monotonic() - started < 0.9


def test_what_is_no_lock_does_not_stay_in_the_way(place: Place) -> None:
    place.write(f"{LOCK}/notes", b"not what a build wrote")
    place.write(f"{LOCK}/{'0' * 16}", b"not what a build wrote under such a name")
    with place.locked():
        assert len(place.names()) == 2
    assert place.names() == [f"{LOCK}/notes"]


def overtaken(place: Place, put_anew: bool) -> None:
    """Write, be taken for dead, write again; perhaps the own object is put anew in between, too late."""
    with place.locked():
        (mine,) = place.names(f"{LOCK}/")
        content = place.read(mine)
        place.write("base-000000.tar", b"still mine")
        other = place_at(ADDRESS)
        stranger(other, over=[mine])
        other.delete([mine])
        if put_anew:
            other.write(mine, content)
        place.write("base-000001.tar", b"not mine any more")


@pytest.mark.parametrize("put_anew", [False, True])
def test_a_sleeper_finds_out_before_its_next_put(place: Place, put_anew: bool) -> None:
    with pytest.raises(CacheError, match="gave no sign of life for 1 s and another one took over"):
        overtaken(place, put_anew)
    assert "base-000000.tar" in place.names()
    assert "base-000001.tar" not in place.names()


def test_signs_of_life_end_with_the_lock(place: Place) -> None:
    before = threading.active_count()
    with place.locked():
        (name,) = place.names()
        first = json.loads(place.read(name))["beat"]
        time.sleep(0.3)
        assert json.loads(place.read(name))["beat"] > first
    assert threading.active_count() == before


def test_a_lock_that_could_not_be_removed_does_not_stop_its_own_process(place: Place) -> None:
    lock = ObjectLock(place)
    lock.take()
    lock.stop()
    assert len(place.names()) == 1
    started = time.monotonic()
    with place.locked():
        assert time.monotonic() - started < 0.9
