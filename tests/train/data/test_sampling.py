"""Records that are left out by a column: which, in what order the others come, and what is refused."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tests.train.interruptions import in_step, interrupt

from dukd_cache.build.columns import COLUMNS
from dukd_cache.format.reader import Cache
from dukd_cache.system.errors import SettingError
from dukd_train.core.run import run
from dukd_train.data.order import Order, positions
from dukd_train.data.sampling import kept_in, left, weights
from dukd_train.data.shuffle import Kept, Windows
from dukd_train.settings import Sampling, TrainConfig

NUMBERS = [30.0, 10.0, math.nan, 20.0, 20.0, 40.0]


@pytest.fixture(scope="module")
def columns_folder(build_cache: Callable[..., Path]) -> Path:
    """Records of all views with all columns."""
    return build_cache(columns=tuple(COLUMNS))


@pytest.mark.parametrize(
    ("drop", "share", "expected"),
    [
        ("lowest", 0, [0, 1, 2, 3, 4, 5]),
        ("lowest", 0.2, [0, 2, 3, 4, 5]),
        ("lowest", 0.39, [0, 2, 3, 4, 5]),
        ("lowest", 0.4, [0, 2, 4, 5]),
        ("highest", 0.2, [0, 1, 2, 3, 4]),
        ("highest", 0.6, [1, 2, 3]),
        ("highest", 0.99, [1, 2]),
    ],
)
def test_which_records_stay(drop: str, share: float, expected: list[int]) -> None:
    sampling = Sampling.model_validate({"by": "x", "drop": drop, "share": share})
    assert left(np.array(NUMBERS), sampling).tolist() == expected


def test_a_view_without_numbers_stays_whole() -> None:
    assert left(np.full(5, math.nan), Sampling(by="x", drop="lowest", share=0.9)).tolist() == [0, 1, 2, 3, 4]


def test_the_share_is_of_every_view(columns_folder: Path) -> None:
    cache = Cache(columns_folder)
    kept = kept_in(cache, cache.views, Sampling(by="bicubic_psnr", drop="highest", share=0.5))
    for view in cache.views:
        numbers = cache.columns(view)["bicubic_psnr"]
        assert kept[view].indices.tolist() == sorted(np.argsort(numbers, kind="stable")[:6].tolist())
    kept = kept_in(cache, ["base", "zoom_in"], Sampling(by="answer_psnr", drop="highest", share=0.5))
    assert (len(kept["base"]), len(kept["zoom_in"])) == (6, 12), "those without numbers stay"


@pytest.mark.parametrize("window", [None, 2])
def test_every_epoch_is_an_order_of_what_is_kept(columns_folder: Path, window: int | None) -> None:
    cache = Cache(columns_folder)
    indices = np.array([0, 3, 4, 7, 9, 10, 11])
    order = Order(cache.manifest, 5, None, 0, window=window, kept={"base": Kept(indices)})
    found = np.concatenate([order.draw("base", step, 12)[0].indices for step in range(7)])
    assert np.array_equal(np.sort(found.reshape(5, 7)), np.tile(indices, (5, 1)))
    assert len({epoch.tobytes() for epoch in found.reshape(5, 7)}) == 5
    shares = [replace(order, batch=4, rank=rank, world=2).draw("base", 3, 12)[0].indices for rank in (0, 1)]
    assert np.array_equal(np.concatenate(shares), replace(order, batch=4).draw("base", 3, 12)[0].indices)
    whole = replace(order, kept={}).draw("zoom_in", 3, 12)[0].indices
    assert np.array_equal(order.draw("zoom_in", 3, 12)[0].indices, whole)


@given(st.sets(st.integers(0, 299), min_size=1), st.integers(1, 40), st.integers(1, 9), st.integers(0, 3))
@settings(deadline=None)
def test_shards_of_which_records_are_left_out_are_read_few_at_a_time(
    chosen: set[int], per_shard: int, shards: int, seed: int
) -> None:
    indices = np.array(sorted(chosen))
    windows = Windows(per_shard, shards, Kept(indices))
    found = indices[positions(seed, 0, 1, len(indices), len(indices), windows)]
    assert np.array_equal(np.sort(found), indices)
    read = [record // per_shard for record in found.tolist()]
    first, last = {shard: read.index(shard) for shard in read}, {shard: place for place, shard in enumerate(read)}
    for place in range(len(read)):
        assert sum(first[shard] <= place <= last[shard] for shard in first) <= shards


WEIGHTS = st.lists(st.floats(0.1, 10), min_size=1, max_size=60)


@given(WEIGHTS, st.integers(1, 9), st.integers(1, 4), st.integers(0, 3))
@settings(deadline=None)
def test_in_an_epoch_a_record_comes_as_often_as_its_weight_says_rounded_up_or_down(
    drawn: list[float], per_shard: int, shards: int, seed: int
) -> None:
    """Whether shards are read one after another or not; batches of any size are of the same epochs."""
    count, share = len(drawn), np.array(drawn) * len(drawn) / sum(drawn)
    kept = Kept(np.arange(count), np.array(drawn))
    for windows in (None, Windows(per_shard, shards, kept)):
        epochs = [positions(seed, 0, epoch, count, count, windows, kept) for epoch in range(4)]
        for found in epochs:
            times = np.bincount(found, minlength=count)
            assert (np.floor(share - 1e-4) <= times).all()
            assert (times <= np.ceil(share + 1e-4)).all()
        ones = [positions(seed, 0, step, 1, count, windows, kept) for step in range(4 * count)]
        assert np.concatenate(ones).tolist() == np.concatenate(epochs).tolist()
    read = [record // per_shard for record in epochs[0].tolist()]
    first, last = {shard: read.index(shard) for shard in read}, {shard: place for place, shard in enumerate(read)}
    for place in range(count):
        assert sum(first[shard] <= place <= last[shard] for shard in first) <= shards


@pytest.mark.parametrize("windows", [None, 2])
def test_over_many_epochs_frequencies_are_the_weights(windows: int | None) -> None:
    drawn = np.random.default_rng(0).uniform(0.2, 5, 40)
    kept, epochs = Kept(np.arange(40), drawn), 3000
    mixed = Windows(7, windows, kept) if windows else None
    found = np.concatenate([positions(5, 1, epoch, 40, 40, mixed, kept) for epoch in range(epochs)])
    share, times = drawn * 40 / drawn.sum(), np.bincount(found, minlength=40) / epochs
    assert np.abs(times - share).max() < 4 * 0.5 / math.sqrt(epochs)


@given(st.integers(1, 80), st.floats(0.01, 100), st.integers(1, 9), st.integers(1, 4), st.integers(0, 3))
@settings(deadline=None)
def test_equal_weights_are_none(count: int, weight: float, per_shard: int, shards: int, seed: int) -> None:
    indices = np.arange(0, 3 * count, 3)
    plain, weighted = Kept(indices), Kept(indices, np.full(count, weight))
    for ours, theirs in ((None, None), (Windows(per_shard, shards, weighted), Windows(per_shard, shards, plain))):
        for step in range(3):
            found = positions(seed, 0, step, 2 * count, count, ours, weighted)
            assert found.tolist() == positions(seed, 0, step, 2 * count, count, theirs, plain).tolist()


@pytest.mark.parametrize("drop", ["lowest", "highest"])
def test_weights_go_by_rank(drop: str) -> None:
    """The records' numbers are 30, 10, none, 20, 20 and 40."""
    sampling = Sampling.model_validate({"by": "x", "drop": drop, "weight": 4})
    found = weights(np.array(NUMBERS), sampling)
    ranks = [3, 0, math.nan, 1.5, 1.5, 4]
    rising = [2.5 if math.isnan(rank) else 1 + 3 * rank / 4 for rank in ranks]
    assert found.tolist() == (rising if drop == "lowest" else [5 - each for each in rising])
    assert len({*weights(np.full(5, 7.0), sampling)}) == 1
    assert weights(np.full(2, math.nan), sampling).tolist() == [2.5, 2.5]
    assert weights(np.array([3.0]), sampling).size == 1


