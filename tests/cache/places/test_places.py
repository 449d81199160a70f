"""Places: a folder and object stores do the same; addresses that name none are one line."""

import errno
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.left_overs import left_over
from tests.object_store import Bucket, found_at

from dukd_cache.places import Place
from dukd_cache.places import objects as objects_module
from dukd_cache.places.choice import place_at
from dukd_cache.places.folder import Folder
from dukd_cache.places.objects import Objects
from dukd_cache.system.errors import CacheError, PlaceError

KINDS = ("folder", "memory", "s3")


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "folder":
        yield place_at(tmp_path / "place")
    elif request.param == "memory":
        yield place_at("memory://places/place")
        fsspec.filesystem("memory").store.clear()
    else:
        bucket: Bucket = request.getfixturevalue("bucket")
        yield place_at(bucket.address("place"))


def test_what_a_place_does(place: Place, tmp_path: Path) -> None:
    assert (place.names(), place.size("a/b")) == ([], None)
    place.write("a/b", b"0123456789")
    place.write("a/b", b"0123456")
    place.write("c", b"")
    with place.new_file("a/d/e.tar") as path:
        path.write_bytes(b"x" * 1000)
        assert "a/d/e.tar" not in place.names()
    assert place.names() == ["a/b", "a/d/e.tar", "c"]
    assert place.names("a/d") == place.names("a/d/") == ["a/d/e.tar"]
    assert place.names("a/b") == ["a/b"]
    assert place.sizes() == {"a/b": 7, "a/d/e.tar": 1000, "c": 0}
    assert (place.sizes("a/d"), place.sizes("a/d/"), place.sizes("z")) == ({"a/d/e.tar": 1000}, {"a/d/e.tar": 1000}, {})
    assert (place.size("a/b"), place.size("c"), place.size("a"), place.size("a/d/e.tar")) == (7, 0, None, 1000)
    assert (place.read("a/b"), place.read("c")) == (b"0123456", b"")
    ranges = [(0, 3), (5, 9), (7, 1), (100, 1), (2, 0)]
    assert [place.read_range("a/b", *each) for each in ranges] == [b"012", b"56", b"", b"", b""]
    for missing in (lambda: place.read("z"), lambda: place.read_range("z", 0, 1), lambda: place.fetch(["z"], tmp_path)):
        with pytest.raises(FileNotFoundError):
            missing()
    place.move(["a/b", "c"], "", "previous/000/")
    assert place.names() == ["a/d/e.tar", "previous/000/a/b", "previous/000/c"]
    below = place.below("previous/000")
    assert (below.names(), below.read("a/b")) == (["a/b", "c"], b"0123456")
    with below.local(["a/b", "c"]) as folder:
        assert (folder.path / "a/b").read_bytes() == b"0123456"
        assert folder.at("a/b") == below.at("a/b") == f"{place}/previous/000/a/b"
    place.fetch(["previous/000/a/b"], tmp_path / "copies")
    assert (tmp_path / "copies/previous/000/a/b").read_bytes() == b"0123456"
    place.move(["a/b"], "previous/000/", "")
    place.write("previous/mine", b"")
    place.remove(["previous/000/c"], "previous")
    assert place.names() == ["a/b", "a/d/e.tar", "previous/mine"]
    place.remove(["previous/mine"], "previous")
    place.delete(["a/d/e.tar", "z"])
    assert place.names() == ["a/b"]
    assert pickle.loads(pickle.dumps(place)).read("a/b") == b"0123456"
    assert place.title == "place"


@pytest.mark.parametrize("name", ["x[1]", "x?", "x*"])
def test_a_name_is_no_pattern(place: Place, name: str) -> None:
    own, other = place.below(name), place.below("x1")
    for each in (own, other):
        each.write("building.workers/1-of-1.json", b"")
        each.write("base-000000.tar", b"")
    own.move(["base-000000.tar"], "", "previous/000/")
    own.remove(["building.workers/1-of-1.json"], "building.workers")
    own.delete(["previous/000/base-000000.tar"])
    assert (own.names(), other.names()) == ([], ["base-000000.tar", "building.workers/1-of-1.json"])


