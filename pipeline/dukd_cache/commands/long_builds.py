"""A build that will take days says so, once that is known: there are ways to make it shorter."""

import time

from dukd_cache.system.terminal import Advance, duration, say

_DAY_S = 86400
_MEASURED_S = 10.0
_SHORTER = "`dukd-cache plan` says why, --part shares it among machines, --compile and --precision may make it faster"


class TellsOfDays:
    """Told of records that are done, as `advance` is; says in a line if those that are left will take above a day.

    The first call is not measured: it counts what is kept, or comes when the teacher has warmed up.
    """

    def __init__(self, advance: Advance, records: int) -> None:
        self._advance, self._left = advance, records
        self._since: float | None = None
        self._done = 0

    def __call__(self, count: int) -> None:
        self._advance(count)
        self._left -= count
        now = time.monotonic()
        if self._since is None:
            self._since = now
            return
        self._done += count
        measured = now - self._since
        if measured >= _MEASURED_S:
            left = measured / self._done * self._left
            if left > _DAY_S:
                say(f"note: about {duration(left)} at this pace; {_SHORTER}")
            self._since = float("inf")  # said once, or never
