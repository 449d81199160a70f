"""Caches in an S3 store: the same bytes as in a folder, whatever is asked of them."""

import json
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.cache.samples import Asked, build_job, everything, files_of, same
from tests.cache.test_cli import Command
from tests.cache.test_cli import dukd_cache as dukd_cache  # a fixture
from tests.conftest import PROJECT
from tests.object_store import Bucket
from webdataset.gopen import gopen_schemes

from dukd_cache.build.reuse import Tally
from dukd_cache.check.verify import repair, verify
from dukd_cache.commands import build as job
from dukd_cache.format.codecs import CODECS
from dukd_cache.format.reader import Cache
from dukd_cache.plan.views import VIEWS
from dukd_cache.settings.choices import Store
from dukd_cache.system.errors import CacheError, ShardCorrupt

STORES: tuple[Store, ...] = tuple(CODECS)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.param
    return found


@pytest.fixture
def local(many_shards: dict[Store, Path], store: Store) -> Path:
    """A cache in a folder."""
    return many_shards[store]


@pytest.fixture
def remote(local: Path, bucket: Bucket) -> str:
    """The same one in the bucket, put there by other software."""
    for name, content in files_of(local).items():
        bucket.put(f"cache/{name}", content)
    return bucket.address("cache")


@pytest.fixture
def asked(photos: Path, teacher_file: Path, bucket: Bucket, store: Store) -> Asked:
    address = bucket.address("cache")
    few: dict[str, Any] = {"base": 3, "zoom_in": 2, "zoom_out": 2}
    return build_job(photos, address, teacher_file, store=store, codec=None, **few)  # type: ignore[arg-type]


def test_a_build_puts_the_bytes_that_it_writes_into_a_folder(asked: Asked, bucket: Bucket, tmp_path: Path) -> None:
    job.build_cache(*asked.but(out=tmp_path / "local"))
    job.build_cache(*asked)
    assert bucket.files("cache") == files_of(tmp_path / "local")
    tally = Tally()
    job.build_cache(*asked, tally)
    assert (tally.asked, tally.reused, tally.kept) == (0, 0, 3 * 7)
    assert verify(asked.out) == []


def test_the_reader_finds_the_same_records(local: Path, remote: str) -> None:
    one, other = Cache(local), Cache(remote)
    assert one.digest == other.digest
    for view in VIEWS:
        for here, there in zip(everything(one, view), everything(other, view), strict=True):
            assert here.info == there.info
            assert [*here] == [*there]
            assert all(same(here[name], there[name]) for name in here)


def test_other_readers_find_them_there(local: Path, remote: str, store: Store) -> None:
    here, there = Cache(local), Cache(remote)
    expected = [record["teacher"] for record in everything(here, "base")]
    if store == "zarr":
        assert same(there.zarr()["base/teacher"][:], np.stack(expected))
    else:
        sent = pickle.dumps(there.webdataset("base").decode("rgb8"))
        del gopen_schemes["s3"]  # as in a process to which it is sent
        found = [sample["teacher.webp"] for sample in pickle.loads(sent)]
        assert all(map(same, expected, found))
        assert len(found) == 18
    one, other = (each.dataset("zoom_out")[4] for each in (here, there))
    assert all(torch.equal(one[name], other[name]) for name in ("input", "truth", "teacher"))


def test_a_changed_build_asks_for_what_is_new_only(asked: Asked, bucket: Bucket, tmp_path: Path) -> None:
    job.build_cache(*asked)
    changed, tally = asked.but(base=5, zoom_in=1, shard_size=2), Tally()
    job.build_cache(*changed, tally)
    assert (tally.asked, tally.reused) == (3 * 2, 3 * 6)
    job.build_cache(*changed.but(out=tmp_path / "fresh"))
    assert bucket.files("cache") == files_of(tmp_path / "fresh")


