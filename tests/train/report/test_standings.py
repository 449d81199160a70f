"""Scores over seeds and gains paired by seed, against sums done by hand."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from dukd_cache.settings.model import validated
from dukd_cache.system.errors import SettingError
from dukd_train.report.comparison import Comparison
from dukd_train.report.finished_runs import Run
from dukd_train.report.groups import Group, group_runs
from dukd_train.report.headlines import gap_shares, headline
from dukd_train.report.standings import best_groups, choose_baseline, image_differences, standings
from dukd_train.report.tables import Contender, gains_markdown, images_csv, seeds_markdown
from dukd_train.settings import Augment, TrainConfig

PSNRS = {
    # two images of set A
    "scratch-s0": (30.0, 20.0),
    "scratch-s1": (31.0, 21.0),
    "dukd-s0": (30.5, 19.9),
    "dukd-s1": (31.7, 20.9),
    "dukd-s2": (99.0, 99.0),
    "bicubic": (25.0, 15.0),
}
"""PSNR-Y; SSIM-Y is a hundredth of it."""


def of_method(method: str, seeds: int) -> list[Run]:
    return [
        Run(f"{method}-s{seed}", Path(), validated(TrainConfig, {"cache": "c", "method": method, "seed": seed}), {})
        for seed in range(seeds)
    ]


@pytest.fixture
def groups() -> list[Group]:
    return group_runs([*of_method("scratch", 2), *of_method("dukd", 3)])


@pytest.fixture
def comparison() -> Comparison:
    scores = {
        name: {"A": tuple({"psnr_y": value, "ssim_y": value / 100} for value in values)}
        for name, values in PSNRS.items()
    }
    return Comparison(metrics=("psnr_y", "ssim_y"), images={"A": ("one", "two")}, scores=scores, crops=())


def test_scores_are_over_the_seeds(groups: list[Group], comparison: Comparison) -> None:
    scratch, dukd = standings(groups, comparison)
    assert scratch.scores["A"]["psnr_y"].values == (25.0, 26.0)
    assert scratch.scores["A"]["ssim_y"].mean == pytest.approx(0.255)
    assert len(dukd.scores["A"]["psnr_y"].values) == 3


def test_gains_are_paired_by_seed(groups: list[Group], comparison: Comparison) -> None:
    scratch, dukd = standings(groups, comparison)
    assert scratch.gains == {}
    assert [*dukd.gains] == ["scratch"]  # there is no kd
    assert dukd.gains["scratch"]["A"]["psnr_y"].values == pytest.approx((0.2, 0.3))  # seed 2 has no partner
    assert dukd.pairs == [2]


def test_gains_over_a_baseline_of_another_cache_say_so(groups: list[Group], comparison: Comparison) -> None:
    """It may be of other images: then the gain is not the method's."""
    bicubic = [Contender("bicubic", "bicubic", {"A": {"psnr_y": 20.0, "ssim_y": 0.2}})]
    rebuilt = [replace(run, facts={"cache_digest": "b"}) for run in of_method("dukd", 2)]
    moved = [replace(run, config=run.config.model_copy(update={"cache": "d"})) for run in of_method("dukd", 2)]
    for dukd, digest in ((rebuilt, "a"), (moved, None)):
        scratch = [replace(run, facts={"cache_digest": digest} if digest else {}) for run in of_method("scratch", 2)]
        found = standings(group_runs([*scratch, *dukd]), comparison)
        said = "+0.250 ± 0.071 dB over scratch (scratch, of another cache)"
        assert said in headline(found, bicubic, "A")
        assert gains_markdown(found, ["A"]).endswith(
            "\ndukd over scratch: over scratch, which was trained from another cache.\n"
        )
    same = standings(group_runs([replace(run, facts={"cache_digest": "b"}) for run in (*scratch, *moved)]), comparison)
    for found in (same, standings(groups, comparison)):
        assert found[1].elsewhere == {}
        assert "another cache" not in headline(found, bicubic, "A") + gains_markdown(found, ["A"])


def test_the_share_of_the_gap_from_scratch_is_of_the_seeds_that_both_have(
    groups: list[Group], comparison: Comparison
) -> None:
    """Of seeds 0 and 1 dukd has 25.2 and 26.3, scratch 25 and 26, the teacher 26.5: a quarter of 1 dB."""
    references = [
        Contender(name, name, {"A": {"psnr_y": value, "ssim_y": 0.2}})
        for name, value in (("bicubic", 20.0), ("teacher", 26.5))
    ]
    _, dukd = standings(groups, comparison)
    assert gap_shares(dukd, references, "A")["scratch"] == "25 %"


