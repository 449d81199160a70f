"""A worker writes what the build that it works for is of, and nothing else; in this process."""

import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from tests.cache.networks.test_programs import Enlarge, as_onnx
from tests.cache.samples import build_job, files_of

from dukd_cache.build.standing import shards_of
from dukd_cache.build.worker import Job, Worker, versions
from dukd_cache.commands.config import CacheConfig
from dukd_cache.commands.prepare import Prepared, prepare, teachers_of
from dukd_cache.format.lifecycle import claim
from dukd_cache.places.folder import Folder
from dukd_cache.system.errors import CacheError, WeightsError
from dukd_cache.system.threads import SHARE


@pytest.fixture(autouse=True)
def share(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker sets it for its process."""
    monkeypatch.setenv(SHARE, str(torch.get_num_threads()))


def welcomed(config: CacheConfig) -> Worker:
    worker = Worker("ray-0", torch.get_num_threads(), partial(teachers_of, config))
    worker.hello()
    return worker


def job_of(made: Prepared, out: Path) -> Job:
    place = Folder(out)
    with place.locked():
        claim(place, made.header)
    return Job(place, made.header, (), 4, None)


@pytest.mark.parametrize("name", ["teacher", "other"])
def test_one_that_loads_another_network_is_refused(
    photos: Path, teacher_file: Path, second_teacher: Path, third_teacher: Path, tmp_path: Path, name: str
) -> None:
    """The file was replaced since the build began, or it is another one on that machine."""
    files = {each: tmp_path / f"{each}.safetensors" for each in ("teacher", "other")}
    for each, file in files.items():
        shutil.copy({"teacher": teacher_file, "other": second_teacher}[each], file)
    asked = build_job(photos, tmp_path / "cache", None, teacher=files)
    made = prepare(*asked)
    job = job_of(made, asked.out)
    shutil.copy(third_teacher, files[name])
    worker = welcomed(asked.config)
    before = files_of(asked.out)
    with pytest.raises(WeightsError, match=rf"^worker ray-0 on .*: {name}\.safetensors is another network than where"):
        next(worker.write(job, made.plan, shards_of(made.header)[:1]))
    assert files_of(asked.out) == before


def test_one_whose_build_was_given_up_writes_nothing_more(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    """Whoever gave it work was killed, and another build began there."""
    asked = build_job(photos, tmp_path / "cache", teacher_file)
    made, changed = prepare(*asked), prepare(*asked.but(seed=1))
    worker, shards = welcomed(asked.config), shards_of(made.header)
    assert [*worker.write(job_of(made, asked.out), made.plan, shards[:1])]
    job_of(changed, asked.out)
    before = files_of(asked.out)
    with pytest.raises(CacheError, match="does not see what is built there"):
        next(worker.write(None, made.plan, shards[1:2]))
    assert files_of(asked.out) == before
    worker.leave()


@pytest.mark.parametrize("of", ["numpy", "onnxruntime"])
def test_all_versions_that_a_header_names_are_compared(photos: Path, tmp_path: Path, of: str) -> None:
    """Of what draws degradations, and of what runs ONNX."""
    teacher = as_onnx(Enlarge().requires_grad_(False), tmp_path / "net.onnx")
    changes = {"numpy": {"teacher": None, "scale": 2, "zoom_in": 0, "zoom_out": 0, "degradation": "light"}}
    header = prepare(*build_job(photos, tmp_path / "cache", teacher).but(**changes.get(of, {}))).header
    assert of in header.software
    assert header.software.keys() <= versions(header.answers.values()).keys()
