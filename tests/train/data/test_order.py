"""Which records a step reads: every record once an epoch, in orders of their own; how large training patches are."""

import numpy as np
import pytest
from tests.cache.samples import crop_spec, header_of

from dukd_cache.format.header import Header, ImagesInfo
from dukd_cache.plan.views import VIEWS
from dukd_cache.system.errors import SettingError
from dukd_train.data.order import Order, positions, step_seed


def cache_of(patch: int, zoom_out_patch: int) -> Header:
    images = ImagesInfo(count=1, sha256="0", name_bytes=1)
    return header_of(crop_spec(4, patch, zoom_out_patch), images, {}, dict.fromkeys(VIEWS, 1))


CACHE = cache_of(48, 12)
SEEDS = (0, 1, 2, 2**62, 2**63 - 1)


@pytest.mark.parametrize(("batch", "count"), [(5, 12), (12, 12), (1, 3), (16, 5), (7, 1)])
def test_each_epoch_reads_every_record_once(batch: int, count: int) -> None:
    epochs = 4
    steps = -(-epochs * count // batch)
    found = np.concatenate([positions(0, 0, step, batch, count) for step in range(steps)])
    by_epoch = found[: epochs * count].reshape(epochs, count)
    assert np.array_equal(np.sort(by_epoch), np.tile(np.arange(count), (epochs, 1)))
    if count >= 12:
        assert len({epoch.tobytes() for epoch in by_epoch}) == epochs


def test_orders_differ_by_seed_and_view() -> None:
    orders = [positions(seed, view.stream, 0, 50, 50).tobytes() for seed in SEEDS for view in VIEWS.values()]
    assert len(set(orders)) == 15


@pytest.mark.parametrize(
    ("cached", "zoomed_out", "patch", "side"),
    [(48, 12, 48, 12), (48, 12, 32, 8), (48, 16, 32, 10), (50, 12, 25, 6), (48, 48, 32, 32), (48, 12, None, 12)],
)
def test_sides_of_zoom_out(cached: int, zoomed_out: int, patch: int | None, side: int) -> None:
    assert Order(cache_of(cached, zoomed_out), 1, patch, 0).side("zoom_out") == side


def test_a_patch_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(SettingError, match=r"^patch 3: leaves nothing of the inputs of zoom_out, take at least 4$"):
        Order(CACHE, 4, 3, 0).side("zoom_out")


def test_a_batch_that_cannot_be_shared_evenly_is_refused() -> None:
    with pytest.raises(SettingError, match=r"^batch 5: cannot be shared evenly among 2 processes$"):
        Order(CACHE, 5, None, 0, world=2)


def test_the_students_own_seed() -> None:
    seeds = {step_seed(seed, step) for seed in (0, 1, 2**63 - 1) for step in range(50)}
    assert len(seeds) == 150
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert step_seed(1, 2) == step_seed(1, 2)
