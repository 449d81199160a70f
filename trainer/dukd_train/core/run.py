"""One run: settings → cache, student and data → training → a run folder (see `run_folder.py`)."""

import json
import time
from collections.abc import Hashable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dukd_cache import networks
from dukd_cache.format.reader import Cache
from dukd_cache.networks import Network
from dukd_cache.networks.devices import choose_device
from dukd_cache.system.errors import WeightsError
from dukd_cache.system.files import try_folder, write_atomically
from dukd_cache.system.lock import locked
from dukd_cache.system.terminal import say
from dukd_train.core import checkpoint
from dukd_train.core.checkpoint import Checkpoint, Origin
from dukd_train.core.initial import start_from
from dukd_train.core.loop import Training, train
from dukd_train.core.parallel import World, joined
from dukd_train.core.served import served
from dukd_train.core.targets import arrays_of
from dukd_train.core.too_large import refuse_too_large
from dukd_train.data.batches import Batches
from dukd_train.data.mixing import VIEW
from dukd_train.data.order import Order
from dukd_train.data.residency import open_rows, workers
from dukd_train.data.sampling import kept_of
from dukd_train.errors import RunError
from dukd_train.keeping import late_scores, run_folder, spare
from dukd_train.keeping.best import BestWeights, criterion
from dukd_train.keeping.curve import CurveFile
from dukd_train.keeping.run_folder import FACTS, WEIGHTS
from dukd_train.keeping.validation import ValidationFile, Validator
from dukd_train.objective import Term
from dukd_train.scoring.provenance import made_with
from dukd_train.settings import Eco, Logging, TrainConfig, Validation
from dukd_train.watching.display import Display
from dukd_train.watching.observers import Observer, Observers
from dukd_train.watching.other_software import OtherSoftware
from dukd_train.watching.outlook import Outlook


@dataclass(frozen=True)
class _Prepared:
    """All that is known before the run folder is touched."""

    cache: Cache
    terms: dict[str, Term]
    eco: Eco
    order: Order
    student: Network
    validator: Validator
    keepers: list[Observer]
    """Those of the best weights, where there are validation sets."""
    trackers: list[Observer]


def run(
    config: TrainConfig, out: Path, observers: Sequence[Observer] = (), *, allow_changes: bool = False
) -> dict[str, Any]:
    """Train as `config` says, into the folder `out`; return what `run.json` holds.

    `observers` are told how it goes, after the run folder's own files. With `allow_changes`, a run that was begun with
    other settings goes on with these.

    Raises:
        DukdError: anything the user can mend.
    """
    with joined(config.device) as world, ExitStack() as held:
        made = world.together(lambda: _prepare(config, world))
        cache, student = made.cache, made.student
        facts = world.from_leader(lambda: _finished(config, out, cache))
        if facts is not None:
            steps = int(facts["steps"])
            scored = world.from_leader(lambda: late_scores.add(config, out, steps, made.validator, world.device))
            if world.leads:
                _tell(out, "finished already" + (f"; now scored on {', '.join(scored)}" if scored else ""))
            return facts
        world.from_leader(lambda: _try(out, made.validator, set()))
        for_steps = world.from_leader(lambda: _refuse_too_large(config, made, world))
        start = world.together(lambda: start_from(config.student.init, student) if config.student.init else None)
        origin = Origin(cache.digest, start.fingerprint if start else "")
        decides = run_folder.deciding(config, *origin)
        firsts = world.from_leader(lambda: decides)
        world.together(lambda: _refuse_unlike(world, decides, firsts))
        copies = spare.place_of(decides)
        last = world.from_leader(lambda: _take_up(config, out, origin, copies, allow_changes, held))
        if last:  # whatever its file holds now
            origin = origin._replace(init_fingerprint=Origin(*last.origin).init_fingerprint)
        if start and not last and world.leads:
            say(str(start))
        batches = world.together(lambda: _batches(config, made, world, for_steps))
        begun = last.begun if last else time.time()
        training = Training(config, student, batches, made.terms, world, origin, begun)
        files = [run_folder.Possession(), CurveFile(out), ValidationFile(out), *made.keepers]
        files += [spare.SpareCopy(copies)] if copies else []
        kept, views = made.order.kept, arrays_of(made.terms, cache.manifest)
        outlook = Outlook({view: len(kept.get(view, cache[view])) for view in views})
        everyone = [*files, OtherSoftware(), outlook, Display(), *made.trackers, *observers] if world.leads else []
        facts = dict[str, Any]()

        def keep(averaged: Network, seconds: float) -> None:
            facts.update(_facts(config, made, averaged, seconds) | made_with(world.device, begun))
            facts.update(start.facts() | {"init_fingerprint": origin.init_fingerprint} if start else {})
            if world.leads:
                networks.save(averaged, out / WEIGHTS, {key: str(value) for key, value in facts.items()})

        train(training, out, last, made.validator, Observers(everyone), keep)
        if world.leads:
            write_atomically(out / FACTS, (json.dumps(facts, indent=1) + "\n").encode())
            if copies:
                spare.remove(copies)
        return facts


