"""Numbers of each record, against plain computations; what a view cannot have is NaN, and null in a tar."""

import json
import math
import tarfile
from pathlib import Path

import numpy as np
import pytest
from tests.cache.samples import build_job, everything, photo

from dukd_cache.build.columns import COLUMNS
from dukd_cache.build.reuse import Tally
from dukd_cache.check.verify import verify
from dukd_cache.commands.build import build_cache
from dukd_cache.format.reader import Cache
from dukd_cache.format.record import Record
from dukd_cache.pictures.bicubic import upscale
from dukd_cache.settings.choices import Store


def db(one: np.ndarray, other: np.ndarray) -> float:
    """PSNR, by hand."""
    error = np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2)
    return float(20 * np.log10(255) - 10 * np.log10(error))


def expected(record: Record) -> dict[str, float]:
    """Once more, without a loop that is shared."""
    target = np.asarray(record.get("truth", record["teacher"])).astype(np.float64)
    down, across = target[1:] - target[:-1], target[:, 1:] - target[:, :-1]
    return {
        "answer_psnr": db(record["teacher"], record["truth"]) if "truth" in record else math.nan,
        "disagreement": math.nan,
        "bicubic_psnr": db(upscale(np.asarray(record.input, np.uint8), 2), target),
        "gradient_energy": float((down**2).mean() + (across**2).mean()),
    }


@pytest.mark.parametrize("store", ["webdataset", "zarr"])
def test_they_are_what_plain_computations_give(photos: Path, teacher_file: Path, tmp_path: Path, store: Store) -> None:
    asked = build_job(
        photos, tmp_path / "c", teacher_file, store=store, codec=None, columns=("gradient_energy", *COLUMNS)
    )
    build_cache(*asked)
    assert verify(tmp_path / "c") == []
    cache = Cache(tmp_path / "c")
    assert cache.manifest.columns == dict.fromkeys(sorted(COLUMNS), "float64")
    for view in cache.views:
        found = [expected(record) for record in everything(cache, view)]
        for name in COLUMNS:
            wanted = [each[name] for each in found]
            np.testing.assert_allclose(cache.columns(view)[name], wanted, rtol=0, atol=5.1e-5)
            np.testing.assert_array_equal(cache.table(view)[name], cache.columns(view)[name])
            assert cache.info(view, 0).columns[name] == pytest.approx(wanted[0], abs=5.1e-5, nan_ok=True)
    assert np.isnan(cache.columns("zoom_in")["answer_psnr"]).all()


def test_a_number_that_a_view_cannot_have_is_null_in_a_tar(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    build_cache(*build_job(photos, tmp_path / "c", teacher_file, columns=("answer_psnr",)))
    with tarfile.open(next((tmp_path / "c").glob("zoom_in-*.tar"))) as shard:
        (first, *_) = (member for member in shard if member.name.endswith(".json"))
        content = shard.extractfile(first)
        assert content is not None
        assert json.load(content)["columns"] == {"answer_psnr": None}


def test_a_cache_of_pairs_has_those_of_its_truths(photos: Path, tmp_path: Path) -> None:
    build_cache(*build_job(photos, tmp_path / "c", None, base=2, columns=tuple(COLUMNS)))
    cache = Cache(tmp_path / "c")
    assert np.isnan(cache.columns("base")["answer_psnr"]).all()
    assert (cache.columns("base")["bicubic_psnr"] > 10).all()


def test_of_several_answers_the_mean_counts() -> None:
    truth = photo(8, 8)
    near, far = truth.astype(np.float16) / 255, np.clip(truth.astype(np.int64) + 9, 0, 255).astype(np.uint8)
    arrays = {"input": truth[::2, ::2], "truth": truth, "a": near.astype(np.float16), "b": far}
    mean = (db(np.asarray(near, np.float64) * 255, truth) + db(far, truth)) / 2
    assert COLUMNS["answer_psnr"].of(arrays) == pytest.approx(mean)
    apart = (near.astype(np.float16).astype(np.float64) * 255 - far) / 2
    assert COLUMNS["disagreement"].of(arrays) == pytest.approx(np.sqrt((apart**2).mean()))


@pytest.mark.parametrize(("slope_x", "slope_y", "energy"), [(0, 0, 0), (3, 0, 9), (3, 4, 25)])
def test_gradient_energy_of_a_slope(slope_x: int, slope_y: int, energy: float) -> None:
    y, x = np.mgrid[0:8, 0:8]
    truth = np.repeat((slope_x * x + slope_y * y)[..., None], 3, axis=2).astype(np.uint8)
    assert COLUMNS["gradient_energy"].of({"input": truth[::2, ::2], "truth": truth}) == energy


def test_adding_columns_asks_no_teacher(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    asked = build_job(photos, tmp_path / "c", teacher_file)
    build_cache(*asked)
    tally = Tally()
    build_cache(*asked.but(columns=tuple(COLUMNS)), tally)
    assert (tally.asked, tally.reused > 0) == (0, True)
    build_cache(*asked.but(columns=tuple(COLUMNS), out=tmp_path / "d"))
    assert Cache(tmp_path / "c").digest == Cache(tmp_path / "d").digest
