"""What answers cost beyond one call of the teacher a record, a line each."""

from collections.abc import Iterator

from dukd_cache.format.manifest import Header


def costs(header: Header) -> Iterator[str]:
    """Of the cache that `header` describes."""
    for calls in sorted({info.self_ensemble for info in header.answers.values()} - {1}):
        yield f"self_ensemble={calls}: the teacher is called {calls} times a record"