def told_by(asked: TrainConfig, other: Sampling, folder: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """What a run tells, which trains the same student when it is stopped, and another one with `other`."""
    straight, stopped, different = (folder / name for name in ("straight", "stopped", "all"))
    run(asked, straight)
    told = capfd.readouterr().err
    with pytest.MonkeyPatch.context() as patch:
        in_step(4, interrupt, patch)
        with pytest.raises(KeyboardInterrupt):
            run(asked, stopped)
    run(asked, stopped)
    run(asked.model_copy(update={"sampling": other}), different)
    one, two, three = (load_file(out / "student.safetensors") for out in (straight, stopped, different))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], three[name]) for name in one)
    return told


def test_a_weighted_run_goes_on_exactly_and_equal_numbers_change_nothing(
    columns_folder: Path, settings_of: Callable[..., TrainConfig], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = settings_of(cache=columns_folder, sampling={"weight": 5, "share": 0.2}, steps=5, checkpoint_every=2)
    assert "records   10 base, 10 zoom_in, 10 zoom_out" in told_by(asked, Sampling(share=0.2), tmp_path, capfd)
    cache = Cache(columns_folder)
    order = Order(cache.manifest, 5, None, 0, kept={"base": Kept(np.arange(12), np.full(12, 3.0))})
    whole = replace(order, kept={})
    for step in range(5):
        picks = [each.draw("base", step, 12)[0].indices.tolist() for each in (order, whole)]
        assert picks[0] == picks[1]


def test_a_run_reads_what_is_kept_and_goes_on_exactly(
    columns_folder: Path, settings_of: Callable[..., TrainConfig], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sampling = {"by": "gradient_energy", "drop": "lowest", "share": 0.5}
    asked = settings_of(cache=columns_folder, sampling=sampling, steps=5, checkpoint_every=2)
    assert "records   6 base, 6 zoom_in, 6 zoom_out" in told_by(asked, Sampling(), tmp_path, capfd)


def test_what_chooses_nothing_is_refused(
    columns_folder: Path, settings_of: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    """A word too few, or one misspelt: neither is to pass without a line."""
    with pytest.raises(SettingError, match="has no effect without `share` or `weight`"):
        Sampling(by="answer_psnr", drop="lowest")
    assert not Sampling(by="answer_psnr", share=0).chooses, "one of a sweep's"
    asked = settings_of(cache=columns_folder, sampling={"by": "bicubic", "share": 0})
    with pytest.raises(SettingError, match="unknown column 'bicubic': did you mean 'bicubic_psnr'"):
        run(asked, tmp_path / "run")
    with pytest.raises(SettingError) as caught:  # one teacher disagrees with nobody
        kept_in(Cache(columns_folder), ["base", "zoom_in"], Sampling(by="disagreement", share=0.5))
    assert str(caught.value) == (
        f"sampling.by: {columns_folder} has no number in column disagreement of base and zoom_in; choose another column"
    )


def test_what_cannot_be_is_one_line(columns_folder: Path, cache: Cache) -> None:
    sampling = Sampling(by="bicubic", drop="lowest", share=0.5)
    with pytest.raises(SettingError) as caught:
        kept_in(Cache(columns_folder), ["base"], sampling)
    assert str(caught.value) == (
        f"sampling.by: {columns_folder}: unknown column 'bicubic': did you mean 'bicubic_psnr'? "
        "(valid: answer_psnr, bicubic_psnr, disagreement, gradient_energy)"
    )
    with pytest.raises(SettingError, match=r"^sampling.share 1: leaves nothing of base, take less$"):
        kept_in(Cache(columns_folder), ["base"], Sampling(share=1))
    with pytest.raises(SettingError) as caught:
        kept_in(cache, ["base"], sampling)
    assert str(caught.value) == (
        f"sampling.by: {cache.root} has no columns; build it again with `columns=[bicubic]`, which asks no teacher"
    )
