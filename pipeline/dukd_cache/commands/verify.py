"""What a user asks of `dukd-cache verify`."""

from pathlib import Path

from dukd_cache.check.verify import Problem, verify
from dukd_cache.format import manifest
from dukd_cache.format.reader import Cache
from dukd_cache.places import Address
from dukd_cache.places.choice import place_at
from dukd_cache.system.terminal import progress


def verify_cache(root: Address, weights: Path | None, sample: int, device: str) -> list[Problem]:
    """All that is wrong with the cache at `root`; with `weights`, also what that teacher answers otherwise.

    Raises:
        DukdError: the cache cannot be checked, or not against this teacher.
    """
    found = manifest.read_despite_damage(place_at(root))
    asked = None
    if weights is not None and found:  # looked at before the cache's bytes are, which may take hours
        from dukd_cache.check.known_teacher import teacher_of  # waits for torch: checking files does not need it

        asked = teacher_of(root, found, weights, device)
    total = sum(shard.records for shard in found.shards) if found else 0
    with progress("checking", total, "records") as advance:
        problems = verify(root, on_records=advance)
    if weights is not None:
        from dukd_cache.check.ask_again import ask_again

        cache = Cache(root)
        assert asked is not None  # the manifest could be read: the cache is open
        sample = min(sample, sum(map(cache.count, cache.views)))
        with progress("asking the teacher again", sample, "records") as advance:
            problems += ask_again(cache, *asked, sample, on_records=advance)
    return problems
