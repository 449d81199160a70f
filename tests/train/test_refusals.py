"""A disk that refuses while a student, a checkpoint, a picture or a report is written: one line that names the file."""

import errno
from pathlib import Path

import pytest
from tests.cache.samples import save_photos
from tests.refusals import TOO_LARGE, no_file_larger_than
from tests.train.core.test_checkpoint import example, names
from tests.train.test_cli import Command
from tests.train.test_cli import command as command  # a fixture

from dukd_cache import networks
from dukd_train.core import checkpoint
from dukd_train.keeping.curve import append_row


def test_a_checkpoint_names_its_file_and_the_one_before_stays(tmp_path: Path) -> None:
    """torch tells of it in words of its own."""
    checkpoint.save(example(1), tmp_path)
    before = names(tmp_path)
    with no_file_larger_than(1000), pytest.raises(OSError, match=TOO_LARGE) as caught:
        checkpoint.save(example(2), tmp_path)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(tmp_path / "checkpoint-000002.pt"))
    assert names(tmp_path) == before


def test_a_curve_names_its_file(tmp_path: Path) -> None:
    with no_file_larger_than(10), pytest.raises(OSError, match=TOO_LARGE) as caught:
        append_row(tmp_path / "curve.csv", ("step",), {"step": "1" * 20})
    assert caught.value.filename == str(tmp_path / "curve.csv")


def test_every_command_names_the_file(command: Command, tmp_path: Path) -> None:
    weights, hr = tmp_path / "x2.safetensors", save_photos(tmp_path / "hr", [(24, 20)])
    networks.save(networks.build("EDSR", 2, {"channels": 4, "blocks": 1}), weights, {})
    one, out = hr / "photo_0.png", tmp_path / "out"
    commands = {
        "a.png": ("upscale", weights, one, out / "a.png"),
        "a.tiff": ("upscale", weights, one, out / "a.tiff"),
        "a.jpg": ("upscale", weights, one, out / "a.jpg"),
        "a.bmp": ("upscale", weights, one, out / "a.bmp"),
        "a.webp": ("upscale", weights, one, out / "a.webp"),
        "a.json": ("eval", "--weights", weights, "--hr", hr, "--json", out / "a.json"),
    }
    for name, words in commands.items():
        with no_file_larger_than(200):
            code, _, errors = command(*words)
        assert code == 2, errors
        last = errors.splitlines()[-1]
        assert last.startswith(f"dukd-train: {out / name}: {TOO_LARGE}"), errors
    assert list(out.iterdir()) == []
