"""What a user asks of `dukd-cache verify`."""

from pathlib import Path

from dukd_cache import manifest
from dukd_cache.errors import CacheError
from dukd_cache.places import Address
from dukd_cache.places.choice import place_at
from dukd_cache.progress import progress
from dukd_cache.reader import Cache
from dukd_cache.verify import Problem, verify


def run(root: Address, weights: Path | None, sample: int, device: str) -> list[Problem]:
    """All that is wrong with the cache at `root`; with `weights`, also what that teacher answers otherwise.

    Raises:
        DukdError: the cache cannot be checked, or not against this teacher.
    """
    found = manifest.read_despite_damage(place_at(root))
    total = sum(shard.records for shard in found.shards) if found else 0
    with progress("checking", total, "records") as advance:
        problems = verify(root, on_records=advance)
    if weights is not None:
        problems += _asked_again(root, weights, sample, device)
    return problems


def _asked_again(root: Address, weights: Path, sample: int, device: str) -> list[Problem]:
    from dukd_cache import teacher  # waits for torch: checking files does not need it
    from dukd_cache.devices import choose_device
    from dukd_cache.reask import ask_again

    cache = Cache(root)
    if cache.manifest.teacher is None:
        raise CacheError(f"{root}: a cache of pairs, no teacher was asked")
    asked = teacher.load(weights, choose_device(device), cache.manifest.teacher.precision)
    sample = min(sample, sum(map(cache.count, cache.views)))
    with progress("asking the teacher again", sample, "records") as advance:
        return ask_again(cache, asked, sample, on_records=advance)
