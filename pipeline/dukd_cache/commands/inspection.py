"""What is in a cache, for people and for programs."""

from pathlib import Path
from typing import Any

from dukd_cache.check.sheet import contact_sheet
from dukd_cache.format.manifest import ImagesInfo, Manifest
from dukd_cache.format.reader import Cache
from dukd_cache.system.files import finished_file

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
    return f"{listed} records in {len(manifest.shards)} shards, {megabytes:.1f} MB{left_out}"


def table(cache: Cache) -> str:
    """The same for people."""
    found = cache.manifest
    images, how = found.images, found.encoding
    dtypes = ", ".join(dict.fromkeys(found.dtype_of(name) for name in found.answers))
    lines = [
        f"cache    {cache.root}  (format {found.version}, digest {cache.digest[:16]})",
        *(
            f"{name:8} {info.architecture} from {info.file}, {info.precision}, fingerprint {info.fingerprint[:16]}"
            for name, info in found.answers.items()
        ),
        *(() if found.answers else ("teacher  none: pairs to train from scratch",)),
        f"images   {images.count}, LR {found.degradation}, scale {found.scale}, seed {found.seed}",
        *_skipped(images),
        f"stored   {how.store}, {how.codec}" + (f", answers {dtypes}" if dtypes else ""),
        "",
        f"{'view':10}{'records':>9}{'shards':>8}{'MB':>10}{'bytes/record':>14}  {'input':9}{'output'}",
    ]
    for view, row in facts(cache)["views"].items():
        lines.append(
            f"{view:10}{row['records']:>9}{row['shards']:>8}{row['bytes'] / 1e6:>10.1f}"
            f"{row['bytes'] // row['records']:>14}  {row['input']}×{row['input']:<6}{row['output']}×{row['output']}"
        )
    return "\n".join(lines)


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
