"""What is said of scores in words, and when nothing may be said."""

from pathlib import Path

import pytest

from dukd_cache.settings.model import validated
from dukd_train.report.finished_runs import Run
from dukd_train.report.groups import Group
from dukd_train.report.headlines import distinguishable, gap_shares, headline, in_short
from dukd_train.report.spreads import Spread
from dukd_train.report.standings import Standing
from dukd_train.report.tables import Contender
from dukd_train.settings import TrainConfig


def standing(name: str, *scores: float, seeds: tuple[int, ...] = (0, 1, 2), over: Standing | None = None) -> Standing:
    """A group with a run for each of the first scores; `over`: the scratch group that it is held against."""
    runs = tuple(
        Run(f"{name}-s{seed}", Path(), validated(TrainConfig, {"cache": "c", "method": "kd", "seed": seed}), {})
        for seed, _ in zip(seeds, scores, strict=False)
    )
    gains = {}
    if over:
        pairs = zip(scores, over.scores["A"]["psnr_y"].values, strict=True)
        gains = {"scratch": {"A": {"psnr_y": Spread(tuple(ours - theirs for ours, theirs in pairs))}}}
    return Standing(Group(name, runs), {"A": {"psnr_y": Spread(scores)}}, gains)


def other(name: str, psnr: float, **costs: float) -> Contender:
    return Contender(name, name, {"A": {"psnr_y": psnr}}, **costs)


BICUBIC, TEACHER = other("bicubic", 28.0), other("teacher", 32.0, parameters=1000, milliseconds=900.0)


def test_the_best_is_named_with_what_is_known_of_its_lead() -> None:
    best, level, behind = standing("a", 30.0, 30.2, 30.1), standing("b", 30.1, 30.0, 30.1), standing("c", 29, 29.1, 29)
    references = [BICUBIC]
    assert headline([best, level, behind], references, "A") == (
        "a is best with 30.10 ± 0.10 dB, but not distinguishable from b (n = 3)."
    )
    assert headline([best, behind], references, "A") == (
        "a is best with 30.10 ± 0.10 dB, by more than seeds differ by chance (n = 3)."
    )
    assert headline([standing("a", 30.0), standing("b", 29.0)], references, "A") == (
        "a is best with 30.00 dB, 1 seed: no spread known."
    )
    assert "but not all others have two seeds or more" in headline([best, standing("b", 29.0)], references, "A")
    assert headline([standing("a", 30.0)], references, "A") == "a reaches 30.00 dB (1 seed: no spread known)."
    twins = [standing("a", 30.0), standing("b", 30.0)]
    assert headline(twins, references, "A").startswith("a and b are equal at 30.00 dB")


def test_below_bicubic_is_said_and_no_share_is_told() -> None:
    found = headline([standing("a", 27.5, 27.5, 27.5)], [BICUBIC, TEACHER], "A")
    assert found == (
        "a reaches 27.50 ± 0.00 dB (n = 3); below bicubic by 0.50 dB: enlarging without a network is better."
    )


def test_the_share_of_the_gap_is_from_bicubic_and_from_scratch() -> None:
    scratch = standing("scratch", 29.0, 29.0, 29.0)
    best = standing("a", 30.0, 30.0, 30.0, over=scratch)
    assert gap_shares(best, [BICUBIC, TEACHER], "A") == {"bicubic": "50 %", "scratch": "33 %"}
    assert headline([scratch, best], [BICUBIC, TEACHER], "A").endswith(
        "+1.000 ± 0.000 dB over scratch; 50 % of the gap from bicubic and 33 % of the gap from scratch to the teacher "
        "is closed."
    )
    assert gap_shares(best, [BICUBIC], "A") == {}
    assert gap_shares(best, [BICUBIC, other("teacher", 28.05)], "A") == {}


@pytest.mark.parametrize(
    ("ours", "theirs", "seeds", "expected"),
    [
        ((30.0, 31.0, 32.0), (29.9, 30.9, 31.91), (0, 1, 2), True),  # in pairs: each is 0.1 ahead
        ((30.0, 31.0, 32.0), (29.9, 30.9, 31.91), (5, 6, 7), False),  # no pairs: seeds differ by much more
        ((30.0, 30.1, 30.0), (29.0, 29.1, 29.1), (5, 6, 7), True),
        ((30.0, 30.1), (29.99, 30.05), (0, 1), False),
        ((30.0, 30.0), (30.0, 30.0), (0, 1), False),
        ((30.0,), (29.0, 29.0), (0, 1), None),
        ((30.0, float("nan")), (29.0, 29.0), (0, 1), None),
    ],
)
def test_which_groups_can_be_told_apart(
    ours: tuple[float, ...], theirs: tuple[float, ...], seeds: tuple[int, ...], expected: bool | None
) -> None:
    assert distinguishable(standing("a", *ours), standing("b", *theirs, seeds=seeds), "A") is expected


def test_in_short() -> None:
    best, level = standing("a", 30.0, 30.2), standing("b", 29.9, 30.3)
    runs = [Contender("a-s0", "kd", {}, parameters=100, milliseconds=60.0, competes=True)]
    assert in_short([best, level], [BICUBIC, *runs, TEACHER], ["A"]) == (
        "The student of a comes 53 % of the way from plain interpolation (bicubic) to the teacher; it is 10 times "
        "smaller and 15 times faster than the teacher. The seeds do not tell it from every other training."
    )
    assert in_short([best], [BICUBIC, *runs], ["A"]) == (
        "The student comes 2.1 dB nearer to the truth than plain interpolation (bicubic) does."
    )
    assert in_short([standing("a", 27.0)], [BICUBIC, *runs], ["A"]) == (
        "The student enlarges no better than plain interpolation (bicubic) does."
    )
    assert in_short([best], [BICUBIC, *runs], []) == ""
