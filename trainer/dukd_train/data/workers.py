"""Processes that decode the batches of the next steps while this one trains."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait

from dukd_cache.system.threads import in_processes
from dukd_train.data.order import Order
from dukd_train.data.rows import Pixels, StreamedRows
from dukd_train.errors import RunError


def read_ahead(
    rows: Mapping[str, StreamedRows], order: Order, steps: Iterable[int], workers: int
) -> Generator[dict[str, Pixels], None, None]:
    """What `order` reads of `rows` in each of `steps`, decoded by `workers` processes, at most twice as many ahead.

    Raises:
        CacheError: what is stored is damaged or cannot be reached.
        RunError: a worker was killed.
    """
    # Neither a copy of this process, whose threads and GPU would not survive it, nor each a new interpreter.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(dict(rows), order))
    try:
        yield from in_processes(pool, _read, steps, 2 * workers)
    except BrokenProcessPool as error:
        raise RunError(
            "a process that reads data was killed (out of memory?)", cure="try fewer data.workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_sources: dict[str, StreamedRows]
_order: Order
"""Of a worker: what it reads, and in which order."""


def _begin(rows: dict[str, StreamedRows], order: Order) -> None:
    global _sources, _order
    _sources, _order = rows, order
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training process ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """However it ends: a killed process does not tell its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _read(step: int) -> dict[str, Pixels]:
    return {view: rows.read(_order.draw(view, step, len(rows))[0]) for view, rows in _sources.items()}
