"""An iterable in a thread of its own."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from dukd_cache.system.threads import apart, prefetch, repeating, usable_cores


class Source:
    """Counts up, and knows how far it came, where it ran and whether it was closed."""

    def __init__(self, stop: int = 1_000_000, error: BaseException | None = None) -> None:
        self.made = 0
        self.closed = threading.Event()
        self.thread: threading.Thread | None = None
        self._stop, self._error = stop, error

    def __call__(self) -> Iterator[int]:
        self.thread = threading.current_thread()
        try:
            for number in range(self._stop):
                self.made += 1
                yield number
            if self._error:
                raise self._error
        finally:
            self.closed.set()

    @property
    def running(self) -> bool:
        return self.thread is not None and self.thread.is_alive()


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


@pytest.mark.parametrize("ahead", [1, 3, 100])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_items_come_in_order_from_another_thread(count: int, ahead: int) -> None:
    source = Source(count)
    assert list(prefetch(source(), ahead)) == list(range(count))
    assert source.thread is not threading.current_thread()
    assert not source.running


def test_items_that_mean_nothing_are_items_too() -> None:
    items = [None, 0, "", StopIteration, None]
    assert list(prefetch(items, 2)) == items


@pytest.mark.parametrize("error", [ValueError("broken image"), KeyboardInterrupt("stop"), SystemExit(3)])
def test_an_exception_is_raised_in_its_place(error: BaseException) -> None:
    source = Source(3, error)
    seen: list[int] = []
    with pytest.raises(type(error)) as caught:
        seen.extend(prefetch(source(), 2))
    assert caught.value is error
    assert seen == [0, 1, 2]
    assert not source.running


def test_the_source_runs_ahead_but_only_so_far() -> None:
    source = Source()
    taken = prefetch(source(), 3)
    for number in range(5):
        assert next(taken) == number
        # three wait, one more is in the producer's hand
        wait_until(lambda: source.made == number + 1 + 3 + 1)  # noqa: B023
        time.sleep(0.02)
        assert source.made == number + 5
    taken.close()


@pytest.mark.parametrize("taken", [1, 4])
def test_closing_early_stops_the_thread_and_closes_the_source(taken: int) -> None:
    source = Source()
    items = prefetch(source(), 2)
    for _ in range(taken):
        next(items)
    assert source.running
    items.close()
    assert not source.running
    assert source.closed.is_set()
    assert source.made <= taken + 2 + 1


def test_dropping_out_of_a_loop_stops_the_thread() -> None:
    source = Source()
    for item in prefetch(source(), 2):
        if item == 3:
            break
    wait_until(lambda: not source.running)
    assert source.closed.is_set()


def test_closing_a_chain_stops_all_of_it() -> None:
    source = Source()
    doubled = prefetch((2 * item for item in prefetch(source(), 2)), 2)
    assert [next(doubled) for _ in range(3)] == [0, 2, 4]
    doubled.close()
    wait_until(lambda: not source.running)
    assert source.closed.is_set()


def test_an_exception_passes_through_a_chain() -> None:
    inner = prefetch(Source(2, ValueError("far away"))(), 1)
    with pytest.raises(ValueError, match="far away"):
        list(prefetch((item for item in inner), 1))


def test_nothing_runs_before_the_first_item_is_asked_for() -> None:
    source = Source()
    items = prefetch(source(), 2)
    time.sleep(0.02)
    assert source.made == 0
    items.close()


def test_torch_keeps_to_one_core_in_that_thread_alone() -> None:
    """In a process of its own, as torch remembers for ever that a number was chosen: before that, and then."""
    program = """
import torch
from dukd_cache.system.threads import on_one_core, prefetch
for chosen in (None, 3):
    torch.set_num_threads(chosen) if chosen else None
    threads = torch.get_num_threads()
    assert list(prefetch(on_one_core(torch.get_num_threads() for _ in range(2)), 1)) == [1, 1]
    assert list(prefetch((torch.get_num_threads() for _ in range(2)), 1)) == [threads, threads]
    assert torch.get_num_threads() == threads
"""
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"OMP_NUM_THREADS": "2"})


INTERRUPTED = """
import random, signal, sys, time
from dukd_cache.system.threads import in_threads, in_threads_by_turns, prefetch

class Stop(Exception): pass

def stop(*_): raise Stop

def numbers():
    while True: yield 0

ways = {
    "prefetch": lambda: prefetch(numbers(), 1),
    "in_threads": lambda: in_threads(abs, numbers()),
    "in_threads_by_turns": lambda: in_threads_by_turns(abs, ([1, 2, 3] for _ in numbers())),
}
signal.signal(signal.SIGALRM, stop)
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    items = ways[sys.argv[1]]()
    next(items)
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 2e-3))
        for _ in items: pass
    except Stop:
        items.close()
print("ended")
"""


@pytest.mark.parametrize("seconds", [1.5, pytest.param(15, marks=pytest.mark.slow)])
@pytest.mark.parametrize("way", ["prefetch", "in_threads", "in_threads_by_turns"])
def test_a_signal_at_any_moment_leaves_nobody_waiting(way: str, seconds: float) -> None:
    """A `Queue`, a `Future` or a `ThreadPoolExecutor` in their place hang here within seconds."""
    command = [sys.executable, "-c", INTERRUPTED, way, str(seconds)]
    assert subprocess.run(command, timeout=60, capture_output=True, text=True, check=False).stdout == "ended\n"


@pytest.mark.parametrize(("share", "expected"), [("1", 1), ("0", None), ("", None), ("many", None), ("1000000", None)])
def test_a_share_of_the_cores_is_kept_to(share: str, expected: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", share)
    assert usable_cores() == (expected or len(os.sched_getaffinity(0)))


def test_a_call_apart_returns_and_raises_as_it_would_here() -> None:
    assert apart(threading.current_thread) is not threading.current_thread()
    with pytest.raises(ZeroDivisionError):
        apart(lambda: 1 // 0)


def test_what_is_repeated_ends_when_it_is_told_to() -> None:
    calls: list[int] = []

    def act() -> bool:
        calls.append(1)
        return True

    end = repeating(act, 0.01)
    wait_until(lambda: len(calls) > 3)
    end()
    before = len(calls)
    time.sleep(0.1)
    assert len(calls) == before
    end()  # once more does nothing


def test_what_is_repeated_ends_when_it_says_so() -> None:
    calls: list[int] = []
    end = repeating(lambda: bool(calls.append(1)), 0.01)
    wait_until(lambda: bool(calls))
    time.sleep(0.1)
    assert calls == [1]
    end()
