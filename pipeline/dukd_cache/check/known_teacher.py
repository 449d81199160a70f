"""The teacher of a cache, loaded again from its weights: all that compares the two."""

from dataclasses import replace
from pathlib import Path

from dukd_cache.build import teacher
from dukd_cache.build.teacher import Teacher
from dukd_cache.format.header import Header
from dukd_cache.networks.devices import check_precision, choose_device
from dukd_cache.places import Address
from dukd_cache.settings.takes import Takes
from dukd_cache.system.errors import CacheError


def teachers_of(root: Address, cache: Header, weights: Path, device: str) -> dict[str, Teacher]:
    """The network in `weights`, asked as it was for each of its answers in the cache at `root`, by their names.

    Raises:
        WeightsError: the file holds no SR network.
        CacheError: none of them.
        SettingError: the device cannot compute in that precision.
    """
    if not cache.answers:
        raise CacheError("a cache of pairs, no teacher was asked", root)
    loaded: dict[Takes, Teacher] = {}
    asked: dict[str, Teacher] = {}
    for answer, known in cache.answers.items():
        takes = Takes(**known.settings.get(teacher.TAKES, {}), window=known.window)
        if takes not in loaded:
            loaded[takes] = teacher.load(weights, choose_device(device), "fp32", takes=takes)
        found = loaded[takes]
        if known.fingerprint == found.info.fingerprint:
            check_precision(found.device, known.precision)
            alike = {name: getattr(known, name) for name in ("precision", "of", "self_ensemble", "context", "smaller")}
            asked[answer] = replace(found, info=found.info.model_copy(update=alike))
    if asked:
        return asked
    several = len(cache.answers) > 1
    there = " or ".join(known.fingerprint[:12] + f" ({name})" * several for name, known in cache.answers.items())
    raise CacheError(f"its teacher has fingerprint {there}, {weights.name} has {found.info.fingerprint[:12]}", root)
