"""Files that are whole or absent."""

import os
from pathlib import Path

import pytest
from tests.left_overs import left_over

from dukd_cache.system.errors import CacheError, PlaceError, SettingError
from dukd_cache.system.files import finished_file, try_file, try_folder, write_atomically
from dukd_cache.system.left_overs import is_systems, remove_left_overs


class Unplugged(BaseException):
    """Not an Exception, like KeyboardInterrupt."""


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with finished_file(target) as partial:
        partial.write_text("first half, ")
        assert partial.parent == tmp_path
        assert not target.exists()
        with partial.open("a") as stream:
            stream.write("second half")
        assert not target.exists()
    assert target.read_text() == "first half, second half"
    assert list(tmp_path.iterdir()) == [target]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with finished_file(target) as partial:
        partial.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Unplugged])
@pytest.mark.parametrize("old", [None, "old"])
def test_an_exception_leaves_what_was_there(tmp_path: Path, error: type[BaseException], old: str | None) -> None:
    target = tmp_path / "a.txt"
    if old is not None:
        target.write_text(old)

    def write_half() -> None:
        with finished_file(target) as partial:
            partial.write_text("half of it")
            raise error

    with pytest.raises(error):
        write_half()
    assert [path.read_text() for path in tmp_path.iterdir()] == ([] if old is None else [old])


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), finished_file(tmp_path / "a.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_of_several_writers_the_last_one_wins(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with finished_file(target) as first, finished_file(target) as second:
        first.write_text("first")
        second.write_text("second")
        assert len({first, second}) == 2
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "first"}


def test_what_killed_writers_left_is_told_from_all_else(tmp_path: Path) -> None:
    left = left_over(tmp_path / "a.txt")
    elsewhere = tmp_path / left.name.replace(left.name[6:14], "01234567")
    names = ["movie.mkv.partial", "a.txt.partial", f"{left.name}.txt", f"x{left.name}", ".dukd-x.partial"]
    for path in (elsewhere, *(tmp_path / name for name in names)):
        path.write_text("kept")
    with finished_file(tmp_path / "b.txt") as being_written:
        being_written.write_text("b")
        remove_left_overs(tmp_path.iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"b.txt", elsewhere.name, *names}
    os.utime(elsewhere, (0, 0))
    remove_left_overs(tmp_path.iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"b.txt", *names}, "of another machine after a day"


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    longest = tmp_path / ("n" * os.pathconf(tmp_path, "PC_NAME_MAX"))
    write_atomically(longest, b"x")
    assert list(tmp_path.iterdir()) == [longest]


def test_a_link_is_replaced_and_what_it_names_stays(tmp_path: Path) -> None:
    (tmp_path / "stored").write_text("in another tool's store")
    (tmp_path / "a.txt").symlink_to("stored")
    write_atomically(tmp_path / "a.txt", b"new")
    assert (tmp_path / "stored").read_text() == "in another tool's store"
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(tmp_path / "pipe", b"through")
    assert os.read(reading, 100) == b"through"
    os.close(reading)
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "null").symlink_to("/dev/null")
    write_atomically(tmp_path / "null", b"nowhere")
    assert (tmp_path / "null").is_char_device()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (".DS_Store", True),
        ("._base-000000.tar", True),
        (".nfs00000001", True),
        ("Thumbs.db", True),
        ("desktop.ini", True),
        ("@eaDir", True),
        ("lost+found", True),
        ("$RECYCLE.BIN", True),
        ("README", False),
        ("thumbs", False),
        ("base-000000.tar", False),
    ],
)
def test_files_that_systems_drop(name: str, expected: bool) -> None:
    assert is_systems(name) is expected


def test_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.bin", b"\r\n\x00\xff")
    assert (tmp_path / "a.bin").read_bytes() == b"\r\n\x00\xff"
    write_atomically(tmp_path / "a.bin", b"")
    assert (tmp_path / "a.bin").read_bytes() == b""


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_atomically(tmp_path / "folder", b"x")
    assert caught.value.filename == str(tmp_path / "folder")
    assert ".partial" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_is_tried_leaves_nothing(tmp_path: Path) -> None:
    try_folder(tmp_path)
    try_folder(tmp_path / "a" / "b")
    try_file(tmp_path / "a.txt")
    try_file(tmp_path / "a" / "b.txt", make_parents=True)
    (tmp_path / "old.txt").write_text("old")
    try_file(tmp_path / "old.txt")
    try_file(Path(os.devnull))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"old.txt": "old"}


def test_what_cannot_be_written_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    unwritable = Path("/proc/none")  # also for root
    kinds: list[tuple[Path, type[Exception]]] = [
        (tmp_path / "file", CacheError),
        (tmp_path / "file" / "below", PlaceError),
        (tmp_path / "dangling", PlaceError),
        (tmp_path / "dangling" / "below", PlaceError),
        (tmp_path / ("x" * 300), OSError),
        (unwritable, OSError),
    ]
    for folder, kind in kinds:
        for attempt in (try_folder, lambda folder: try_file(folder / "a.txt", make_parents=True)):
            with pytest.raises((kind, PlaceError) if kind is CacheError else kind) as caught:
                attempt(folder)
            assert str(folder.parent if folder.name == "below" else folder) in str(caught.value)
    with pytest.raises(SettingError, match="expected a file, found a folder"):
        try_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        try_file(tmp_path / "none" / "a.txt")
