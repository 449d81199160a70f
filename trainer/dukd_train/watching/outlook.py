"""What a run is about to do, said before its first step, and how long it will take, said as soon as that is known."""

import time
from collections.abc import Iterator, Mapping

import torch
from torch.utils.flop_counter import FlopCounterMode

from dukd_cache.networks import Network
from dukd_cache.networks.devices import has_bf16
from dukd_cache.system.terminal import duration, say
from dukd_train.objective import Ramp
from dukd_train.scoring.provenance import device_name
from dukd_train.scoring.scores import Score
from dukd_train.scoring.super_resolver import device_of
from dukd_train.watching.observers import Observer, Row, Start

_MANY_PASSES = 1000
"""Over the same records: a student that learns from the truth alone overfits long before."""

_MEASURED_S = 3.0
"""Of steps, before they are taken as an example of all."""

_LONG_S = 600
_DAY_S = 86400
_COUNTED_SIDE = 16
_CROWDED = 0.75
"""Of the time of its cores: what gets less is not alone."""
_WAITING = 0.1
"""Of the wall time, for data: from then on that is what its threads do."""
_FASTER = (
    "note: this CPU may be two to three times as fast with `precision=bf16` and `compile=true`; begin in another folder"
)


class Outlook(Observer):
    """Says it on standard error, in lines."""

    def __init__(self, records: Mapping[str, int]) -> None:
        """`records`: how many there are of each view that the loss reads."""
        self._records = records
        self._measured: tuple[int, float, float] | None = None
        """A step, when it was done, and the CPU time until then."""
        self._told = False
        self._cores: float | None = None
        """Whose time its threads had, in the steps that are measured."""
        self._told_crowded = False

    def started(self, start: Start) -> None:
        self._steps, device = start.steps, device_of(start.averaged)
        self._on_cpu = device.type == "cpu"
        self._faster_in_bf16 = self._on_cpu and start.config.precision == "fp32" and has_bf16(device)
        for line in (*table(start, self._records), *warnings(start, self._records)):
            say(line)

    def stepped(self, step: int) -> None:
        """The first step of a sitting loads and compiles: it counts as none."""
        now, used = time.monotonic(), time.process_time()
        first, since, used_before = self._measured = self._measured or (step, now, used)
        if not self._told and now - since >= _MEASURED_S:
            self._told = True
            self._tell((now - since) / (step - first), self._steps - step)
        self._cores = (used - used_before) / (now - since) if now - since >= _MEASURED_S else None

    def logged(self, row: Row) -> None:
        """Threads that wait for data use no core, and nobody takes it from them."""
        if self._on_cpu and self._cores is not None and row.waiting < _WAITING and not self._told_crowded:
            self._told_crowded = True
            if line := crowded(torch.get_num_threads(), self._cores):
                say(line)

    def scored(self, step: int, scores: Mapping[str, Score]) -> None:  # noqa: ARG002
        """A validation is no step."""
        self._measured = None

    def _tell(self, each: float, left: int) -> None:
        seconds = each * left
        say(f"time      about {duration(seconds)} for {left:,} more steps at {1 / each:.3g} a second")
        if seconds > _DAY_S and self._on_cpu:
            say("note: more than a day on a CPU: take a GPU, a smaller student or fewer steps")
        if seconds > _LONG_S and self._faster_in_bf16:
            say(_FASTER)


def table(start: Start, records: Mapping[str, int]) -> Iterator[str]:
    """Aligned lines: folder, device, student, records, passes over them, batch."""
    config, student, device = start.config, start.averaged, device_of(start.averaged)
    threads = torch.get_num_threads()
    yield f"run       {start.folder}: {config.method}, {start.steps:,} steps"
    yield f"device    {device_name(device)}, {threads} thread{'s' * (threads > 1)}, {config.precision}"
    work = f"{multiply_adds(student) / 1e9:.3g} G multiply-adds a megapixel of output"
    yield f"student   {student.architecture} ×{student.scale}, {student.parameters_count:,} parameters, {work}"
    yield f"records   {', '.join(f'{count:,} {view}' for view, count in records.items())}"
    passes = {view: f"{each:,.1f}" for view, each in _passes(start, records).items()}
    alike = len({*passes.values()}) == 1
    told = f"{next(iter(passes.values()))} over each view"
    yield f"passes    {told if alike else ', '.join(f'{each} over {view}' for view, each in passes.items())}"
    yield f"batch     {config.batch} of each view, {config.batch * len(records)} images"


def warnings(start: Start, records: Mapping[str, int]) -> Iterator[str]:
    """What may not be meant, a line each."""
    config = start.config
    if config.precision == "bf16" and has_bf16(device_of(start.averaged)) is False:
        yield "note: this machine has no instructions for bf16: `precision=fp32` is likely faster"
    for view, count in records.items():
        if config.batch > count:
            yield f"note: a batch of {config.batch} is more than the {count} records of {view}: some come twice"
    ramps: dict[str, Ramp] = {"eco": config.eco} if config.eco.steps else {}
    terms = config.loss.of(config.method)
    ramps |= {f"loss.{name}.weight": term.weight for name, term in terms.items() if isinstance(term.weight, Ramp)}
    for name, ramp in ramps.items():
        if ramp.steps > start.steps:
            yield f"note: {name} changes over {ramp.steps:,} steps, and the run has {start.steps:,}"
    most = max(_passes(start, records).values())
    if most > _MANY_PASSES:
        yield f"note: {most:,.0f} passes over the same records, scratch overfits: take more images or fewer steps"


def crowded(threads: int, cores: float) -> str | None:
    """A line where `threads`, which wait for each other in loops, get the time of only so many cores.

    Alone they use all of theirs. What they lose beside others is in docs/benchmarks.md, "What profiles said".
    """
    if threads == 1 or cores >= _CROWDED * threads:
        return None
    fewer = max(1, int(cores + 0.25))
    return (
        f"note: {threads} threads get {cores:.1f} cores and wait for each other, as other programs run here: it may be "
        f"several times as fast with OMP_NUM_THREADS={fewer} in the environment; stop it and go on"
    )


def multiply_adds(network: Network) -> float:
    """That `network` needs for a million pixels of output: of convolutions and products of matrices.

    Counted on a small image of whole windows, on the network's device; leaves it in eval mode.
    """
    side = -(-_COUNTED_SIDE // network.window) * network.window
    with FlopCounterMode(display=False) as counter:
        network.unclamped(torch.zeros(1, 3, side, side, device=device_of(network)))
    return float(counter.get_total_flops()) / 2 / (side * network.scale) ** 2 * 1e6


def _passes(start: Start, records: Mapping[str, int]) -> dict[str, float]:
    return {view: start.steps * start.config.batch / count for view, count in records.items()}
