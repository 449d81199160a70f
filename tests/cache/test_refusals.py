"""What the system refuses is one line that names the file; what a file system lacks is said once and done without."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cache.samples import build_job, files_of
from tests.cache.test_cli import Command, refused
from tests.cache.test_cli import dukd_cache as dukd_cache  # a fixture
from tests.refusals import TOO_LARGE, no_file_larger_than, without_locks, without_syncing_folders

from dukd_cache.check.verify import verify
from dukd_cache.commands import build as job
from dukd_cache.format.local_copies import ShardCache
from dukd_cache.format.reader import Cache
from dukd_cache.pictures.sources import read_facts
from dukd_cache.settings.choices import Store
from dukd_cache.system import terminal
from dukd_cache.system.errors import CacheError, ImageError, PlaceError
from dukd_cache.system.files import finished_file, write_atomically
from dukd_cache.system.lock import locked


@pytest.fixture(autouse=True)
def _nothing_told_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "_TOLD", set())


def bytes_written(path: Path) -> None:
    write_atomically(path, bytes(100_000))


def bytes_written_in_words_of_its_own(path: Path) -> None:
    """As torch does: its error is no OSError and names nothing."""
    with finished_file(path) as partial, partial.open("wb", buffering=0) as stream:
        if stream.write(bytes(100_000)) < 100_000:
            raise RuntimeError("unexpected pos 64 vs 0")


@pytest.mark.parametrize("write", [bytes_written, bytes_written_in_words_of_its_own])
def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, write: object) -> None:
    with no_file_larger_than(50_000), pytest.raises(OSError, match=TOO_LARGE) as caught:
        write(tmp_path / "a.bin")  # type: ignore[operator]
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(tmp_path / "a.bin"))
    assert list(tmp_path.iterdir()) == []


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    def failing(error: Exception) -> None:
        with finished_file(tmp_path / "a.bin") as partial:
            partial.write_bytes(b"half")
            raise error

    for error in (RuntimeError("of the writer"), ImageError("x.png: bad"), OSError(errno.EIO, "of a reader", "x.png")):
        with pytest.raises(type(error)) as caught:
            failing(error)
        assert caught.value is error
    assert list(tmp_path.iterdir()) == []


def test_every_command_names_the_file(dukd_cache: Command, photos: Path, small_cache: Path, tmp_path: Path) -> None:
    words = {
        "lr": ("degrade", "--hr", photos, "--scale", 2, "--out", tmp_path / "lr"),
        "sheet.png": ("inspect", small_cache, "--sample", 0, "--json", "--picture", tmp_path / "sheet.png"),
        "c/base-000000.tar": ("convert", small_cache, tmp_path / "c", "--store", "webdataset", "--codec", "raw"),
        "d/base-000000.tar": ("build", "--hr", photos, "--scale", 2, "--patch", 12, "--out", tmp_path / "d"),
    }
    for name, command in words.items():
        with no_file_larger_than(500 if name == "lr" else 3000):
            ended = dukd_cache(*command)
        assert ended.code == 2, ended
        (line,) = ended.errors
        assert line.startswith(f"dukd-cache: {tmp_path / name}"), line
        assert f": {TOO_LARGE}; " in line
    assert not [name for name in files_of(tmp_path) if "building." not in name]


@pytest.mark.parametrize("answer", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_locks_a_build_goes_on_and_says_so_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: int
) -> None:
    without_locks(monkeypatch, answer)
    asked = build_job(photos, tmp_path / "c", None, base=1)
    for changed in (1, 2):
        job.build_cache(*build_job(photos, asked.out, None, base=changed))  # type: ignore[arg-type]
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert told == [f"note: {asked.out}: this file system keeps no locks: let no second build write here"]
    assert verify(asked.out) == []
    with locked(tmp_path), locked(tmp_path):
        assert (tmp_path / "building.lock").exists()


def test_other_refusals_of_a_lock_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_locks(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), locked(tmp_path):
        pass


@pytest.mark.parametrize("store", ["webdataset", "zarr"])
def test_where_no_folder_is_synced_a_build_goes_on_and_says_so_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], store: Store
) -> None:
    without_syncing_folders(monkeypatch)
    job.build_cache(*build_job(photos, tmp_path / "c", None, base=1, store=store, codec=None))
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert len(told) == 1
    assert "this file system syncs no folders (Invalid argument): after a power cut the newest files may be" in told[0]
    assert verify(tmp_path / "c") == []


def test_a_disk_that_fails_while_a_folder_is_synced_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_syncing_folders(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)) as caught:
        write_atomically(tmp_path / "a", b"")
    assert caught.value.filename == str(tmp_path)


def test_copies_of_shards_are_kept_without_locks(
    many_shards: dict[Store, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_locks(monkeypatch, errno.ENOLCK)
    cache, copies = Cache(many_shards["webdataset"]), ShardCache(tmp_path / "shards", 10**9)
    shard = cache.manifest.shards[0]
    for _ in range(2):
        folder = copies.copy_of(shard, [shard.name], cache.place)
        assert folder is not None
        assert folder.read(shard.name) == cache.place.read(shard.name)


needs_bad_file = pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="no file that cannot be read")


@needs_bad_file
def test_an_image_whose_bytes_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("/proc/self/mem")  # reading its first byte is an input/output error
    with pytest.raises(ImageError, match=r"a\.png: cannot be read \(Input/output error\)"):
        read_facts(tmp_path / "a.png")


@needs_bad_file
def test_a_file_of_a_cache_that_cannot_be_read_is_named(dukd_cache: Command, photos: Path, tmp_path: Path) -> None:
    root = tmp_path / "c"
    job.build_cache(*build_job(photos, root, None, base=1))
    for name, says in (("manifest.json", "check the disk, or the network to it"), ("building.json", "check the disk")):
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to("/proc/self/mem")
        build = ("build", "--hr", photos, "--scale", 2, "--patch", 12, "--out", root)
        ended = dukd_cache(*(build if name == "building.json" else ("inspect", root)))
        refused(ended, f"{root / name}: Input/output error; {says}")
        (root / name).unlink()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_output_that_cannot_be_written_is_one_line() -> None:
    code = "from dukd_cache.cli import main; main()"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": ""}
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", code, "presets", "dukd"]
        done = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, text=True)
    says = "what this command prints: No space left on device; make room, then run the same command again"
    assert (done.returncode, done.stderr) == (2, f"dukd-cache: {says}\n")


def test_a_link_to_nothing_is_told_before_anything_is_done(
    dukd_cache: Command, photos: Path, small_cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("gone")
    for out in (tmp_path / "link", tmp_path / "link/c"):
        says = f"{tmp_path / 'link'}: a link to gone, which is not there: make it, or remove the link"
        for command in ("build", "plan"):
            refused(dukd_cache(command, "--hr", photos, "--scale", 2, "--patch", 12, "--out", out), says)
        refused(dukd_cache("degrade", "--hr", photos, "--scale", 2, "--out", out), says)
        refused(dukd_cache("convert", small_cache, out, "--store", "zarr"), says)
        with pytest.raises(PlaceError, match="a link to gone"):
            write_atomically(out / "x", b"")
    with pytest.raises(CacheError, match="no finished cache here"):
        Cache(tmp_path / "gone")
    refused(dukd_cache("inspect", tmp_path / "link"), says)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link"]