def test_a_file_that_was_not_finished_is_not_there(place: Place) -> None:
    def half(name: str) -> None:
        with place.new_file(name) as path:
            path.write_bytes(b"half")
            raise KeyboardInterrupt

    place.write("old", b"whole")
    for name in ("old", "new"):
        with pytest.raises(KeyboardInterrupt):
            half(name)
    assert place.names() == ["old"]
    assert place.read("old") == b"whole"


names = st.sampled_from(["a", "b/c", "b/d/e", "zarr.json"])
steps = st.one_of(
    st.tuples(st.just("write"), names, st.binary(max_size=20)),
    st.tuples(st.just("delete"), names),
    st.tuples(st.just("move"), st.lists(names, unique=True), st.booleans()),
    st.tuples(st.just("remove"), st.sampled_from(["b", "old", "b/d"])),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, max_size=12))
def test_any_steps_leave_what_a_dictionary_has(done: list[tuple[str, ...]]) -> None:
    with TemporaryDirectory() as folder:
        expected: dict[str, bytes] = {}
        places = [Folder(Path(folder, "x")), place_at("memory://any/steps")]
        fsspec.filesystem("memory").store.clear()
        for what, *words in done:
            expected = _after(expected, what, words)
            for place in places:
                if what == "move":
                    wanted, back = words
                    start, end = ("old/", "") if back else ("", "old/")
                    place.move([name for name in wanted if place.size(start + name) is not None], start, end)
                elif what == "delete":
                    place.delete(words)
                elif what == "remove":
                    place.remove(place.names(f"{words[0]}/"), words[0])
                else:
                    getattr(place, what)(*words)
                assert {name: place.read(name) for name in place.names()} == expected


def _after(before: dict[str, bytes], what: str, words: list) -> dict[str, bytes]:  # type: ignore[type-arg]
    after = dict(before)
    if what == "write":
        after[words[0]] = words[1]
    elif what == "delete":
        after.pop(words[0], None)
    elif what == "remove":
        after = {name: content for name, content in after.items() if not name.startswith(f"{words[0]}/")}
    else:
        start, end = ("old/", "") if words[1] else ("", "old/")
        for name in words[0]:
            if start + name in after:
                after[end + name] = after.pop(start + name)
    return after


