"""(seed, step) → batch: a pure function, every record once an epoch, inputs and answers in step.

Shapes: N records, p input side, q = s·p output side, C = 3.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.train.conftest import OF_VIEW, resident
from torch import Tensor

from dukd_cache.format.reader import Cache
from dukd_cache.pictures.bicubic import downscale
from dukd_cache.plan.views import VIEWS
from dukd_train.data.batches import Batches
from dukd_train.data.order import Order, positions
from dukd_train.data.rows import Batch, ResidentRows, StreamedRows
from dukd_train.settings import Augment

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
NEVER = {"hflip": 0.0, "vflip": 0.0, "transpose": 0.0, "invert": 0.0}
PLAIN = Augment.model_validate({"base": NEVER, "zoom": NEVER})


def make(cache: Cache, rows: Any = None, augment: Augment = PLAIN, workers: int = 0, **changes: Any) -> Batches:
    """Batches of 5 of all views, neither cropped nor augmented, unless told otherwise."""
    rows = rows or {view: resident(cache, view, targets) for view, targets in OF_VIEW.items()}
    order = Order(cache.manifest, batch=5, patch=None, seed=0)
    return Batches(rows, replace(order, **changes), augment, CPU, workers)


def same(one: dict[str, Batch], other: dict[str, Batch]) -> bool:
    return all(
        torch.equal(one[view]["input"], other[view]["input"])
        and all(torch.equal(one[view][name], other[view][name]) for name in OF_VIEW[view])
        for view in VIEWS
    )


def pictures(images_NCHH: Tensor) -> list[np.ndarray]:
    return list(images_NCHH.permute(0, 2, 3, 1).numpy())


def test_shapes(cache: Cache) -> None:
    batch = make(cache).at(0)
    assert {view: tuple(part["input"].shape) for view, part in batch.items()} == {
        "base": (5, 3, 16, 16),
        "zoom_in": (5, 3, 16, 16),
        "zoom_out": (5, 3, 8, 8),
    }
    for part in batch.values():
        for target in (array for name, array in part.items() if name != "input"):
            assert target.shape[-1] == 2 * part["input"].shape[-1]
            assert target.dtype == torch.uint8


def test_a_batch_depends_on_seed_and_step_only(cache: Cache) -> None:
    def everything(seed: int) -> Batches:
        return make(cache, patch=6, augment=Augment(), seed=seed)

    in_order = [everything(3).at(step) for step in range(8)]
    batches = everything(3)
    for step in (7, 0, 3, 3, 1, 6, 2, 5, 4):
        assert same(batches.at(step), in_order[step])
    assert not any(same(in_order[step], in_order[other]) for step in range(8) for other in range(step))
    assert not any(same(everything(4).at(step), in_order[step]) for step in range(8))


def test_batches_hold_the_records_of_their_positions(cache: Cache) -> None:
    batches = make(cache)
    for step in range(4):
        for view, part in batches.at(step).items():
            for row, index in enumerate(positions(0, VIEWS[view].stream, step, 5, 12)):
                record = cache.read(view, int(index))
                for name, array in part.items():
                    assert np.array_equal(pictures(array)[row], record[name])


def test_crops_are_aligned(cache: Cache) -> None:
    """The truth of a crop, made smaller, is the crop's input, but for what its border cannot know."""
    seen = set()
    for step in range(4):
        batch = make(cache, patch=9).at(step)["base"]
        for lr, hr in zip(pictures(batch["input"]), pictures(batch["truth"]), strict=True):
            assert hr.shape == (18, 18, 3)
            inner = slice(2, -2)
            assert np.array_equal(downscale(hr, 2)[inner, inner], lr[inner, inner])
            seen.add(lr.tobytes())
    assert len(seen) > 15  # cut at different corners


def test_crops_reach_every_corner(cache: Cache) -> None:
    """Of crops of 15 out of 16 pixels there are 4: each is drawn, from teacher's answers and truth alike."""
    batches = make(cache, patch=15, batch=12)
    corners = set()
    for step in range(4):
        batch = batches.at(step)["base"]
        for row, index in enumerate(positions(0, 0, step, 12, 12)):
            record = cache.read("base", int(index))
            (corner,) = [
                (y, x)
                for y in range(2)
                for x in range(2)
                if np.array_equal(record.input[y : y + 15, x : x + 15], pictures(batch["input"])[row])
            ]
            y, x = 2 * corner[0], 2 * corner[1]
            assert np.array_equal(record["teacher"][y : y + 30, x : x + 30], pictures(batch["teacher"])[row])
            corners.add(corner)
    assert len(corners) == 4


@pytest.mark.parametrize(("patch", "sides"), [(15, (15, 7)), (10, (10, 5)), (2, (2, 1))])
def test_a_smaller_patch_takes_the_same_part_of_every_view(cache: Cache, patch: int, sides: tuple[int, int]) -> None:
    """zoom_out's input is patch // s, as if it had been made from the LR side of the training patch."""
    batch = make(cache, patch=patch).at(0)
    found = {view: (part["input"].shape[-1], part["teacher"].shape[-1]) for view, part in batch.items()}
    whole, zoomed_out = ((side, 2 * side) for side in sides)
    assert found == {"base": whole, "zoom_in": whole, "zoom_out": zoomed_out}


