"""Every two settings together, in few tests."""

from collections.abc import Callable
from itertools import combinations, product
from random import Random
from typing import Any

Row = dict[str, Any]
"""A value of each factor; values can be hashed."""


def pairs_of(row: Row) -> set[frozenset[tuple[str, Any]]]:
    return {frozenset(pair) for pair in combinations(row.items(), 2)}


def rows_of(factors: dict[str, list[Any]], possible: Callable[[Row], bool] = lambda _row: True) -> list[Row]:
    """Rows that together hold every possible pair: each the best of some, made around a pair that is missing."""
    names, random = [*factors], Random(0)
    every = [
        dict(zip(two, values, strict=True))
        for two in combinations(names, 2)
        for values in product(*map(factors.get, two))
    ]  # type: ignore[arg-type]
    missing = {frozenset(row.items()): row for row in every if possible(row)}
    rows: list[Row] = []
    while missing:
        first = next(iter(missing.values()))
        tried = ({name: first.get(name, random.choice(factors[name])) for name in names} for _ in range(200))
        best = max(filter(possible, tried), key=lambda row: len(pairs_of(row) & missing.keys()))
        missing = {pair: row for pair, row in missing.items() if pair not in pairs_of(best)}
        rows.append(best)
    return rows
