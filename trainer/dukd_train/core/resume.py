"""Whether the run in a folder is finished, or goes on, from which checkpoint; or is another one, and refused."""

from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from dukd_cache import networks
from dukd_cache.format.reader import Cache
from dukd_cache.system.errors import WeightsError
from dukd_cache.system.lock import locked
from dukd_cache.system.terminal import say
from dukd_train.core import checkpoint
from dukd_train.core.checkpoint import Checkpoint, Origin
from dukd_train.errors import RunError
from dukd_train.keeping import run_folder, spare
from dukd_train.keeping.run_folder import FACTS
from dukd_train.settings import TrainConfig


def finished(config: TrainConfig, out: Path, cache: Cache, allow_changes: bool) -> dict[str, Any] | None:
    """What `run.json` says, where there is nothing left to do.

    Raises:
        RunError: it is finished, but was another run, or was made of another cache or start than lie there now.
    """
    facts = run_folder.finished(out, config)
    if facts:
        now = began = facts.get("init_fingerprint", "")
        if began and config.student.init and not allow_changes:
            with suppress(WeightsError):  # it may be gone, or in training again: it is needed no more
                now = networks.fingerprint(networks.load(config.student.init))
        _refuse_others(out, config, Origin(facts["cache_digest"], began), Origin(cache.digest, now))
    return facts


def take_up(
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
        tell(out, f"from now on {change.name} = {change.asked}, not {change.found}")
    if found is None:
        return None
    tell(out, f"going on at step {done} ({'; '.join([found.name, *found.damaged])})")
    return found.checkpoint


def tell(out: Path, what: str) -> None:
    """Say it of the run in `out`."""
    say(f"{out}: {what}")


def _refuse_others(out: Path, config: TrainConfig, trained: Origin, found: Origin) -> None:
    named = Origin(f"on another cache than {config.cache}", f"from other weights than {config.student.init}")
    for name, before, now in zip(named, trained, found, strict=True):
        if before != now:
            raise RunError(f"trained {name} holds now", out, cure="choose another `out`")