def test_inputs_and_targets_are_augmented_alike(cache: Cache) -> None:
    """Downscaling follows flips, transposes and inversion to within its rounding."""
    often = {"hflip": 0.5, "vflip": 0.5, "transpose": 0.5, "invert": 0.5}
    augment = Augment.model_validate({"base": often, "zoom": often})
    unlike = 0
    for step in range(4):
        batch = make(cache, augment=augment, patch=12).at(step)
        plain = make(cache, patch=12).at(step)
        for view in ("base", "zoom_out"):
            pairs = zip(pictures(batch[view]["input"]), pictures(batch[view]["truth"]), strict=True)
            for row, (lr, hr) in enumerate(pairs):
                inner = slice(2, -2)
                difference = downscale(hr, 2)[inner, inner].astype(int) - lr[inner, inner]
                assert np.abs(difference).max() <= 2
                unlike += not np.array_equal(lr, pictures(plain[view]["input"])[row])
    assert unlike > 25  # of 40, 15 in 16 are changed


def test_a_record_is_cut_and_augmented_anew_each_time(cache: Cache) -> None:
    whole = resident(cache, "base", ("truth",))
    one = ResidentRows({name: array[:1] for name, array in whole.arrays.items()})
    for changes, possible in ((("augment", Augment()), 8), (("patch", 14), 9)):
        batches = make(cache, rows={"base": one}, batch=1, **dict([changes]))
        seen = {batches.at(step)["base"]["input"].numpy().tobytes() for step in range(30)}
        assert possible // 2 < len(seen) <= possible


def test_chances_go_to_their_views(cache: Cache) -> None:
    always = NEVER | {"invert": 1.0}
    plain = make(cache).at(0)
    for part, inverted in (("base", {"base"}), ("zoom", {"zoom_in", "zoom_out"}), ("zoom_out", {"zoom_out"})):
        batch = make(cache, augment=Augment.model_validate({"base": NEVER, "zoom": NEVER, part: always})).at(0)
        for view in VIEWS:
            expected = 255 - plain[view]["input"] if view in inverted else plain[view]["input"]
            assert torch.equal(batch[view]["input"], expected)


def test_answers_in_float16(float16_cache: Cache, cache: Cache) -> None:
    fine = make(float16_cache, patch=8, augment=Augment()).at(2)
    coarse = make(cache, patch=8, augment=Augment()).at(2)
    for view in VIEWS:
        answer = fine[view]["teacher"]
        assert answer.dtype == torch.float16
        assert torch.equal(fine[view]["input"], coarse[view]["input"])
        levels = coarse[view]["teacher"].float() / 255
        torch.testing.assert_close(answer.float(), levels, rtol=0, atol=0.5 / 255 + 1e-3)
        assert not torch.equal(answer.float(), levels)
    assert fine["base"]["truth"].dtype == torch.uint8


def test_a_view_that_is_left_out_changes_no_other(cache: Cache) -> None:
    whole = make(cache, patch=6, augment=Augment())
    alone = make(cache, patch=6, augment=Augment(), rows={"zoom_in": whole.rows["zoom_in"]})
    for step in range(3):
        assert torch.equal(whole.at(step)["zoom_in"]["input"], alone.at(step)["zoom_in"]["input"])


@pytest.mark.parametrize("world", [1, 2, 4])
def test_shares_of_processes_are_the_batch_of_one(cache: Cache, world: int) -> None:
    alone = make(cache, batch=8, patch=6, augment=Augment())
    for step in (0, 1, 5):
        shares = [replace(alone, order=replace(alone.order, rank=rank, world=world)).at(step) for rank in range(world)]
        for view, whole in alone.at(step).items():
            assert {len(share[view]["input"]) for share in shares} == {8 // world}
            for name, array in whole.items():
                assert torch.equal(torch.cat([share[view][name] for share in shares]), array)


@pytest.mark.parametrize("patch", [None, 9])
def test_streamed_and_resident_batches_are_the_same(cache: Cache, float16_cache: Cache, patch: int | None) -> None:
    for each in (cache, float16_cache):
        streamed = {view: StreamedRows(each, view, ("input", *targets)) for view, targets in OF_VIEW.items()}
        one, other = (make(each, rows=rows, patch=patch, augment=Augment(), seed=5) for rows in (None, streamed))
        assert all(same(one.at(step), other.at(step)) for step in range(4))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_steps_ahead_are_the_steps_one_by_one(cache: Cache, workers: int) -> None:
    streamed = {view: StreamedRows(cache, view, ("input", *targets)) for view, targets in OF_VIEW.items()}
    alone = make(cache, patch=9, augment=Augment())
    for rows in (streamed, alone.rows):
        batches = replace(alone, rows=rows, workers=workers)
        found = list(batches.ahead(3, 12))
        assert [step for step, _ in found] == list(range(3, 12))
        assert all(same(batch, alone.at(step)) for step, batch in found)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_that_is_late_gets_the_same_batches(cache: Cache) -> None:
    """They are made while it is busy, from memory that is used again before it has read it."""
    wanted = make(cache, augment=Augment())
    rows = {
        view: ResidentRows({name: array.cuda() for name, array in each.arrays.items()})
        for view, each in wanted.rows.items()
        if isinstance(each, ResidentRows)
    }
    late = replace(wanted, rows=rows, device=CUDA)
    found = []
    for step, batch in late.ahead(0, 40):
        torch.cuda._sleep(20_000_000)  # cycles: a hundredth of a second
        found.append((step, batch))
    for step, batch in found:
        on_cpu = {view: {name: array.cpu() for name, array in part.items()} for view, part in batch.items()}
        assert same(on_cpu, wanted.at(step)), step
