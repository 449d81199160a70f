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
from dukd_train.data.sampling import kept_of, left
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
    for view in cache.views:
        numbers = cache.columns(view)["bicubic_psnr"]
        kept = kept_of(cache, view, Sampling(by="bicubic_psnr", drop="highest", share=0.5))
        assert kept.indices.tolist() == sorted(np.argsort(numbers, kind="stable")[:6].tolist())
    assert len(kept_of(cache, "zoom_in", Sampling(by="answer_psnr", drop="highest", share=0.5))) == 12


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


def test_a_run_reads_what_is_kept_and_goes_on_exactly(
    columns_folder: Path, settings_of: Callable[..., TrainConfig], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sampling = {"by": "gradient_energy", "drop": "lowest", "share": 0.5}
    asked = settings_of(cache=columns_folder, sampling=sampling, steps=5, checkpoint_every=2)
    straight, stopped, other = (tmp_path / name for name in ("straight", "stopped", "all"))
    run(asked, straight)
    assert "records   6 base, 6 zoom_in, 6 zoom_out" in capfd.readouterr().err
    with pytest.MonkeyPatch.context() as patch:
        in_step(4, interrupt, patch)
        with pytest.raises(KeyboardInterrupt):
            run(asked, stopped)
    run(asked, stopped)
    run(asked.model_copy(update={"sampling": Sampling()}), other)
    one, two, three = (load_file(out / "student.safetensors") for out in (straight, stopped, other))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], three[name]) for name in one)


def test_what_cannot_be_is_one_line(columns_folder: Path, cache: Cache) -> None:
    sampling = Sampling(by="bicubic", drop="lowest", share=0.5)
    with pytest.raises(SettingError) as caught:
        kept_of(Cache(columns_folder), "base", sampling)
    assert str(caught.value) == (
        f"sampling.by: {columns_folder}: unknown column 'bicubic': did you mean 'bicubic_psnr'? "
        "(valid: answer_psnr, bicubic_psnr, disagreement, gradient_energy)"
    )
    with pytest.raises(SettingError, match=r"^sampling.share 1: leaves nothing of base, take less$"):
        kept_of(Cache(columns_folder), "base", Sampling(share=1))
    with pytest.raises(SettingError) as caught:
        kept_of(cache, "base", sampling)
    assert str(caught.value) == (
        f"sampling.by: {cache.root} has no columns; build it again with `columns=[bicubic]`, which asks no teacher"
    )
