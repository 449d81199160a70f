"""What `dukd-cache inspect` measures, for people and for programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dukd_cache.build.trial import doubts_of
from dukd_cache.check import equivariance, quality
from dukd_cache.format.reader import Cache
from dukd_cache.system.errors import SettingError
from dukd_cache.system.terminal import progress


@dataclass(frozen=True)
class Measured:
    """The same numbers twice."""

    facts: dict[str, Any]
    """JSON-able: `quality` by view, `notes`, and `equivariance` by view and element where a teacher was asked."""
    tables: tuple[str, ...]


def measured(cache: Cache, sample: int | None, weights: Path | None, device: str) -> Measured:
    """Measure `cache` on `sample` records of each view (None: each measurement's own number; 0: not at all).

    Raises:
        DukdError: the cache is damaged, or `weights` are not its teacher's, or are to be asked about no record.
    """
    if sample == 0:
        if weights:
            raise SettingError("with `teacher`, expected at least 1: the records that it is asked about", "`sample=0`")
        return Measured({}, ())
    asked = equivariance.load_teacher(weights, cache, device) if weights else None
    wanted = sample or quality.SAMPLE
    total = sum(min(wanted, cache.count(view)) for view in cache.views)
    with progress("measuring records", total, "records") as advance:
        found = quality.measure(cache, wanted, advance)
    notes = list(doubts_of(cache))
    facts: dict[str, Any] = {"quality": quality.to_json(found), "notes": notes}
    of = ", ".join(f"{each.sampled} of {cache.count(view)} {view}" for view, each in found.items())
    how = f"measured on {of} records (--sample); bicubic is the enlarged input"
    tables = ["\n".join([quality.table(found), "", how, *notes])]
    if asked:
        wanted = sample or equivariance.SAMPLE
        total = sum(min(wanted, cache.count(view)) for view in cache.views) * (1 + len(equivariance.ELEMENTS))
        with progress("asking the teacher", total, "inputs") as advance:
            gaps = equivariance.measure(cache, asked, wanted, advance)
        facts["equivariance"] = equivariance.to_json(gaps)
        tables.append(equivariance.table(gaps, wanted))
    return Measured(facts, tuple(tables))