def test_a_move_that_was_cut_leaves_each_file_somewhere(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two", "three"):
        place.write(name, name.encode())
    if isinstance(place, Objects):  # after the copies, before the removal of the second
        really, calls = Objects._changed, []

        def stop(self: Objects, name: str, change) -> None:  # type: ignore[no-untyped-def]
            calls.append(name)
            if len(calls) == 3:
                raise KeyboardInterrupt
            really(self, name, change)

        monkeypatch.setattr(Objects, "_changed", stop)
        with pytest.raises(KeyboardInterrupt):
            place.move(["one", "two", "three"], "", "old/")
        monkeypatch.undo()
        assert place.names() == ["old/one", "old/three", "old/two", "three", "two"]
        place.move(["three", "two"], "", "old/")
    else:
        place.move(["one", "three", "two"], "", "old/")
    assert {name: place.read(name) for name in place.names()} == {
        f"old/{n}": n.encode() for n in ("one", "two", "three")
    }


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("gs://bucket/cache", "gs://bucket/cache: needs gcsfs: pip install gcsfs"),
        ("abfs://bucket/cache", "abfs://bucket/cache: needs adlfs: pip install adlfs"),
        ("s4://bucket/cache", "s4://bucket/cache: unknown kind of address s4:// (valid: folders, abfs://"),
        ("s3://", "s3://: expected s3://bucket/name"),
    ],
)
def test_an_address_that_names_no_place(address: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("gcsfs", "adlfs"):
        monkeypatch.setitem(sys.modules, library, None)
    real = objects_module.importlib.util.find_spec
    monkeypatch.setattr(
        objects_module.importlib.util, "find_spec", lambda name: None if name in ("gcsfs", "adlfs") else real(name)
    )
    with pytest.raises(PlaceError) as caught:
        place_at(address)
    assert str(caught.value).startswith(says)


def test_a_bucket_that_is_not_there_is_told_by_whatever_is_asked(bucket: Bucket) -> None:
    missing = place_at(f"s3://not-{bucket.name}/cache")
    for asked in (missing.names, missing.refuse_if_locked, lambda: missing.write("a", b""), missing.locked().__enter__):
        with pytest.raises(PlaceError, match=rf"s3://not-{bucket.name}/.*bucket does not exist"):
            asked()


def test_nobody_answers(bucket: Bucket) -> None:
    says = f"{bucket.address('c')}/manifest.json: Could not connect"
    with found_at("http://127.0.0.1:9", AWS_MAX_ATTEMPTS="1"), pytest.raises(PlaceError, match=says):
        place_at(bucket.address("c")).read("manifest.json")


def test_what_may_leave_half_a_file_is_not_written_to() -> None:
    with pytest.raises(PlaceError, match="https://host/cache: a cache there can be read, not written"):
        place_at("https://host/cache").refuse_if_locked()


def test_folders_have_several_names(tmp_path: Path) -> None:
    for address in (tmp_path, str(tmp_path), f"file://{tmp_path}", f"local://{tmp_path}", tmp_path / "x" / ".."):
        assert place_at(address).canonical == str(tmp_path.resolve())
    assert place_at("s3://b/c/").canonical == place_at("s3a://b/c").canonical == "s3://b/c"


def test_a_file_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CacheError, match="expected a folder, found a file"):
        Folder(tmp_path / "file").names()


def test_new_folders_are_synced_with_those_above_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut a file is found only where every folder on the way to it is."""
    synced: list[Path] = []
    monkeypatch.setattr("dukd_cache.system.files.sync_folder", synced.append)
    Folder(tmp_path).write("base/input/c/0/0/0/0", b"chunk")
    above = [tmp_path / part for part in ("", "base", "base/input", "base/input/c", "base/input/c/0")]
    assert [path for path in synced if path in above] == above
    assert synced[-1] == tmp_path / "base/input/c/0/0/0"


def test_left_overs_are_swept(tmp_path: Path) -> None:
    place = Folder(tmp_path)
    place.write("a/b", b"")
    left_over(tmp_path / "a/c")
    for name in ("movie.mkv.partial", "a/.dukd-notes.partial"):
        place.write(name, b"the user's")
    with place.new_file("d") as being_written:
        being_written.write_bytes(b"half")
        place.sweep()
    assert place.names() == ["a/.dukd-notes.partial", "a/b", "d", "movie.mkv.partial"]


def test_what_cannot_be_looked_at_hides_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In whichever order a folder is listed. Root may list anything: the refusals are made here."""
    sizes = {f"base-{number:06d}.tar": number for number in range(20)}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(bytes(size))
    (tmp_path / "ring").symlink_to("ring")
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "x").touch()
    refused, listed = {"closed": errno.EACCES}, os.scandir

    def scandir(folder: str) -> Any:
        if number := refused.get(Path(folder).name):
            raise OSError(number, os.strerror(number), folder)
        return listed(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    assert place_at(tmp_path).sizes() == sizes
    assert place_at(tmp_path).names() == [*sizes, "ring"]
    for name, number in (("closed", errno.EIO), (tmp_path.name, errno.EACCES)):
        refused[name] = number
        with pytest.raises(OSError, match=os.strerror(number)):
            place_at(tmp_path).names()


def test_folders_do_not_wait_for_the_libraries_of_stores() -> None:
    imports = "import sys, dukd_cache.format.reader, dukd_cache.check.verify"
    code = f"{imports}; print(*({{'fsspec', 's3fs', 'aiohttp'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
