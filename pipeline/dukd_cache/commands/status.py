"""How far a build is, seen from outside: what is whole, who works, what is missing, and how long that will take."""

import time
from typing import Any

from dukd_cache.build.standing import Standing
from dukd_cache.format.lifecycle import header_of
from dukd_cache.format.manifest import MANIFEST
from dukd_cache.format.workers import WorkerReport, workers_in
from dukd_cache.places import Address
from dukd_cache.places.choice import place_at
from dukd_cache.system.errors import CacheError
from dukd_cache.system.tables import markdown_table
from dukd_cache.system.terminal import duration


def facts(root: Address) -> dict[str, Any]:
    """What `table` says; JSON-able. `seconds_left` is None where nobody works or nothing is known of the pace.

    Raises:
        CacheError: there is no cache, finished or not.
        PlaceError: the address cannot be reached.
    """
    place = place_at(root)
    header = header_of(place)
    if header is None:
        raise CacheError("no cache here, finished or not", root)
    standing, workers = Standing(place, header), workers_in(place)
    done = {view.name: 0 for view in header.views}
    for info in standing.whole.values():
        done[info.view] += info.records
    missing = standing.missing
    left = sum(len(shard.positions) for shard in missing)
    pace = sum(worker.pace for worker in workers if worker.alive)
    return {
        "cache": str(root),
        "finished": place.size(MANIFEST) is not None,
        "shards": len(standing.shards),
        "missing": [standing.name(shard) for shard in missing],
        "views": {view.name: {"records": header.total(view), "done": done[view.name]} for view in header.views},
        "computed": header.computed,
        "workers": [_facts_of(worker) for worker in workers],
        "seconds_left": round(left / pace, 1) if pace and missing else None,
    }


def _facts_of(worker: WorkerReport) -> dict[str, Any]:
    return {
        "name": worker.name,
        "host": worker.host,
        "process": worker.process,
        "state": "at work" if worker.alive else "left" if worker.left else "dead",
        "records": worker.records,
        "records_per_second": round(worker.pace, 3),
        "silent_seconds": round(max(0.0, time.time() - worker.seen), 1),
    }


def table(found: dict[str, Any]) -> str:
    """For people."""
    missing: list[str] = found["missing"]
    whole = found["shards"] - len(missing)
    state = "finished" if found["finished"] else "not finished"
    lines = [
        f"{found['cache']}: {state}, {whole} of {found['shards']} shards whole",
        *(f"{name:12}{view['done']} of {view['records']} records" for name, view in found["views"].items()),
    ]
    if missing:
        named = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        lines.append(f"{'missing':12}{named}")
    if found["computed"]:
        lines.append(f"{'computed on':12}{found['computed']}")
    if found["workers"]:
        headings = ("worker", "host", "process", "state", "records", "per second", "last sign of life")
        rows = [
            (
                *(each["name"], each["host"], each["process"], each["state"], each["records"]),
                *(f"{each['records_per_second']:.2f}", f"{duration(each['silent_seconds'])} ago"),
            )
            for each in found["workers"]
        ]
        lines += ["", markdown_table(headings, rows, left=2)]
    if missing:
        seconds = found["seconds_left"]
        nobody = not any(each["state"] == "at work" for each in found["workers"])
        unknown = "nobody works: give the build's command again" if nobody else "not known yet"
        lines.append(f"{'time left':12}{f'about {duration(seconds)}' if seconds else unknown}")
    return "\n".join(lines)
