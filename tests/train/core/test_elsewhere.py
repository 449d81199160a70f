"""Training from a cache in an S3 store: the student that a folder gives, and one copy for all runs."""

import shutil
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path

import pytest
from tests.cache.samples import files_of
from tests.object_store import Bucket, Faults, found_at, unreliable

from dukd_cache.system.errors import PlaceError
from dukd_train.core.run import run
from dukd_train.data import residency
from dukd_train.keeping.run_folder import WEIGHTS
from dukd_train.settings import TrainConfig

STREAMED = {"resident": "no", "workers": 2}
DATA = {
    "resident": [{"resident": "memory"}],
    "streamed": [STREAMED, STREAMED | {"shuffle": "shards", "shuffle_window": 1}],
}


@pytest.fixture
def elsewhere(bucket: Bucket, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The small cache in the bucket; copies are kept in a folder of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(residency, "shared_memory", lambda: None)  # where another test may have the same records
    for name, content in files_of(cache_folder).items():
        bucket.put(f"cache/{name}", content)
    return bucket.address("cache")


@pytest.mark.parametrize("data", DATA)
def test_the_student_is_the_same_through_an_unreliable_network(
    settings_of: Callable[..., TrainConfig], elsewhere: str, bucket: Bucket, tmp_path: Path, data: str
) -> None:
    faults = Faults(0.2, 5)
    if data == "streamed":
        forkserver._forkserver._stop()  # type: ignore[attr-defined]  # what starts workers keeps an older environment
    with unreliable(bucket, faults) as shaky, found_at(shaky.endpoint):
        for number, how in enumerate(DATA[data]):
            local = run(settings_of(data=how | {"workers": 0}), tmp_path / f"local{number}")
            shutil.rmtree(tmp_path / "xdg", ignore_errors=True)  # copies of shards
            before = len(faults.met)
            remote = run(settings_of(data=how, cache=elsewhere), tmp_path / f"remote{number}")
            assert len(faults.met) > before
            assert remote["cache_digest"] == local["cache_digest"]
            one, other = (_tensors(tmp_path / f"{name}{number}" / WEIGHTS) for name in ("local", "remote"))
            assert one == other
    if data == "streamed":
        forkserver._forkserver._stop()  # type: ignore[attr-defined]


def test_a_second_run_fetches_no_shard(
    settings_of: Callable[..., TrainConfig], elsewhere: str, bucket: Bucket, tmp_path: Path
) -> None:
    run(settings_of(cache=elsewhere, steps=1), tmp_path / "first")
    copies = files_of(tmp_path / "xdg/dukd/shards")
    assert {Path(name).name for name in copies if name.endswith(".tar")} == {
        name for name in bucket.names("cache") if name.endswith(".tar")
    }
    for name in bucket.names("cache"):
        if name != "manifest.json":
            bucket.delete(f"cache/{name}")
    run(settings_of(cache=elsewhere, steps=1, seed=1), tmp_path / "second")


def test_a_store_that_is_gone_is_one_line_before_the_run_folder_is_made(
    settings_of: Callable[..., TrainConfig], elsewhere: str, tmp_path: Path
) -> None:
    with found_at("http://127.0.0.1:9", AWS_MAX_ATTEMPTS="1"), pytest.raises(PlaceError, match="Could not connect"):
        run(settings_of(cache=elsewhere), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def _tensors(weights: Path) -> dict[str, bytes]:
    """By name; the file's metadata holds times."""
    from safetensors.numpy import load_file

    return {name: tensor.tobytes() for name, tensor in load_file(weights).items()}
