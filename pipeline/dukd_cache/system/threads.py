"""Work in threads, a bounded number of items ahead: an iterable in one of its own, a function on all cores."""

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

_SHARE = "OMP_NUM_THREADS"
"""What users, Slurm jobs and Ray set for every program that shares a machine with others."""

T = TypeVar("T")
R = TypeVar("R")


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def usable_cores() -> int:
    """Those that this process may use: its share, where one is set, of what the system lets it have."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = os.environ.get(_SHARE, "")
    return min(there, int(share)) if share.isdigit() and int(share) > 0 else there


def prefetch(items: Iterable[T], ahead: int) -> Generator[T, None, None]:
    """The items of `items`, at most `ahead` of them waiting. What it raises is raised here, in its place.

    Closing the iterator (or dropping out of a loop over it) stops the thread.
    """
    ready: queue.Queue[T | _End] = queue.Queue(maxsize=ahead)
    stop = threading.Event()

    def put(item: T | _End) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def run() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    break
        except BaseException as raised:  # handed to the consumer, whatever it is
            error = raised
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
            put(_End(error))

    thread = threading.Thread(target=run, daemon=True)
    try:
        thread.start()  # in here, as a signal's exception can be raised while the thread is already running
        while True:
            item = ready.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stop.set()
        if thread.ident is not None:
            thread.join()


def on_one_core(items: Iterable[T]) -> Generator[T, None, None]:
    """The items of `items`, made by the thread that asks for the first, without torch spreading its work over cores.

    For a thread beside one that computes on all of them: a second team of OpenMP threads would fight it for the cores,
    waiting for each other in loops. On two cores that takes twice as long.
    """
    import torch  # whoever computes with it has it already

    torch.get_num_threads()  # else the first operation in this thread would set what was chosen for the process
    with threadpool_limits(1, "openmp"):  # torch.set_num_threads would hold for threads that begin later, too
        yield from items


def in_threads(function: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
    """`function` of every item, computed on all usable cores; in order, a bounded number of them ahead."""
    workers = usable_cores()
    with ThreadPoolExecutor(workers) as pool:
        yield from in_order(pool, function, items, 4 * workers)


def in_threads_by_turns(function: Callable[[T], R], groups: Iterable[Iterable[T]]) -> Generator[R, None, None]:
    """`function` of every item of `groups`, on all usable cores; in order, a group being done before the next comes.

    For groups whose making keeps all cores busy: both at the same time would only disturb each other.
    """
    with ThreadPoolExecutor(usable_cores()) as pool:
        for group in groups:
            yield from pool.map(function, group)


def in_order(pool: Executor, function: Callable[[T], R], items: Iterable[T], ahead: int) -> Generator[R, None, None]:
    """`function` of every item, computed in `pool`; in order, at most `ahead` of them waiting."""
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def told(items: Iterable[T], on_items: Callable[[int], None]) -> Generator[T, None, None]:
    """The items of `items`; `on_items` is told of each when the next is asked for."""
    for item in items:
        yield item
        on_items(1)
