"""What an answer takes of memory: of real processes, and where it runs out."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.processes import start

from dukd_cache.system.errors import ImageError
from dukd_train.scoring import inference
from dukd_train.using.upscale import upscale_files

LINUX = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")


def peak() -> int:
    """Bytes that this process has taken at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def enlarge_both(weights: Path, folder: Path) -> None:
    """In a process of its own: a small image, then a large one; what that takes more goes into `more.txt`."""
    for name in ("small", "large"):
        before, names = peak(), (folder / f"{name}.bmp", folder / f"{name}-out.bmp")
        upscale_files(weights, *names, None, inference.Inference(128, 8), "cpu", overwrite=False)
    (folder / "more.txt").write_text(str(peak() - before))


def save(path: Path, height: int, width: int) -> Path:
    Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(path)
    return path


@LINUX
def test_memory_is_that_of_the_bytes_of_the_answer(teacher_file: Path, tmp_path: Path) -> None:
    """3 a pixel, 4 more for Pillow; tiles in floating point are of one size. It was 37."""
    save(tmp_path / "small.bmp", 256, 256)
    save(tmp_path / "large.bmp", 1000, 1000)
    start(enlarge_both, teacher_file, tmp_path).join(240)
    more, pixels = int((tmp_path / "more.txt").read_text()), 4 * 1000 * 1000
    assert 3 * pixels < more < 20 * pixels, f"{more / pixels:.1f} bytes a pixel of the output"


@contextmanager
def at_most(more: int) -> Iterator[None]:
    """This process can take no more than `more` bytes beside what it has."""
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (has + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@LINUX
def test_an_image_beyond_memory_does_not_cost_the_others(
    teacher_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, side in (("a", 20), ("b", 6000), ("c", 20)):
        save(photos / f"{name}.png", side, side)
    asked = (teacher_file, photos, tmp_path / "out", None, inference.Inference("auto"), "cpu")
    with at_most(230_000_000), pytest.raises(ImageError, match="1 of 3 images could not be enlarged"):
        upscale_files(*asked, overwrite=False)
    assert f"{photos}/b.png: out of memory" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


def test_what_the_machine_cannot_hold_is_not_begun(
    teacher_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "obtainable_memory", lambda: 10_000)
    photo = save(tmp_path / "a.png", 20, 30)
    asked = (teacher_file, photo, tmp_path / "b.png", None, inference.WHOLE, "cpu")
    with pytest.raises(ImageError, match=r"a\.png: its 60×40 pixels take 0\.0 GB of memory, 0\.0 GB are free: cut it"):
        upscale_files(*asked, overwrite=False)
    assert not (tmp_path / "b.png").exists()
