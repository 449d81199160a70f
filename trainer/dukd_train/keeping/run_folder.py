"""What a run folder holds, whose it is, and with which changed settings its run may go on.

config.yaml                      all settings; as comments, those that were changed on the way
curve.csv, validation.csv        losses and scores against the step
checkpoint-001200.pt, .sha256    the last two states of an unfinished or finished run
best.safetensors                 the averaged weights of the best validation
student.safetensors              the averaged weights, when all steps are done
run.json                         what it was; written last, after the scores: a run without it is not finished
training.lock                    only while a process trains, or after it was killed
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dukd_cache.settings.model import dump
from dukd_cache.settings.roles import flat, within
from dukd_cache.system.files import write_atomically
from dukd_cache.system.left_overs import is_systems
from dukd_train.errors import RunError
from dukd_train.settings import FIXED, FREE, TrainConfig, with_role
from dukd_train.watching.observers import Observer, Start

CONFIG, WEIGHTS, FACTS, LOCK = "config.yaml", "student.safetensors", "run.json", "training.lock"

UNTIL = ".until step "
"""In the names of settings that first steps had: see `earlier`."""


@dataclass(frozen=True)
class Change:
    """A setting that is not what it was."""

    name: str
    found: object
    asked: object

    def __str__(self) -> str:
        return f"{self.name} = {self.found}, asked for {self.asked}"


def deciding(config: TrainConfig, cache_digest: str, init_fingerprint: str) -> dict[str, Any]:
    """What decides what is trained: settings, and contents, whose files may lie elsewhere on another machine."""
    settings = flat(config.model_dump(mode="json"))
    decides = {name: value for name, value in settings.items() if not within(name, with_role(FREE))}
    return decides | {"cache_digest": cache_digest, "student.init": init_fingerprint}


def finished(out: Path, config: TrainConfig) -> dict[str, Any] | None:
    """What `run.json` says, if the run in `out` is finished and `config` asks for no more steps of it.

    Raises:
        RunError: it is finished, but was another run.
    """
    if not (out / FACTS).is_file():
        return None
    facts: dict[str, Any] = json.loads((out / FACTS).read_text())
    if config.steps > facts["steps"]:
        return None
    for change in _changes(out, config):
        if not within(change.name, with_role(FREE)):
            raise RunError(f"holds a finished run with {change}", out, cure="choose another `out`")
    return facts


def claim(out: Path, config: TrainConfig, allow: bool) -> list[Change]:
    """The settings that `config` changes of the run in `out`; none where there is no run yet.

    Harmless changes are let through: those of `FREE`, and the number of steps where the learning rates of the steps
    done do not depend on it. With `allow`, so are most others.

    Raises:
        RunError: `out` holds files that are no run, or a run that cannot go on with these settings.
    """
    found, free = _changes(out, config), _harmless(config)
    for change in found:
        if within(change.name, with_role(FIXED)):
            raise RunError(f"holds a run with {change}", out, cure="choose another `out`")
        if not allow and not within(change.name, free):
            raise RunError(
                f"holds a run with {change}", out, cure="choose another `out`, or go on with `allow_changes`"
            )
    return found


class Possession(Observer):
    """Ends a training whose run folder is no longer its own: removed (DVC does that), and perhaps another training's.

    Raises:
        RunError: that happened, in `stepped`.
    """

    def started(self, start: Start) -> None:
        self._lock = start.folder / LOCK
        self._ours = self._lock.stat()

    def stepped(self, step: int) -> None:
        try:
            if os.path.samestat(self._ours, self._lock.stat()):
                return
        except FileNotFoundError:
            pass
        raise RunError(f"was removed or taken by another training; this one ended at step {step}", self._lock.parent)


def record(out: Path, config: TrainConfig, changes: list[Change], step: int) -> None:
    """Write the settings into `out`; those that changed after `step` steps stay readable, as comments."""
    earlier = [line + "\n" for line, *_ in _commented(out)]
    now = [f"# until step {step}: {change.name} = {change.found}\n" for change in changes]
    write_atomically(out / CONFIG, ("".join(earlier + now) + dump(config)).encode())


def earlier(out: Path, config: TrainConfig) -> dict[str, str]:
    """The settings that steps of the run in `out` had, and its last ones have not: `optimizer.lr.until step 500`.

    What changes nothing in what is trained is not among them.
    """
    return {
        f"{name}{UNTIL}{step}": value
        for _, step, name, value in _commented(out)
        if step != "0" and not within(name, _harmless(config))
    }


def _commented(out: Path) -> list[tuple[str, str, str, str]]:
    """What `record` wrote of changes: line, step, name, former value."""
    path = out / CONFIG
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return re.findall(r"^(# until step (\d+): (.+?) = (.*))$", text, re.MULTILINE)


def _harmless(config: TrainConfig) -> tuple[str, ...]:
    """What may change on the way without a trace in what is trained."""
    return (*with_role(FREE), *(["steps"] if config.schedule.kind != "cosine" else []))


def names(out: Path) -> list[str]:
    """What lies in `out`, but for the lock and what systems drop."""
    return [file.name for file in out.iterdir() if file.name != LOCK and not is_systems(file.name)]


def _changes(out: Path, config: TrainConfig) -> list[Change]:
    path = out / CONFIG
    if path.is_file():
        found, asked = (flat(each.model_dump(mode="json")) for each in (TrainConfig.load(path), config))
        names_of_both = (name for name in found | asked if found.get(name) != asked.get(name))
        return [Change(name, found.get(name), asked.get(name)) for name in names_of_both]
    for name in names(out):
        raise RunError(f"holds something that is no run ({name})", out, cure="choose another `out`")
    return []
