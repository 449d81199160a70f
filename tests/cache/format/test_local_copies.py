"""Copies of shards on this machine: fetched once for all, checked, limited, and missed by nobody."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from tests.cache.samples import everything, files_of, same

from dukd_cache.format.codecs import CODECS
from dukd_cache.format.local_copies import LIMIT, room_of, shard_cache
from dukd_cache.format.reader import Cache, Reading
from dukd_cache.places.choice import place_at
from dukd_cache.places.objects import Objects
from dukd_cache.plan.views import VIEWS
from dukd_cache.settings.choices import Store
from dukd_cache.system.errors import CacheError, SettingError, ShardCorrupt

ADDRESS = "memory://shards/cache"


@pytest.fixture(autouse=True)
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the copies of this test lie."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg/dukd/shards"


@pytest.fixture(params=list(CODECS))
def local(many_shards: dict[Store, Path], request: pytest.FixtureRequest) -> Iterator[Path]:
    """A cache that lies at `ADDRESS`, too."""
    found, place = many_shards[request.param], place_at(ADDRESS)
    for name, content in files_of(found).items():
        place.write(name, content)
    yield found
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of all files that are fetched whole, in order."""
    names: list[str] = []
    really = Objects.fetch

    def fetch(self: Objects, wanted: list[str], folder: Path) -> None:
        names.extend(wanted)
        really(self, wanted, folder)

    monkeypatch.setattr(Objects, "fetch", fetch)
    return names


def check_view(cache: Cache, local: Path, view: str) -> None:
    for here, there in zip(everything(Cache(local), view), everything(cache, view), strict=True):
        assert here.info == there.info
        assert here.keys() == there.keys()
        assert all(same(here[name], there[name]) for name in here)


def check(cache: Cache, local: Path) -> None:
    for view in VIEWS:
        check_view(cache, local, view)


def kept(copies: Path) -> dict[str, int]:
    """Bytes of each copy, by the shard's name."""
    return {path.name[:-65]: sum(map(len, files_of(path).values())) for path in copies.glob("*-*")}


@pytest.mark.parametrize("reading", ["in order", "in any order"])
def test_every_shard_is_fetched_once_for_all(local: Path, copies: Path, fetched: list[str], reading: Reading) -> None:
    for _ in range(2):
        check(Cache(ADDRESS, reading), local)
    assert (
        len(fetched)
        == len(set(fetched))
        == sum(name != "manifest.json" and name[-9:] != "zarr.json" for name in files_of(local))
    )
    assert sorted(kept(copies)) == sorted(shard.name.partition(".")[0] for shard in Cache(local).manifest.shards)


def test_some_records_are_read_where_they_lie(local: Path, copies: Path, fetched: list[str]) -> None:
    check(Cache(ADDRESS), local)
    assert fetched == []
    assert not copies.exists()


def test_a_folder_is_read_where_it_lies(local: Path, copies: Path) -> None:
    check(Cache(local, "in order"), local)
    assert not copies.exists()


@pytest.mark.parametrize("what", ["flipped", "cut", "lost", "index flipped"])
def test_a_damaged_copy_is_fetched_again(local: Path, copies: Path, fetched: list[str], what: str) -> None:
    check(Cache(ADDRESS, "in order"), local)
    already_open = Cache(ADDRESS, "in order")
    already_open.read("base", 0)
    before = {path: files_of(path) for path in copies.glob("*-*")}
    folder = next(copies.glob("base-000000-*"))
    index = folder / "base-000000.npy"
    victim = (
        index if what == "index flipped" else max(folder.rglob("*"), key=lambda p: p.is_file() and p.stat().st_size)
    )
    content = bytearray(victim.read_bytes())
    if what == "lost":
        shutil.rmtree(folder)
    elif what == "cut":
        victim.write_bytes(content[: len(content) // 3])
    else:
        content[len(content) // 2] ^= 8
        victim.write_bytes(content)
    count = len(fetched)
    check(already_open, local)
    check(Cache(ADDRESS, "in order"), local)
    assert 0 < len(fetched) - count <= 4, "one shard, once"
    assert {path: files_of(path) for path in copies.glob("*-*")} == before


def test_what_was_used_longest_ago_is_removed(
    local: Path, copies: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit for two of three shards, which are read one after another, then the first again."""
    shards = Cache(local).manifest.shards[:3]
    monkeypatch.setenv(LIMIT, str(sum(sorted(map(room_of, shards))[1:]) / 1e9))
    cache = Cache(ADDRESS, "in order")
    for turn, index in enumerate((0, 7, 14)):
        cache.read("base", index)
        os.utime(next(copies.glob(f"base-{turn:06d}-*")), (turn, turn))
    assert sorted(kept(copies)) == ["base-000001", "base-000002"]
    assert sum(kept(copies).values()) <= shard_cache().limit  # type: ignore[union-attr]
    count = len(fetched)
    check_view(cache, local, "base")
    assert len(fetched) > count


def test_in_any_order_nothing_is_fetched_twice(
    local: Path, copies: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a cache that is larger than the limit, the first shards are kept and the others read by range."""
    shards = Cache(local).manifest.shards
    monkeypatch.setenv(LIMIT, str((sum(map(room_of, shards[:4])) + 1) / 1e9))
    cache = Cache(ADDRESS, "in any order")
    for _ in range(2):
        check(cache, local)
    assert len(fetched) == len(set(fetched))
    assert sorted(kept(copies)) == [shard.name.partition(".")[0] for shard in shards[:4]]


@pytest.mark.usefixtures("copies")
def test_no_copies_are_kept_where_none_are_wanted(
    local: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LIMIT, "0")
    check(Cache(ADDRESS, "in order"), local)
    assert fetched == []
    for text in ("much", "-1", "inf", "nan"):
        monkeypatch.setenv(LIMIT, text)
        with pytest.raises(SettingError, match=f"{LIMIT}={text}: expected a number of gigabytes"):
            shard_cache()


def test_a_shard_that_is_damaged_where_it_lies_is_not_kept(local: Path, copies: Path) -> None:
    """What is whole of it is read, the rest refused."""
    shard = Cache(local).manifest.shards[0]
    name = shard.name if shard.name.endswith(".tar") else "base/teacher/c/0/0/0/0"
    content = bytearray((local / name).read_bytes())
    content[len(content) // 2] ^= 1
    place_at(ADDRESS).write(name, bytes(content))
    cache, wrong = Cache(ADDRESS, "in order"), []
    for index in range(shard.records):
        try:
            cache.read("base", index)
        except ShardCorrupt as error:
            wrong.append(str(error))
    assert len(wrong) <= 1
    assert all(line.startswith(f"{ADDRESS}/{name}: ") for line in wrong)
    assert "base-000000" not in kept(copies)


@pytest.mark.usefixtures("local")
def test_a_folder_that_cannot_be_written_to_is_one_line(copies: Path) -> None:
    copies.parent.mkdir(parents=True)
    copies.write_text("in the way")
    with pytest.raises(CacheError, match=rf"{copies}: no copy of .*can be kept here .*{LIMIT} \(now 50\)"):
        Cache(ADDRESS, "in order").read("base", 0)