def test_augmentations_of_the_zoom_views_leave_the_gains(comparison: Comparison) -> None:
    """Those that docs/method.md recommends for the released code."""
    still = {"zoom_out": dict.fromkeys(("hflip", "vflip", "transpose", "invert"), 0)}
    augmented = [
        Run(run.name, run.folder, run.config.model_copy(update={"augment": Augment.model_validate(still)}), {})
        for run in of_method("dukd", 2)
    ]
    _, dukd = standings(group_runs([*of_method("scratch", 2), *augmented]), comparison)
    assert dukd.gains["scratch"]["A"]["psnr_y"].values == pytest.approx((0.2, 0.3))


def test_tables_of_groups(groups: list[Group], comparison: Comparison) -> None:
    found = standings(groups, comparison)
    lines = seeds_markdown(found, ["A"], comparison.metrics).splitlines()
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == [
        "scratch", "scratch", "0, 1", "25.50 ± 0.71", "0.2550 ± 0.0071",
    ]  # fmt: skip
    lines = gains_markdown(found, ["A"]).splitlines()
    assert [cell.strip() for cell in lines[-1].strip("|").split("|")] == ["dukd", "+0.250 ± 0.071"]
    assert gains_markdown(found[:1], ["A"]) == ""


def test_images_are_compared_by_means_over_seeds(groups: list[Group], comparison: Comparison) -> None:
    (only,) = image_differences(groups[:1], "bicubic", comparison)["A"]
    assert (only.group, only.values, only.wins) == ("scratch", (5.5, 5.5), 2)
    pair = [groups[0], Group("dukd", groups[1].runs[:2])]
    (only,) = image_differences(pair, "scratch", comparison)["A"]
    assert only.values == pytest.approx((0.6, -0.1))
    assert only.wins == 1


def test_the_file_of_images_has_everyone(comparison: Comparison) -> None:
    lines = images_csv(comparison).splitlines()
    assert len(lines) == 3
    assert lines[0].split(",")[:4] == ["set", "image", "scratch-s0 psnr_y", "scratch-s0 ssim_y"]
    assert lines[2].split(",")[:4] == ["A", "two", "20.000000", "0.200000"]


def test_which_baseline(groups: list[Group]) -> None:
    assert choose_baseline(None, groups, ["bicubic"]) == "scratch"
    assert choose_baseline(None, groups[1:], ["bicubic"]) == "bicubic"
    assert choose_baseline("dukd", groups, ["bicubic"]) == "dukd"
    assert choose_baseline("dukd-s1", groups, ["bicubic", "dukd-s1"]) == "dukd-s1"
    with pytest.raises(SettingError, match=r"`baseline`: unknown run or group 'dukt': did you mean 'dukd'\?"):
        choose_baseline("dukt", groups, ["bicubic"])


def changed(comparison: Comparison, name: str, *scores: float) -> Comparison:
    """With other PSNRs of one run."""
    of_name = {"A": tuple({"psnr_y": score, "ssim_y": 0.5} for score in scores)}
    return Comparison(comparison.metrics, comparison.images, {**comparison.scores, name: of_name}, ())


def test_an_image_that_anyone_answers_exactly_is_left_out_for_everyone(
    groups: list[Group], comparison: Comparison
) -> None:
    exact = changed(comparison, "scratch-s0", math.inf, 20.0)
    assert exact.left_out == {"A": {"psnr_y": ("one",)}}
    scratch, dukd = standings(groups, exact)
    assert scratch.scores["A"]["psnr_y"].values == (20.0, 21.0)
    assert dukd.scores["A"]["psnr_y"].values == (19.9, 20.9, 99.0)
    assert dukd.gains["scratch"]["A"]["psnr_y"].values == pytest.approx((-0.1, -0.1))
    assert [each.group.name for each in best_groups([scratch, dukd], "A")] == ["dukd"]
    (only,) = image_differences(groups, "scratch", exact)["A"]
    assert math.isnan(only.values[0])
    assert (only.wins, only.ties, only.compared) == (1, 0, 1)


def test_where_nothing_is_left_there_is_neither_mean_nor_best(groups: list[Group], comparison: Comparison) -> None:
    exact = changed(comparison, "bicubic", math.inf, math.inf)
    found = standings(groups, exact)
    assert "–" in seeds_markdown(found, ["A"], exact.metrics)
    assert "inf" not in gains_markdown(found, ["A"])
    assert best_groups(found, "A") == []


def test_ties_are_no_wins(groups: list[Group], comparison: Comparison) -> None:
    pair = [Group("scratch", groups[0].runs[:1]), Group("dukd", groups[1].runs[:1])]
    level = changed(comparison, "dukd-s0", 30.0002, 20.0)
    (only,) = image_differences(pair, "scratch", level)["A"]
    assert (only.wins, only.ties, only.compared) == (0, 2, 2)
    assert [each.group.name for each in best_groups(standings(pair, level), "A")] == ["scratch", "dukd"]
