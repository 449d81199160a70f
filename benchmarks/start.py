"""Start-up: how long a command line takes to say how it is used."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from statistics import median

from benchmarks.figures import Figure, Goal
from benchmarks.timing import in_turns

_TURNS = 9


def figures() -> Iterator[Figure]:
    """`--help` of both commands; beside it, a Python that does nothing."""
    commands = {name: f"from {module}.cli import main; main()" for name, module in _COMMANDS.items()}
    alternatives = {name: _starter(code, "--help") for name, code in commands.items()} | {"python": _starter("pass")}
    for run in alternatives.values():
        run()  # compiles what it imports
    times = in_turns(alternatives, _TURNS)
    for name in commands:
        facts = {"seconds": times[name].wall, "bare_python_s": median(times["python"].wall)}
        yield Figure("start-up", f"{name} --help", times[name].typical, "s", Goal(at_most=0.4), facts)


_COMMANDS = {"dukd-cache": "dukd_cache", "dukd-train": "dukd_train"}


def _starter(code: str, *words: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=True)