def check(config: TrainConfig, out: Path, known: set[Hashable]) -> int:
    """Refuse what `run` would refuse before its first step, but for weights to start from; return the scale.

    `known` holds the validation sets whose images were read before, and learns those of this run.

    Raises:
        DukdError, OSError: anything the user can mend.
    """
    made = _prepare(config, World(choose_device(config.device)))
    if _finished(config, out, made.cache) is None:
        _try(out, made.validator, known)
        if out.is_dir():
            run_folder.claim(out, config, allow=False)
    return made.student.scale


def _try(out: Path, validator: Validator, known: set[Hashable]) -> None:
    """Find out now what the run would find out when its steps are done."""
    try_folder(out)
    validator.check(known)


def _prepare(config: TrainConfig, world: World) -> _Prepared:
    cache = Cache(config.cache, reading="in order" if config.data.shuffle == "shards" else "in any order")
    terms, eco, order, student = served(config, cache, world)
    if config.sampling.chooses:
        views = arrays_of(terms, cache.manifest)
        order = replace(order, kept={view: kept_of(cache, view, config.sampling) for view in views})
    if not world.leads:
        none = Validator(Validation(), student.scale, world.device)
        return _Prepared(cache, terms, eco, order, student, none, [], [])
    validator, by = Validator(config.validation, student.scale, world.device), criterion(config.validation)
    keepers: list[Observer] = [BestWeights(by)] if by else []
    return _Prepared(cache, terms, eco, order, student, validator, keepers, _trackers(config.logging))


def _finished(config: TrainConfig, out: Path, cache: Cache) -> dict[str, Any] | None:
    """What `run.json` says, where there is nothing left to do."""
    facts = run_folder.finished(out, config)
    if facts:
        now = began = facts.get("init_fingerprint", "")
        if began and config.student.init:
            with suppress(WeightsError):  # it may be gone, or in training again: it is needed no more
                now = networks.fingerprint(networks.load(config.student.init))
        _refuse_others(out, config, Origin(facts["cache_digest"], began), Origin(cache.digest, now))
    return facts


def _refuse_too_large(config: TrainConfig, made: _Prepared, world: World) -> int:
    """Bytes of main memory that steps may take on this machine. A GPU refuses by itself, in the first step."""
    if world.device.type != "cpu":
        return 0
    sides = [made.order.side(view) for view in arrays_of(made.terms, made.cache.manifest)]
    halved = 0.5 if config.precision != "fp32" else 1.0
    return refuse_too_large(config.batch, made.student, sides, part=halved * world.here / world.size)


def _refuse_unlike(world: World, ours: dict[str, Any], firsts: dict[str, Any]) -> None:
    """Refuse to train together what is not the same: another machine may have other files in the same places."""
    for name in ours | firsts:
        if ours.get(name) != firsts.get(name):
            has = f"{name} = {ours.get(name)}, and the first one {firsts.get(name)}"
            raise RunError(f"has {has}: expected the same", f"process {world.rank} of {world.size}")


