"""Records in memory are those of the cache, laid out as a student wants them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tests.train.conftest import OF_VIEW, resident

from dukd_cache.format.reader import Cache
from dukd_train.data.order import Picks


def test_rows_are_what_the_cache_holds(cache: Cache) -> None:
    for view, targets in OF_VIEW.items():
        rows = resident(cache, view, targets)
        assert len(rows) == cache.count(view) == 12
        assert tuple(rows.arrays) == ("input", *targets)
        for index in range(len(rows)):
            record = cache.read(view, index)
            for name in ("input", *targets):
                assert np.array_equal(rows.arrays[name][index].numpy(), record[name])


def test_only_what_is_asked_for_is_kept(cache: Cache) -> None:
    assert list(resident(cache, "base", ("truth",)).arrays) == ["input", "truth"]


def test_gathered_rows_are_channels_last(cache: Cache) -> None:
    whole = resident(cache, "base", ("truth",))
    corners = np.array([[0, 0], [0, 0], [2, 3]])
    for rows in (
        whole.gather(Picks(np.array([3, 3, 0]), None, 16)),
        whole.gather(Picks(np.array([3, 3, 0]), corners, 9)),
    ):
        for images_NCHH in (rows["input"], rows["truth"]):
            assert images_NCHH.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(rows["input"][0], rows["input"][1])


def test_cache_without_the_asked_target_is_not_read(build_cache: Callable[..., Path]) -> None:
    pairs = Cache(build_cache(weights=None, scale=2, zoom_in=0, zoom_out=0))
    rows = resident(pairs, "base", ("truth",))
    assert rows.arrays["truth"].shape == (12, 32, 32, 3)
