"""What is remembered of image files is never out of date, and never needed."""

import hashlib
import os
import time
from pathlib import Path

import pytest
from PIL import Image
from tests.cache.samples import build_job, photo, save_photos

from dukd_cache.commands.prepare import prepare
from dukd_cache.pictures import known_files
from dukd_cache.pictures.known_files import KnownImages, memory_file
from dukd_cache.pictures.known_files import known_images as opened
from dukd_cache.pictures.sources import FileFacts, LrFolder, find_images, identify, read_facts
from dukd_cache.system.errors import ImageError

TICK_NS = 50_000_000


@pytest.fixture
def hr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images older than the coarsest clock, which here is of 50 ms; and a memory of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "memory"))
    monkeypatch.setattr(known_files, "_CLOCK_NS", TICK_NS)
    hr = save_photos(tmp_path / "hr", [(30, 20), (24, 28)])
    settle()
    return hr


def settle() -> None:
    time.sleep(2 * TICK_NS / 1e9)


def look(hr: Path, lr: LrFolder | None = None) -> int:
    """How many files were read; what is said of all must be true."""
    with opened() as known:
        for path in find_images(hr):
            assert identify(hr, path, 2, lr, known.facts) == identify(hr, path, 2, lr)
        return known.read


def test_a_second_look_reads_no_file(hr: Path) -> None:
    assert [look(hr), look(hr)] == [2, 0]


def test_a_second_plan_and_build_read_no_file(hr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = build_job(hr, hr.parent / "cache", None, patch=8)
    first = prepare(*asked)

    def fail(*_arguments: object) -> None:
        raise AssertionError("a file was read")

    monkeypatch.setattr(known_files, "read_facts", fail)
    assert prepare(*asked) == first


@pytest.mark.parametrize("times", ["as they are", "set back"])
def test_an_edit_is_seen(hr: Path, times: str) -> None:
    """Also one that keeps size and mtime."""
    look(hr)
    path = hr / "photo_0.png"
    before = path.stat()
    content = path.read_bytes()
    Image.fromarray(photo(26, 20, seed=5)).save(path)
    edited = path.read_bytes()
    path.write_bytes(edited + b"\0" * (len(content) - len(edited)) if len(edited) < len(content) else edited)
    if times == "set back":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    settle()
    assert [look(hr), look(hr)] == [1, 0]


def test_a_file_changed_a_moment_ago_is_not_remembered(hr: Path) -> None:
    (hr / "photo_0.png").touch()
    assert look(hr) == 2
    assert look(hr) == 1
    settle()
    assert [look(hr), look(hr)] == [1, 0]


def test_a_file_of_the_future_is_not_remembered(hr: Path) -> None:
    os.utime(hr / "photo_0.png", (time.time() + 3600, time.time() + 3600))
    settle()
    assert [look(hr), look(hr), look(hr)] == [2, 1, 1]


def test_a_file_that_changes_while_it_is_read_is_not_remembered(hr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(path: Path) -> FileFacts:
        found = read_facts(path)
        Image.fromarray(photo(40, 40)).save(path)
        return found

    with monkeypatch.context() as patch, opened() as known:
        patch.setattr(known_files, "read_facts", slow)
        identify(hr, hr / "photo_0.png", 2, None, known.facts)
    settle()
    assert look(hr) == 2


def test_a_file_is_read_once(hr: Path) -> None:
    path = hr / "photo_0.png"
    stamp = (path.stat().st_size, path.stat().st_mtime_ns)
    with opened() as known:
        for _ in range(2):
            assert known.facts(path) == FileFacts(hashlib.sha256(path.read_bytes()).hexdigest(), 30, 20, stamp)
        assert known.read == 1
    assert [look(hr), look(hr)] == [1, 0]


def test_a_moved_folder_is_read_again_and_names_are_of_the_root_asked(hr: Path) -> None:
    look(hr)
    with opened() as known:
        assert identify(hr.parent, hr / "photo_0.png", 2, None, known.facts).name == "hr/photo_0.png"
        assert known.read == 0
    moved = hr.rename(hr.with_name("moved"))
    assert look(moved) == 2


def test_lr_files_are_looked_for_every_time(hr: Path, tmp_path: Path) -> None:
    lr = tmp_path / "lr"
    lr.mkdir()
    for path in find_images(hr):
        with Image.open(path) as image:
            image.reduce(2).save(lr / f"{path.stem}x2.png")
    settle()
    assert [look(hr, LrFolder(lr)), look(hr, LrFolder(lr))] == [4, 0]
    (lr / "photo_1x2.png").unlink()
    with opened() as known, pytest.raises(ImageError, match="no LR image"):
        identify(hr, hr / "photo_1.png", 2, LrFolder(lr), known.facts)


def test_bad_files_are_not_remembered(hr: Path) -> None:
    (hr / "bad.png").write_text("no image")
    settle()
    for _ in range(2):
        with opened() as known, pytest.raises(ImageError, match=r"bad\.png"):
            identify(hr, hr / "bad.png", 2, None, known.facts)


@pytest.mark.parametrize("damage", ["text", "folder", "home"])
def test_a_memory_that_cannot_be_used_is_done_without(hr: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    look(hr)
    if damage == "text":
        memory_file().write_text("no database, but long enough to look at it" * 100)
    elif damage == "folder":
        memory_file().unlink()
        memory_file().mkdir()
    else:
        (hr.parent / "file").write_text("no folder")
        monkeypatch.setenv("XDG_CACHE_HOME", str(hr.parent / "file"))
    assert [look(hr), look(hr)] == [2, 2]


def test_without_a_database_every_file_is_read(hr: Path) -> None:
    known = KnownImages(None)
    for _ in range(2):
        identify(hr, hr / "photo_0.png", 2, None, known.facts)
    assert known.read == 2


@pytest.mark.parametrize(("home", "place"), [("", "~"), ("relative", "~"), ("/x/y", "/x/y/dukd/files.sqlite")])
def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, home: str, place: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", home)
    expected = Path.home() / ".cache/dukd/files.sqlite" if place == "~" else Path(place)
    assert memory_file() == expected
