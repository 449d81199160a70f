"""ECO: pairs that the teacher made, then more and more of the real ones; against NumPy, record by record."""

from typing import Any

import numpy as np
import pytest
import torch
from tests.train.conftest import OF_VIEW, resident
from tests.train.data.test_batches import PLAIN
from torch import Tensor

from dukd_cache.format.reader import Cache
from dukd_cache.pictures.bicubic import downscale
from dukd_cache.pictures.levels import levels
from dukd_train.data.batches import Batches
from dukd_train.data.mixing import mixed
from dukd_train.data.order import Order
from dukd_train.data.rows import Batch, StreamedRows
from dukd_train.settings import Augment, Eco

CPU = torch.device("cpu")


def batches(cache: Cache, eco: Eco, augment: Augment = PLAIN, rows: Any = None, **of_order: Any) -> Batches:
    rows = rows or {view: resident(cache, view, targets) for view, targets in OF_VIEW.items()}
    return Batches(rows, Order(cache.manifest, 4, **({"patch": None, "seed": 3} | of_order)), augment, CPU, eco=eco)


def pictures(images_NCHW: Tensor) -> list[np.ndarray]:
    return [*images_NCHW.permute(0, 2, 3, 1).numpy()]


@pytest.mark.parametrize(("step", "part"), [(0, 0.0), (2, 0.2), (9, 0.9)])
def test_inputs_and_truths_are_mixed_with_what_the_teacher_says(cache: Cache, step: int, part: float) -> None:
    plain, found = batches(cache, Eco()).at(step), batches(cache, Eco(steps=10)).at(step)
    for view in ("zoom_in", "zoom_out"):
        assert all(torch.equal(found[view][name], plain[view][name]) for name in plain[view])
    base: Batch = plain["base"]
    assert torch.equal(found["base"]["teacher"], base["teacher"])
    for at, (x, y, answer) in enumerate(
        zip(*(pictures(base[name]) for name in ("input", "truth", "teacher")), strict=True)
    ):
        expected = (1 - part) * downscale(np.ascontiguousarray(answer), 2).astype(np.float64) + part * x
        np.testing.assert_allclose(pictures(found["base"]["input"])[at], expected, atol=1e-4)
        truth = ((1 - part) * answer.astype(np.float64) + part * y) / 255
        np.testing.assert_allclose(pictures(found["base"]["truth"])[at], truth, atol=1e-6)


@pytest.mark.parametrize("step", [10, 11, 10**6])
def test_then_the_real_pairs_come_untouched(cache: Cache, step: int) -> None:
    plain = batches(cache, Eco()).at(step)["base"]
    assert mixed(plain, Eco(steps=10), step, 2) is plain


def test_finer_answers_are_not_rounded_first(float16_cache: Cache) -> None:
    plain = batches(float16_cache, Eco()).at(0)["base"]
    found = mixed(plain, Eco(steps=10), 0, 2)
    assert torch.equal(found["truth"], plain["teacher"].float().clamp(0, 1))
    rounded = levels(np.stack(pictures(plain["teacher"]))).round().astype(np.uint8)
    near = np.stack([downscale(each, 2) for each in rounded]).astype(np.float64)
    assert np.abs(np.stack(pictures(found["input"])) - near).max() <= 2


def test_the_mean_of_all_answers_takes_the_place_of_one(cache: Cache) -> None:
    plain = batches(cache, Eco()).at(0)["base"]
    both = plain | {"two": 255 - plain["truth"]}
    found = mixed(both, Eco(steps=1, answer="mean"), 0, 2)
    mean = (plain["teacher"].double() + 255 - plain["truth"].double()) / 510
    torch.testing.assert_close(found["truth"].double(), mean, rtol=0, atol=1e-6)
    one = mixed(plain, Eco(steps=1, answer="mean"), 0, 2)
    assert torch.equal(one["input"], mixed(plain, Eco(steps=1), 0, 2)["input"]), "of one it is that one"


def test_the_part_goes_from_start_to_end(cache: Cache) -> None:
    plain = batches(cache, Eco()).at(0)["base"]
    eco = Eco(start=0.25, end=0.75, steps=4, kind="cosine")
    x, small = plain["input"].double(), mixed(plain, Eco(steps=1), 0, 2)["input"].double()
    for step, part in [(0, 0.25), (2, 0.5), (4, 0.75), (99, 0.75)]:
        expected = small + part * (x - small)
        assert torch.allclose(mixed(plain, eco, step, 2)["input"].double(), expected, atol=1e-4)


def test_streamed_cut_and_shared_batches_are_mixed_alike(cache: Cache) -> None:
    eco, often = Eco(steps=10), Augment()
    streamed = {view: StreamedRows(cache, view, ("input", *targets)) for view, targets in OF_VIEW.items()}
    one = batches(cache, eco, often, patch=8).at(3)["base"]
    other = batches(cache, eco, often, streamed, patch=8).at(3)["base"]
    shares = [batches(cache, eco, often, patch=8, rank=rank, world=2).at(3)["base"] for rank in (0, 1)]
    assert one["input"].shape[-1] == 8
    for name in one:
        assert torch.equal(one[name], other[name])
        assert torch.equal(one[name], torch.cat([share[name] for share in shares]))
