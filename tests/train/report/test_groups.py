"""Which runs belong together, what the group is called, and whom it is compared with."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dukd_cache.settings.model import dump, validated
from dukd_cache.settings.roles import within
from dukd_cache.settings.schema import paths, schema_of
from dukd_train.keeping.run_folder import CONFIG, earlier
from dukd_train.report.finished_runs import Run
from dukd_train.report.groups import apart, baseline, differing_settings, group_runs
from dukd_train.settings import OF_METHOD, Chances, TrainConfig, with_role


def run(name: str, seed: int = 0, method: str = "kd", **changes: Any) -> Run:
    config = validated(TrainConfig, {"cache": "caches/x", "method": method, "seed": seed, **changes})
    return Run(name, Path(name), config, {})


def names(runs: list[Run], **options: Any) -> dict[str, list[str]]:
    return {group.name: [run.name for run in group.runs] for group in group_runs(runs, **options)}


def test_groups_are_of_runs_that_differ_in_their_seed_alone() -> None:
    runs = [run("kd-s2", 2), run("longer", 0, steps=77), run("kd-s0"), run("kd-s1", 1)]
    assert names(runs) == {"kd": ["kd-s0", "kd-s1", "kd-s2"], "longer": ["longer"]}


def test_where_and_how_fast_a_run_was_trained_makes_no_group() -> None:
    runs = [run("kd-s0"), run("kd-s1", 1, device="cpu", data={"workers": 1}, logging={"tensorboard": True})]
    assert names(runs) == {"kd": ["kd-s0", "kd-s1"]}
    assert [*names([run("kd-s0"), run("kd-s1", 1, cache="y")])] == ["kd-s0", "kd-s1"]


def test_a_cache_that_was_built_anew_or_settings_that_changed_on_the_way_make_a_group(tmp_path: Path) -> None:
    def changed(name: str, seed: int, *comments: str) -> Run:
        one = run(name, seed)
        text = "".join(f"# until step {comment}\n" for comment in comments)
        (tmp_path / CONFIG).write_text(text + dump(one.config))
        return replace(one, earlier=earlier(tmp_path, one.config))

    rebuilt = replace(run("rebuilt", 1), facts={"cache_digest": "ab"})
    free = changed("free", 3, "9: log_every = 7", "9: steps = 5", "0: optimizer.lr = 0.01")
    slowed = [changed(f"slowed-s{seed}", seed, "5: optimizer.lr = 0.01", "5: logging.a b = 1") for seed in (0, 1)]
    found = group_runs([run("kd-s0"), rebuilt, run("kd-s2", 2), free, *slowed])
    assert [[each.name for each in group.runs] for group in found] == [
        ["kd-s0", "kd-s2", "free"], ["rebuilt"], ["slowed-s0", "slowed-s1"],
    ]  # fmt: skip
    place = str(found[0].runs[0].config.cache)
    assert differing_settings(found) == {
        "cache": [place, f"{place} ab", place],
        "optimizer.lr.until step 5": [None, None, "0.01"],
    }


def test_runs_may_start_from_students_of_their_own_seeds() -> None:
    def tuned(name: str, seed: int) -> Run:
        return run(f"tuned,seed={seed}", seed, student={"init": f"/runs/{name},seed={seed}"})

    runs = [tuned("kd", 0), tuned("kd", 1), tuned("dukd", 2)]
    assert names(runs) == {"tuned": ["tuned,seed=0", "tuned,seed=1"], "tuned,seed=2": ["tuned,seed=2"]}


def test_weights_to_start_from_that_were_trained_anew_make_a_group() -> None:
    def tuned(seed: int, fingerprint: str, init: str = "/runs/edsr_x2") -> Run:
        run_ = run(f"tuned-s{seed}", seed, student={"init": init})
        return replace(run_, facts={"init_fingerprint": fingerprint})

    assert names([tuned(0, "a"), tuned(1, "a"), tuned(2, "b")]) == {
        "tuned": ["tuned-s0", "tuned-s1"], "tuned-s2": ["tuned-s2"],
    }  # fmt: skip
    own = [tuned(seed, fingerprint, f"/runs/kd-s{seed}") for seed, fingerprint in enumerate("ab")]
    assert names(own) == {"tuned": ["tuned-s0", "tuned-s1"]}


def test_a_repeated_run_is_no_seed_more() -> None:
    assert names([run("a0"), run("a1", 1), run("again")]) == {"kd": ["a0", "a1"], "again": ["again"]}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("kd-s0", "kd-s1", "kd"),
        ("method=kd,seed=0", "method=kd,seed=1", "method=kd"),
        ("seed=0,blocks=4", "seed=1,blocks=4", "blocks=4"),
        ("kd16_0", "kd16_1", "kd16"),
        ("u/kd/0", "u/kd/1", "u/kd"),
        ("kd seed 0", "kd seed 1", "kd"),
        ("first", "second", "kd"),  # nothing in common: the method
        ("0", "1", "kd"),
    ],
)
def test_a_group_is_called_what_its_runs_share(first: str, second: str, expected: str) -> None:
    assert [*names([run(first), run(second, 1)])] == [expected]


def test_names_of_groups_are_unique() -> None:
    runs = [run("a"), run("b", 1), run("c", steps=7), run("d", 1, steps=7), run("teacher-s0", batch=3)]
    runs.append(run("teacher-s1", 1, batch=3))
    assert [*names(runs, taken=("teacher",))] == ["a", "c", "teacher-s0"]


def test_where_there_is_one_group_its_runs_are_shown() -> None:
    alone = group_runs([run("kd-s0"), run("kd-s1", 1)])
    assert [group.name for group in apart(alone)] == ["kd-s0", "kd-s1"]
    two = group_runs([run("kd-s0"), run("kd-s1", 1), run("dukd", method="dukd")])
    assert apart(two) == two


def test_a_baseline_differs_in_its_method_alone() -> None:
    small, big = {"student": {"settings": {"blocks": 2}}}, {"student": {"settings": {"blocks": 9}}}
    groups = group_runs(
        [
            run("scratch-small", method="scratch", **small),
            run("scratch-big", method="scratch", **big),
            run("heavy", method="scratch", loss={"rec": 5}, **big),
            run("dukd-big", method="dukd", **big),
            run("nolc", method="dukd", augment={"zoom": {"hflip": 0}}, **big),
            run("nolc-out", method="dukd", augment={"zoom_out": {"hflip": 0}}, **big),
            run("dukd-long", method="dukd", steps=9, **big),
            run("dukd-heavy", method="dukd", loss={"rec": 5}, **big),
            run("other-cache", method="dukd", cache="y", **big),
        ]
    )
    of = {group.name: baseline(group, groups, "scratch") for group in groups}
    found = {name: other.name if other else None for name, other in of.items()}
    assert found == {
        "scratch-small": None,
        "scratch-big": None,
        "heavy": None,
        "dukd-big": "scratch-big",
        "nolc": "scratch-big",
        "nolc-out": "scratch-big",
        "dukd-long": None,
        "dukd-heavy": "heavy",
        "other-cache": "scratch-big",
    }
    assert baseline(groups[3], groups, "kd") is None


def test_each_setting_of_the_zoom_augmentations_may_differ_from_the_baselines() -> None:
    every = [".".join(path) for path in paths(schema_of(TrainConfig)) if path[:1] == ("augment",)]
    of_zoom = [name for name in every if name.startswith("augment.zoom")]
    assert {f"augment.zoom{out}.{name}" for out in ("", "_out") for name in Chances.model_fields} <= {*of_zoom}
    assert [name for name in of_zoom if not within(name, with_role(OF_METHOD))] == []
    assert not within("augment.base.hflip", with_role(OF_METHOD))


def test_a_loss_of_ones_own_has_the_nearest_baseline() -> None:
    detail = {"view": "base", "to": "truth", "by": "fft", "weight": 0.05}
    groups = group_runs(
        [
            run("kd"),
            run("kd-detail", loss={"detail": detail}),
            run("dukd-detail", method="dukd", loss={"detail": detail}),
            run("dukd-mse", method="dukd", loss={"rec": {"by": "mse"}}),
        ]
    )
    found = [baseline(group, groups, "kd") for group in groups[2:]]
    assert [other.name for other in found if other] == ["kd-detail", "kd"]
    assert differing_settings([groups[0], groups[3]]) == {"method": ["kd", "dukd"], "loss.rec.by": ["l1", "mse"]}


def test_settings_that_differ() -> None:
    groups = group_runs(
        [
            run("a", student={"settings": {"blocks": 2}}),
            run("b", 1, student={"settings": {"blocks": 3, "channels": 8}}, optimizer={"lr": 1e-3}),
        ]
    )
    assert differing_settings(groups) == {
        "student.settings.blocks": [2, 3],
        "optimizer.lr": [1e-4, 1e-3],
        "student.settings.channels": [None, 8],
    }
