"""Files that are whole or absent."""

from pathlib import Path

import pytest

from dukd_cache.files import finished_file, write_atomically


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


def test_a_left_over_of_a_crash_is_overwritten(tmp_path: Path) -> None:
    with finished_file(tmp_path / "a.txt") as partial:
        left_over = partial
        partial.write_text("x")
    left_over.write_text("much longer content of a build that crashed")
    write_atomically(tmp_path / "a.txt", b"short")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.txt": b"short"}


def test_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.bin", b"\r\n\x00\xff")
    assert (tmp_path / "a.bin").read_bytes() == b"\r\n\x00\xff"
    write_atomically(tmp_path / "a.bin", b"")
    assert (tmp_path / "a.bin").read_bytes() == b""
