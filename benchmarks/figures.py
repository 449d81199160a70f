"""A measured figure beside its goal; the table of all."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Facts = dict[str, Any]


@dataclass(frozen=True)
class Goal:
    """A bound on a figure."""

    at_most: float | None = None
    at_least: float | None = None

    def met(self, value: float) -> bool:
        """Whether `value` keeps to it."""
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)

    def __str__(self) -> str:
        return f"≤ {self.at_most:g}" if self.at_most is not None else f"≥ {self.at_least:g}"


@dataclass(frozen=True)
class Figure:
    """One number that was measured."""

    name: str
    case: str
    """Of what: teacher, sizes, threads."""
    value: float
    unit: str = ""
    """Nothing for a ratio."""
    goal: Goal | None = None
    """None: it is reported, not judged."""
    facts: Facts = field(default_factory=dict)
    """What the value was computed from, with units in the names."""

    def as_json(self) -> Facts:
        """For a file."""
        goal = None if self.goal is None else {"goal": str(self.goal), "met": self.goal.met(self.value)}
        return {"name": self.name, "case": self.case, "value": self.value, "unit": self.unit, "judged": goal} | {
            "facts": self.facts
        }


def table(figures: Iterable[Figure]) -> str:
    """Markdown."""
    lines = ["| figure | case | measured | goal | |", "|---|---|---|---|---|"]
    for figure in figures:
        number = f"{figure.value:.3g}" if figure.value < 1000 else f"{figure.value:.0f}"
        measured = f"{number} {figure.unit}".strip()
        goal = "" if figure.goal is None else str(figure.goal)
        verdict = "" if figure.goal is None else "met" if figure.goal.met(figure.value) else "**missed**"
        lines.append(f"| {figure.name} | {figure.case} | {measured} | {goal} | {verdict} |")
    return "\n".join(lines)
