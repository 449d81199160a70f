"""What people are told once, on stderr, beside what a command prints: a promise that cannot be kept here."""

from dukd_cache.progress import say, speaks

_TOLD: set[str] = set()


def tell_once(what: str, line: str) -> None:
    """Print `line`, unless this process told of `what` already."""
    if what not in _TOLD and speaks():
        say(f"note: {line}")
    _TOLD.add(what)
