"""Where results come from: the commit of dukd's own code and of nobody else's."""

import re
import shutil
import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import torch
from PIL import Image

from dukd_train.scoring import provenance
from dukd_train.scoring.evaluate import pair_images


def _git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@y.z"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True
    ).stdout.strip()


def commit_seen_by(module: Path) -> str:
    """What `git_commit` says in a copy of the module."""
    spec = spec_from_file_location("copied", module)
    assert spec is not None
    assert spec.loader is not None
    copied = module_from_spec(spec)
    spec.loader.exec_module(copied)
    return str(copied.git_commit())


def test_the_commit_is_that_of_the_code(tmp_path: Path) -> None:
    module = tmp_path / "package" / "provenance.py"
    module.parent.mkdir()
    shutil.copyfile(provenance.__file__, module)
    assert commit_seen_by(module) == "None"  # no repository
    _git(tmp_path, "init", "-q")
    (tmp_path / "own.txt").write_text("the user's")
    _git(tmp_path, "add", "own.txt")
    _git(tmp_path, "commit", "-qm", "theirs")
    assert commit_seen_by(module) == "None"  # a repository that only contains the environment
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-qm", "ours")
    head = _git(tmp_path, "rev-parse", "HEAD")
    before = (tmp_path / ".git/index").read_bytes()
    (tmp_path / "own.txt").touch()
    assert commit_seen_by(module) == head
    assert (tmp_path / ".git/index").read_bytes() == before, "nothing is locked or written there"
    module.write_text(module.read_text() + "\n")
    assert commit_seen_by(module) == f"{head}-dirty"


def test_what_a_run_says_of_itself() -> None:
    found = provenance.made_with(torch.device("cpu"), begun=0.0)
    assert [*found] == ["dukd_version", "commit", "torch_version", "device", "threads", "begun", "ended"]
    assert found["begun"] == "1970-01-01 00:00:00 UTC"
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC", found["ended"])
    assert found["device"].startswith("cpu (")
    assert found["threads"] == torch.get_num_threads()


def test_images_are_known_by_names_and_contents_wherever_they_lie(tmp_path: Path) -> None:
    def told(folder: str, images: dict[str, int]) -> str:
        (tmp_path / folder).mkdir()
        for name, value in images.items():
            Image.new("RGB", (8, 8), (value, 0, 0)).save(tmp_path / folder / name)
        return provenance.files_of(pair_images(tmp_path / folder, 2))

    first = told("one", {"a.bmp": 1, "b.bmp": 2})
    assert re.fullmatch(r"2 images \([0-9a-f]{8}\)", first)
    assert told("elsewhere", {"a.bmp": 1, "b.bmp": 2}) == first
    assert told("alone", {"a.bmp": 1}).startswith("1 image (")
    assert len({first, told("swapped", {"a.bmp": 2, "b.bmp": 1}), told("renamed", {"a.bmp": 1, "c.bmp": 2})}) == 3
