"""What is in a cache, and what is measured of it, for people and for programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dukd_cache.build.trial import ONLY, doubts_of, spoken
from dukd_cache.check import equivariance, hardest, page, quality
from dukd_cache.check.sheet import contact_sheet
from dukd_cache.format.header import ImagesInfo
from dukd_cache.format.manifest import Manifest
from dukd_cache.format.reader import Cache
from dukd_cache.system.errors import SettingError
from dukd_cache.system.files import finished_file
from dukd_cache.system.tables import markdown_table
from dukd_cache.system.terminal import progress

_RECORDS_PICTURED = 6
_SKIPPED_SHOWN = 20


def facts(cache: Cache) -> dict[str, Any]:
    """The manifest's content and what follows from it; JSON-able."""
    found = cache.manifest
    views = {
        view: {
            "records": cache.count(view),
            "shards": sum(shard.view == view for shard in found.shards),
            "bytes": sum(shard.bytes for shard in found.shards if shard.view == view),
            "input": found.view(view).input_side,
            "output": found.view(view).input_side * found.scale,
        }
        for view in cache.views
    }
    return {
        "cache": str(cache.root),
        "digest": cache.digest,
        **found.header.model_dump(mode="json"),
        "views": views,
    }


def summary(manifest: Manifest) -> str:
    """One line: records, shards, megabytes."""
    records = {view: sum(s.records for s in manifest.shards if s.view == view) for view in manifest.view_names}
    megabytes = sum(shard.bytes for shard in manifest.shards) / 1e6
    listed = ", ".join(f"{count} {view}" for view, count in records.items())
    skipped = len(manifest.images.skipped)
    left_out = f"; {skipped} image{'s' * (skipped > 1)} skipped (`inspect` lists them)" if skipped else ""
    shards = f"{len(manifest.shards)} shard{'s' * (len(manifest.shards) > 1)}"
    return f"{listed} records in {shards}, {megabytes:.1f} MB{left_out}"


def table(cache: Cache) -> str:
    """The same for people."""
    found = cache.manifest
    images, how = found.images, found.encoding
    dtypes = ", ".join(dict.fromkeys(found.dtype_of(name) for name in found.answers))
    lines = [
        f"cache    {cache.root}  (format {found.version}, digest {cache.digest[:16]})",
        *(
            f"{name:8} {info.architecture} from {info.file}, {info.how}, fingerprint {info.fingerprint[:16]}"
            for name, info in found.answers.items()
        ),
        *(() if found.answers else ("teacher  none: pairs to train from scratch",)),
        f"images   {images.count}, LR {found.degradation}, scale {found.scale}, seed {found.seed}",
        *_skipped(images),
        f"stored   {how.store}, {how.codec}" + (f", answers {dtypes}" if dtypes else ""),
        "",
    ]
    headings = ("view", "records", "shards", "MB", "bytes/record", "input", "output")
    rows = [
        (
            *(view, row["records"], row["shards"], f"{row['bytes'] / 1e6:.1f}", row["bytes"] // row["records"]),
            *(f"{side}×{side}" for side in (row["input"], row["output"])),
        )
        for view, row in facts(cache)["views"].items()
    ]
    return "\n".join([*lines, markdown_table(headings, rows)]).rstrip()


def _skipped(images: ImagesInfo) -> list[str]:
    """The first of them; `--json` has all."""
    skipped = images.skipped
    if not skipped:
        return []
    shown = [f"         {each.name}: {each.reason}" for each in skipped[:_SKIPPED_SHOWN]]
    more = [f"         … and {len(skipped) - len(shown)} more (--json lists all)"] if len(skipped) > len(shown) else []
    return [f"skipped  {len(skipped)} of {len(skipped) + images.count} images", *shown, *more]


def save_picture(cache: Cache, path: Path) -> None:
    """Write a contact sheet of `cache` as PNG."""
    sheet = contact_sheet(cache, _RECORDS_PICTURED)
    with finished_file(path) as partial, partial.open("wb") as stream:
        sheet.save(stream, "PNG")


def save_page(cache: Cache, numbers: "Measured", path: Path) -> None:
    """Write all of it as one HTML page."""
    text = page.render(cache, facts(cache), numbers.facts, _RECORDS_PICTURED)
    with finished_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")  # names of files


@dataclass(frozen=True)
class Measured:
    """The same numbers twice."""

    facts: dict[str, Any]
    """JSON-able: `quality` by view, `notes`; where there are columns, `numbers` by view; where a teacher was asked,
    `equivariance` by view and element, and which generators can be `trusted`."""
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
        found = quality.measure_quality(cache, wanted, advance)
    notes = list(doubts_of(cache))
    facts: dict[str, Any] = {"quality": quality.to_json(found), "notes": notes}
    if of_columns := hardest.facts(cache):
        facts["numbers"] = of_columns
    of = ", ".join(f"{each.sampled} of {cache.count(view)} {view}" for view, each in found.items())
    how = f"measured on {of} records (--sample); bicubic is the enlarged input"
    tables = ["\n".join([quality.table(found), "", how, *notes])]
    tables += [hardest.table(of_columns)] if of_columns else []
    if asked:
        wanted = sample or equivariance.SAMPLE
        total = sum(min(wanted, cache.count(view)) for view in cache.views) * (1 + len(equivariance.ELEMENTS))
        with progress("asking the teacher", total, "inputs") as advance:
            gaps = equivariance.measure_gaps(cache, asked, wanted, advance)
        names = [name for name, info in cache.manifest.answers.items() if info.fingerprint == asked.info.fingerprint]
        added = {view: _added(found[view], names) for view in gaps}
        known = {view: each for view, each in added.items() if each is not None}
        facts["equivariance"] = equivariance.to_json(gaps)
        facts["trusted"] = {view: equivariance.trusted(gaps[view], each) for view, each in known.items()}
        verdicts = [equivariance.verdict(gaps[view], each, view) for view, each in known.items()]
        if context := next((cache.manifest.answers[name].context for name in names), 0):
            verdicts.append(f"asked about crops alone: the {context} pixels around them are not in the cache")
        who = spoken(names[0], cache.manifest.answers) if names else ONLY
        tables.append("\n".join([equivariance.table(gaps, wanted, who), "", *verdicts]))
    return Measured(facts, tuple(tables))


def _added(found: quality.ViewQuality, answers: Sequence[str]) -> float | None:
    """PSNR between what a student is to learn and bicubic; None where no record tells."""
    pairs = (found.psnr.get(f"{name}-bicubic") for name in (*answers, "truth"))
    return next((each.mean for each in pairs if each), None)