def _take_up(
    config: TrainConfig, out: Path, origin: Origin, copies: Path | None, allow_changes: bool, held: ExitStack
) -> Checkpoint | None:
    """Make `out` the folder of this run, or go on with the one it holds, from the checkpoint that is returned.

    Where it holds none, the newest of the spare `copies` is put there. It is locked until `held` ends.

    Raises:
        CacheError: another process trains there.
        RunError: it holds something else, or nothing that is whole.
    """
    held.enter_context(locked(out, run_folder.LOCK, "training"))
    if copies and spare.take_up(copies, out):
        run_folder.record(out, config, [], 0)  # of the same training, but its files may lie elsewhere now
    changes = run_folder.claim(out, config, allow_changes)
    found = checkpoint.newest(out)
    done = found.checkpoint.step if found else 0
    if done > config.steps:
        raise RunError(
            f"holds a run of {done} steps already, asked for {config.steps}", out, cure="choose another `out`"
        )
    if found and (trained := Origin(*found.checkpoint.origin)) != origin:
        if not allow_changes:
            _refuse_others(out, config, trained, origin)
        if trained.cache_digest != origin.cache_digest:
            changes.append(run_folder.Change("cache_digest", trained.cache_digest, origin.cache_digest))
    (out / FACTS).unlink(missing_ok=True)  # there only if more steps are asked for
    run_folder.record(out, config, changes, done)
    for change in changes:
        _tell(out, f"from now on {change.name} = {change.asked}, not {change.found}")
    if found is None:
        return None
    _tell(out, f"going on at step {done} ({'; '.join([found.name, *found.damaged])})")
    return found.checkpoint


def _refuse_others(out: Path, config: TrainConfig, trained: Origin, found: Origin) -> None:
    named = Origin(f"on another cache than {config.cache}", f"from other weights than {config.student.init}")
    for name, before, now in zip(named, trained, found, strict=True):
        if before != now:
            raise RunError(f"trained {name} holds now", out, cure="choose another `out`")


def _tell(out: Path, what: str) -> None:
    say(f"{out}: {what}")


def _trackers(logging: Logging) -> list[Observer]:
    """Those that the settings ask for; each needs a library that is loaded only then."""
    trackers: list[Observer] = []
    if logging.tensorboard:
        from dukd_train.watching.to_tensorboard import TensorBoard

        trackers.append(TensorBoard())
    if logging.dvclive:
        from dukd_train.watching.to_dvclive import DvcLive

        trackers.append(DvcLive())
    return trackers


def _batches(config: TrainConfig, made: _Prepared, world: World, for_steps: int) -> Batches:
    rows, line = open_rows(made.cache, _wanted(made), config.data, world.device, world.here, for_steps)
    if world.leads:
        say(line)
    return Batches(rows, made.order, config.augment, world.device, workers(config.data, world.here), made.eco)


def _wanted(made: _Prepared) -> dict[str, list[str]]:
    """What is read of each view."""
    wanted = arrays_of(made.terms, made.cache.manifest)
    if made.eco.steps:
        wanted[VIEW] = [*dict.fromkeys((*wanted[VIEW], made.eco.answer))]
    return wanted


def _facts(config: TrainConfig, made: _Prepared, student: Network, seconds: float) -> dict[str, Any]:
    return {
        "method": config.method,
        "loss": {name: term.model_dump() for name, term in made.terms.items()},
        "answers": sorted(
            {name for names in _wanted(made).values() for name in names} & made.cache.manifest.answers.keys()
        ),
        "seed": config.seed,
        "student": student.architecture,
        "parameters": student.parameters_count,
        "scale": student.scale,
        "steps": config.steps,
        "cache_digest": made.cache.digest,
        "seconds": round(seconds, 3),
    }
