"""One run: settings → cache, student and data → training → a run folder.

A run folder holds `config.yaml` (all settings), `curve.csv`, `validation.csv`, `checkpoint.pt`, and when it is
finished `student.safetensors` (the averaged weights) and `run.json` (what it was).
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dukd_cache import networks
from dukd_cache.devices import choose_device
from dukd_cache.errors import SettingError
from dukd_cache.files import write_atomically
from dukd_cache.manifest import View
from dukd_cache.networks import Network
from dukd_cache.reader import Cache
from dukd_train import config as settings
from dukd_train.config import Logging, TrainConfig
from dukd_train.data import Batches
from dukd_train.display import Display
from dukd_train.errors import RunError
from dukd_train.initial import start_from
from dukd_train.journal import CurveFile
from dukd_train.loop import Training, train
from dukd_train.losses import PARTS, Part, Target, weights_of
from dukd_train.observers import Observer, Observers
from dukd_train.order import Order
from dukd_train.provenance import made_with
from dukd_train.residency import open_rows, workers
from dukd_train.validation import ValidationFile, Validator

CONFIG, WEIGHTS, FACTS = "config.yaml", "student.safetensors", "run.json"


def run(config: TrainConfig, out: Path, observers: Sequence[Observer] = ()) -> dict[str, Any]:
    """Train as `config` says, into the folder `out`; return what `run.json` holds.

    `observers` are told how it goes, after the run folder's own files.

    Raises:
        DukdError: anything the user can mend.
    """
    cache = Cache(config.cache)
    weights = _weights(config, cache)
    device = choose_device(config.device)
    torch.manual_seed(config.seed)
    student = networks.build(config.student.architecture, cache.manifest.spec.scale, config.student.settings)
    tracking = _trackers(config.logging)
    start = start_from(config.student.init, student) if config.student.init else None
    claim(out, config)
    if (out / FACTS).is_file():
        return _finished(out, config, cache)
    if start:
        print(start, file=sys.stderr, flush=True)
    validator = Validator(config.validation.sets, student.scale)
    student.module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    training = Training(config, student, _batches(config, cache, weights, device), weights, device, cache.digest)
    everyone = Observers([CurveFile(out), ValidationFile(out), Display(), *tracking, *observers])
    averaged, seconds = train(training, out, validator, everyone)
    facts = _facts(config, cache, averaged, seconds) | made_with(device, begun=(out / CONFIG).stat().st_mtime)
    facts |= start.facts() if start else {}
    networks.save(averaged, out / WEIGHTS, {key: str(value) for key, value in facts.items()})
    write_atomically(out / FACTS, (json.dumps(facts, indent=1) + "\n").encode())
    return facts


def claim(out: Path, config: TrainConfig) -> None:
    """Make `out` the folder of this run.

    Raises:
        RunError: it holds a run with other settings, or files that are no run.
    """
    path = out / CONFIG
    if path.is_file():
        there = settings.load(path, None, [])
        if there != config:
            difference = _difference("", there.model_dump(mode="json"), config.model_dump(mode="json"))
            raise RunError(f"{out}: holds a run with {difference}; choose another --out")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out}: holds something that is no run; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(path, settings.dump(config).encode())


def _difference(path: str, found: object, asked: object) -> str:
    """The first setting that differs, with both values."""
    if isinstance(found, dict) and isinstance(asked, dict):
        for name in found | asked:
            if found.get(name) != asked.get(name):
                return _difference(f"{path}.{name}".lstrip("."), found.get(name), asked.get(name))
    return f"{path} = {found}, asked for {asked}"


def _finished(out: Path, config: TrainConfig, cache: Cache) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((out / FACTS).read_text())
    if facts["cache_digest"] != cache.digest:
        raise RunError(f"{out}: trained on another cache than {config.cache} holds now; choose another --out")
    return facts


def _trackers(logging: Logging) -> list[Observer]:
    """Those that the settings ask for; each needs a library that is loaded only then."""
    trackers: list[Observer] = []
    if logging.tensorboard:
        from dukd_train.to_tensorboard import TensorBoard

        trackers.append(TensorBoard())
    if logging.dvclive:
        from dukd_train.to_dvclive import DvcLive

        trackers.append(DvcLive())
    return trackers


def _weights(config: TrainConfig, cache: Cache) -> dict[Part, float]:
    """The parts of the loss, all of which the cache can serve."""
    weights = weights_of(config.method, config.loss)
    if not weights:
        raise SettingError(f"method {config.method}: every part of its loss has weight 0")
    for part in weights:
        view, target = PARTS[part]
        if target == "teacher" and cache.manifest.teacher is None:
            raise SettingError(
                f"method {config.method}: {cache.root} holds pairs without a teacher; use method scratch"
            )
        if view not in cache.views:
            option = view.replace("_", "-")
            raise SettingError(
                f"method {config.method}: {cache.root} has no view {view}; "
                f"build it with --{option} N, or set loss.{part}=0"
            )
    if config.patch and config.patch > cache.manifest.spec.patch:
        raise SettingError(f"patch {config.patch}: the cache's patches have {cache.manifest.spec.patch} pixels")
    return weights


def _batches(config: TrainConfig, cache: Cache, weights: dict[Part, float], device: torch.device) -> Batches:
    targets: dict[View, list[Target]] = {}
    for part in weights:
        view, target = PARTS[part]
        targets.setdefault(view, []).append(target)
    order = Order(cache.manifest.spec, config.batch, config.patch, config.seed)
    for view in targets:
        order.side(view)  # refuses a patch that leaves nothing, before all is loaded
    rows, line = open_rows(cache, targets, config.data, device)
    print(line, file=sys.stderr, flush=True)
    return Batches(rows, order, config.augment, device, workers(config.data))


def _facts(config: TrainConfig, cache: Cache, student: Network, seconds: float) -> dict[str, Any]:
    return {
        "method": config.method,
        "seed": config.seed,
        "student": student.architecture,
        "parameters": student.parameters_count,
        "scale": student.scale,
        "steps": config.steps,
        "cache_digest": cache.digest,
        "seconds": round(seconds, 3),
    }
