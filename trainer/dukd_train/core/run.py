"""One run: settings → cache, student and data → training → a run folder (see `run_folder.py`)."""

import json
import time
from collections.abc import Hashable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dukd_cache import networks
from dukd_cache.format.reader import Cache
from dukd_cache.networks import Network
from dukd_cache.networks.devices import choose_device
from dukd_cache.system.files import try_folder, write_atomically
from dukd_cache.system.terminal import say
from dukd_train.core.checkpoint import Origin
from dukd_train.core.initial import start_from
from dukd_train.core.loop import Training, train
from dukd_train.core.parallel import World, joined
from dukd_train.core.resume import finished, take_up, tell
from dukd_train.core.served import served
from dukd_train.core.targets import arrays_of
from dukd_train.core.too_large import refuse_too_large
from dukd_train.data.batches import Batches
from dukd_train.data.mixing import VIEW, read_by
from dukd_train.data.order import Order
from dukd_train.data.residency import open_rows, workers
from dukd_train.data.sampling import kept_in
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
        facts = world.from_leader(lambda: finished(config, out, cache, allow_changes))
        if facts is not None:
            steps = int(facts["steps"])
            scored = world.from_leader(lambda: late_scores.add(config, out, steps, made.validator, world.device))
            if world.leads:
                tell(out, "finished already" + (f"; now scored on {', '.join(scored)}" if scored else ""))
            return facts
        world.from_leader(lambda: _try(out, made.validator, set()))
        for_steps = world.from_leader(lambda: _refuse_too_large(config, made, world))
        start = world.together(lambda: start_from(config.student.init, student) if config.student.init else None)
        origin = Origin(cache.digest, start.fingerprint if start else "")
        decides = run_folder.deciding(config, *origin)
        firsts = world.from_leader(lambda: decides)
        world.together(lambda: _refuse_unlike(world, decides, firsts))
        copies = spare.place_of(decides)
        last = world.from_leader(lambda: take_up(config, out, origin, copies, allow_changes, held))
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
    if finished(config, out, made.cache, allow_changes=False) is None:
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
        order = replace(order, kept=kept_in(cache, arrays_of(terms, cache.manifest), config.sampling))
    if not world.leads:
        none = Validator(Validation(), student.scale, world.device)
        return _Prepared(cache, terms, eco, order, student, none, [], [])
    validator, by = Validator(config.validation, student.scale, world.device), criterion(config.validation)
    keepers: list[Observer] = [BestWeights(by)] if by else []
    return _Prepared(cache, terms, eco, order, student, validator, keepers, _trackers(config.logging))


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
        wanted[VIEW] = [*dict.fromkeys((*wanted[VIEW], *read_by(made.eco, made.cache)))]
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
