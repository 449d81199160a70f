"""What answers cost beyond one call of the teacher a record, and what becomes of them, a line each."""

from collections.abc import Iterator

from dukd_cache.format.header import Header


def costs(header: Header) -> Iterator[str]:
    """Of the cache that `header` describes."""
    for file in dict.fromkeys(info.file for info in header.answers.values() if info.smaller > 1):
        yield f"{file} is of scale {2 * header.scale}: its answers are made half as large by the benchmarks' bicubic"
    who = "the teacher" if len(header.answers) == 1 else "each teacher"
    for calls in sorted({info.self_ensemble for info in header.answers.values()} - {1}):
        yield f"self_ensemble={calls}: {who} is called {calls} times a record"
    for context in sorted({info.context for info in header.answers.values()} - {0}):
        sides = {view.name: (view.input_side + 2 * context, view.input_side) for view in header.views}
        seen, kept = (sum(header.total(view) * sides[view.name][at] ** 2 for view in header.views) for at in (0, 1))
        said = ", ".join(f"{large}×{large} pixels for {side}×{side} of {name}" for name, (large, side) in sides.items())
        yield f"context={context}: {who} sees {said}: {seen / kept:.1f} times as many"