def test_answers_are_reused_from_there_and_from_here(asked: Asked, bucket: Bucket, tmp_path: Path) -> None:
    job.build_cache(*asked)
    for out, other in ((tmp_path / "here", asked.out), (bucket.address("there"), tmp_path / "here")):
        tally = Tally()
        job.build_cache(*asked.but(out=out, reuse=(other,), base=2), tally)
        assert (tally.asked, tally.reused) == (0, 3 * 6)
    assert bucket.files("there") == files_of(tmp_path / "here")


def test_damage_is_found_and_mended(asked: Asked, bucket: Bucket) -> None:
    job.build_cache(*asked)
    before = bucket.files("cache")
    victim = next(name for name in before if name.endswith((".tar", "input/c/0/0/0/0")))
    content = bytearray(before[victim])
    content[len(content) // 2] ^= 1
    bucket.put(f"cache/{victim}", bytes(content))
    bucket.put("cache/mine.txt", b"mine")
    problems = verify(asked.out)
    assert any("sha256" in problem.message for problem in problems)
    assert all(problem.message.startswith(f"{asked.out}/") for problem in problems), "named by their address"
    assert "give the build's command again" in repair(asked.out, problems)
    with pytest.raises(CacheError, match="no finished cache here"):
        Cache(asked.out)
    job.build_cache(*asked)
    assert bucket.files("cache") == before | {"mine.txt": b"mine"}


def test_an_object_that_was_cut_is_noticed_by_the_reader(local: Path, remote: str, bucket: Bucket) -> None:
    name = "base-000000.tar" if (local / "base-000000.tar").exists() else "base/input/c/0/0/0/0"
    content = (local / name).read_bytes()
    for length in (0, 700, len(content) // 2):
        bucket.put(f"cache/{name}", content[:length])
        with pytest.raises(ShardCorrupt, match=rf"{remote}/{name}: .* ends at byte \d+, the file at {length}"):
            everything(Cache(remote), "base")


@pytest.mark.parametrize("way", ["up", "down", "across"])
def test_convert_between_places(
    local: Path, remote: str, bucket: Bucket, dukd_cache: Command, tmp_path: Path, store: Store, way: str
) -> None:
    source = local if way == "up" else remote
    out = tmp_path / "out" if way == "down" else bucket.address("out")
    other = next(each for each in STORES if each != store)
    ended = dukd_cache("convert", source, out, "--store", other)
    assert (ended.code, ended.errors) == (0, [])
    dukd_cache("convert", local, tmp_path / "expected", "--store", other)
    found = files_of(tmp_path / "out") if way == "down" else bucket.files("out")
    assert found == files_of(tmp_path / "expected")


def test_inspect_says_the_same(local: Path, remote: str, dukd_cache: Command) -> None:
    here, there = (json.loads(dukd_cache("inspect", each, "--json").output) for each in (local, remote))
    assert there.pop("cache") == remote
    here.pop("cache")
    assert here == there


def test_plan_writes_nothing(asked: Asked, bucket: Bucket, dukd_cache: Command) -> None:
    words = ("--hr", *asked.config.hr, "--teacher", *asked.config.teacher.values(), "--patch", 12, "--device", "cpu")
    ended = dukd_cache("plan", *words, "--out", asked.out)
    assert ended.code == 0
    assert "writing it not measured" in ended.output
    assert bucket.names("cache") == []


RECIPES = re.findall(r"```python\n(.*?)```", (PROJECT / "docs/cache-format.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_of_the_format_s_page_runs(
    many_shards: dict[Store, Path], s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    """With the names that it has: `cache` and `cache.zarr`, here and in `s3://bucket`."""
    bucket = Bucket(s3_server, "bucket")
    bucket.client.create_bucket(Bucket=bucket.name)
    monkeypatch.chdir(tmp_path)
    for name, store in (("cache", "webdataset"), ("cache.zarr", "zarr")):
        shutil.copytree(many_shards[store], tmp_path / name)  # type: ignore[index]
        for file, content in files_of(tmp_path / name).items():
            bucket.put(f"{name}/{file}", content)
    names: dict[str, Any] = {}
    exec(recipe, names)
    expected = Cache(tmp_path / "cache").read("base", 0)
    assert "rows" in names or np.array_equal(names["teacher"], expected["teacher"])
