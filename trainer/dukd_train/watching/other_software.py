"""Says which other programs will read the student: before its first step, and when it is there."""

from dukd_cache.networks.elsewhere import read_by
from dukd_cache.system.terminal import say
from dukd_train.watching.observers import Observer, Start


class OtherSoftware(Observer):
    """On standard error, a line."""

    _start: Start | None = None

    def started(self, start: Start) -> None:
        self._start = start
        say(read_by(start.averaged))

    def ended(self, step: int) -> None:
        if self._start and step == self._start.steps:
            say(f"{read_by(self._start.averaged)}; `dukd-train export {self._start.folder} …` makes files for them")
