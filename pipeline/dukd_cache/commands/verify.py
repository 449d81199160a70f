"""What a user asks of `dukd-cache verify`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dukd_cache.check.verify import Problem, verify
from dukd_cache.format import manifest
from dukd_cache.format.manifest import Manifest
from dukd_cache.format.reader import Cache
from dukd_cache.places import Address
from dukd_cache.places.choice import place_at
from dukd_cache.settings.model import validated
from dukd_cache.system.errors import SettingError
from dukd_cache.system.terminal import progress

if TYPE_CHECKING:
    from dukd_cache.check.surroundings import Surroundings

Paths = str | Path | Sequence[str | Path]
"""Folders, or lists of files."""


def verify_cache(
    root: Address, weights: Path | None, sample: int, device: str, hr: Paths = (), lr: Paths = ()
) -> list[Problem]:
    """All that is wrong with the cache at `root`; with `weights`, also what that teacher answers otherwise.

    Args:
        hr: the images that it was built from, and their `lr` folders: the teacher is asked about what is cut from them
            again. Needed where its answers have context.

    Raises:
        DukdError: the cache cannot be checked, or not against this teacher.
    """
    if hr and weights is None:
        raise SettingError("only a teacher is asked about what is cut from images: give `teacher`, too", "`hr`")
    if lr and not hr:
        raise SettingError("give `hr`, too", "`lr`")
    if weights is not None and sample < 1:
        raise SettingError(f"`sample` must be positive, got {sample}")
    found = manifest.read_despite_damage(place_at(root))
    asked, around = {}, None
    if weights is not None and found:  # looked at before the cache's bytes are, which may take hours
        from dukd_cache.check.known_teacher import teachers_of  # waits for torch: checking files does not need it

        asked = teachers_of(root, found, weights, device)
        if hr or any(each.info.context for each in asked.values()):
            around = _surroundings(root, found, hr, lr)
    total = sum(shard.records for shard in found.shards) if found else 0
    with progress("checking", total, "records") as advance:
        problems = verify(root, on_records=advance)
    if weights is not None:
        from dukd_cache.check.ask_again import ask_again

        cache = Cache(root)
        sample = min(sample, sum(map(cache.count, cache.views)))
        with progress("asking the teacher again", sample * len(asked), "records") as advance:
            for name, each in asked.items():
                problems += ask_again(cache, name, each, sample, around=around, on_records=advance)
    return problems


def _surroundings(root: Address, found: Manifest, hr: Paths, lr: Paths) -> "Surroundings":
    from dukd_cache.check.surroundings import Surroundings
    from dukd_cache.commands.config import CacheConfig
    from dukd_cache.commands.prepare import sets_of

    if not hr:
        reason = "its teacher saw more of the images than it holds"
        raise SettingError(reason, root, cure="give `hr`, the images that it was built from")
    template = found.degradation.template
    if bool(lr) != bool(template):
        how = "were read: name their folder" if template else "were made of HR: leave it out"
        raise SettingError(f"the LR images of {root} {how}", "`lr`")
    named = {"lr": lr, "lr_template": template} if template else {}
    return Surroundings(found, sets_of(validated(CacheConfig, {"hr": hr, **named}), root))
