"""Work in threads, a bounded number of items ahead: an iterable in one of its own, a function on all cores."""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar, cast

from threadpoolctl import threadpool_limits

SHARE = "OMP_NUM_THREADS"
"""What users, Slurm jobs and Ray set for every program that shares a machine with others."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class _Made(Generic[R]):
    """What a thread made, or what it raised; the end of all where it is neither."""

    item: R | None = None
    error: BaseException | None = None
    is_end: bool = False

    def get(self) -> R:
        if self.error is not None:
            raise self.error
        return cast(R, self.item)


# Threads hand over what they made by `SimpleQueue`s and by nothing else. A signal's exception can come up anywhere in
# the main thread, also right after it took the lock of a `Queue`, an `Event` or a `Future`, which it then never lets
# go: the other thread waits for that for ever, and a program that was to end does not. A `SimpleQueue` has none.


def allowed_cores() -> int:
    """Those that the system lets this process have."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_cores() -> int:
    """Those that this process itself may compute on: its share, where one is set, of those that it is allowed."""
    there = allowed_cores()
    share = os.environ.get(SHARE, "")
    return min(there, int(share)) if share.isdigit() and int(share) > 0 else there


def prefetch(items: Iterable[T], ahead: int, on_close: Callable[[], None] = lambda: None) -> Generator[T, None, None]:
    """The items of `items`, at most `ahead` of them waiting. What it raises is raised here, in its place.

    Closing the iterator (or dropping out of a loop over it) stops the thread, when it has made an item or ends.
    `on_close` is called before that is waited for.
    """
    ready: SimpleQueue[_Made[T]] = SimpleQueue()
    room: SimpleQueue[bool] = SimpleQueue()
    """True for each item that may be made ready; False: no more are wanted."""
    for _ in range(ahead):
        room.put(True)

    def run() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if not room.get():
                    break
                ready.put(_Made(item))
        except BaseException as raised:  # handed to the consumer, whatever it is
            error = raised
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
            ready.put(_Made(error=error, is_end=True))

    thread = threading.Thread(target=run, daemon=True)
    try:
        thread.start()  # in here, as a signal's exception can be raised while the thread is already running
        while True:
            made = ready.get()
            if made.is_end:
                if made.error is not None:
                    raise made.error
                return
            room.put(True)
            yield made.get()
    finally:
        on_close()
        room.put(False)
        if thread.ident is not None:
            thread.join()


def on_one_core(items: Iterable[T]) -> Generator[T, None, None]:
    """The items of `items`, made by the thread that asks for the first, without torch spreading its work over cores.

    For a thread beside one that computes on all of them: a second team of OpenMP threads would fight it for the cores,
    waiting for each other in loops. On two cores that takes twice as long.
    """
    with _one_core():
        yield from items


def _one_core() -> threadpool_limits:
    """In a block, torch keeps to one core in this thread."""
    if torch := sys.modules.get("torch"):  # whoever computes with it has it already
        torch.get_num_threads()  # else the first operation in this thread would set what was chosen for the process
    return threadpool_limits(1, "openmp")  # torch.set_num_threads would hold for threads that begin later, too


def in_threads(function: Callable[[T], R], items: Iterable[T], workers: int | None = None) -> Generator[R, None, None]:
    """`function` of every item, computed by `workers` threads, by default one for each usable core.

    In order, a bounded number of them ahead. More threads than cores are for what waits for a server.
    """
    workers = workers or usable_cores()
    with _pool(workers) as ask:
        yield from _in_order((_later(ask, function, item) for item in items), 4 * workers)


def in_threads_by_turns(function: Callable[[T], R], groups: Iterable[Iterable[T]]) -> Generator[R, None, None]:
    """`function` of every item of `groups`, on all usable cores; in order, a group being done before the next comes.

    For groups whose making keeps all cores busy: both at the same time would only disturb each other.
    """
    with _pool(usable_cores()) as ask:
        for group in groups:
            for wait in [_later(ask, function, item) for item in group]:
                yield wait()


def in_processes(
    pool: Executor, function: Callable[[T], R], items: Iterable[T], ahead: int
) -> Generator[R, None, None]:
    """`function` of every item, computed by the processes of `pool`; in order, at most `ahead` of them waiting."""
    return _in_order((pool.submit(function, item).result for item in items), ahead)


def _in_order(waits: Iterable[Callable[[], R]], ahead: int) -> Generator[R, None, None]:
    waiting: deque[Callable[[], R]] = deque()
    for wait in waits:
        waiting.append(wait)
        if len(waiting) > ahead:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


def _later(ask: Callable[[Callable[[], None]], None], function: Callable[[T], R], item: T) -> Callable[[], R]:
    """What waits for `function` of `item`, computed by a thread that is asked to."""
    done: SimpleQueue[_Made[R]] = SimpleQueue()

    def run() -> None:
        try:
            done.put(_Made(function(item)))
        except BaseException as error:  # handed to the one that waits, whatever it is
            done.put(_Made(error=error))

    ask(run)
    return lambda: done.get().get()


def apart(function: Callable[[], R]) -> R:
    """What `function` returns, called in a thread of its own.

    For libraries (Ray) that swallow the exception of a signal's handler when it comes up while they are called.
    """

    def begin(run: Callable[[], None]) -> None:
        threading.Thread(target=run, daemon=True).start()

    return _later(begin, lambda _: function(), None)()


def repeating(act: Callable[[], bool], seconds: float) -> Callable[[], None]:
    """Call `act` every so many seconds, in a thread of its own, until it gives False.

    What is returned ends that, too: `act` is not called any more when it returns.
    """
    ended: SimpleQueue[None] = SimpleQueue()

    def run() -> None:
        while True:
            with suppress(Empty):
                return ended.get(timeout=seconds)
            if not act():
                return None

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def end() -> None:
        ended.put(None)
        thread.join()

    return end


@contextmanager
def _pool(workers: int) -> Iterator[Callable[[Callable[[], None]], None]]:
    """Threads that run what they are given, in order; what they have not begun when the block ends is dropped.

    Not `ThreadPoolExecutor`: it has a `Semaphore`, see above.
    """
    jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
    ended = False

    def work() -> None:
        with _one_core():
            while not ended:
                jobs.get()()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    try:
        for thread in threads:
            thread.start()
        yield jobs.put
    finally:
        ended = True
        for _ in threads:
            jobs.put(lambda: None)
        for thread in threads:
            if thread.ident is not None:
                thread.join()


def told(items: Iterable[T], on_items: Callable[[int], None]) -> Generator[T, None, None]:
    """The items of `items`; `on_items` is told of each when the next is asked for."""
    for item in items:
        yield item
        on_items(1)
