"""A ×4 teacher for ×2 students: its answers are made half as large, as the benchmarks make LR of HR."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.cache.samples import build_job, everything, files_of, save_photos

from dukd_cache import networks
from dukd_cache.build.costs import costs
from dukd_cache.build.reuse import Tally
from dukd_cache.check import equivariance
from dukd_cache.check.ask_again import ask_again
from dukd_cache.check.known_teacher import teachers_of
from dukd_cache.check.verify import verify
from dukd_cache.commands import build as job
from dukd_cache.commands.answer import HowAsked, add
from dukd_cache.format.reader import Cache
from dukd_cache.pictures.bicubic import downscale
from dukd_cache.system.errors import SettingError


@pytest.fixture(scope="module")
def x4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "tiny_x4.safetensors"
    networks.save(networks.build("EDSR", 4, {"channels": 4, "blocks": 1}), path, {})
    return path


@pytest.fixture(scope="module")
def hr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_photos(tmp_path_factory.mktemp("photos"), [(61, 50), (73, 67)])


@pytest.fixture(scope="module")
def cache(x4: Path, hr: Path, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    asked = build_job(hr, tmp_path_factory.mktemp("cache") / "c", x4, base=3, zoom_in=2, zoom_out=2, scale=2)
    job.build_cache(*asked)
    return Cache(asked.out)


def test_answers_are_the_networks_made_smaller(cache: Cache, x4: Path) -> None:
    network = networks.load(x4)
    assert cache.manifest.scale == 2
    for view in cache.views:
        for record in everything(cache, view):
            x_1CHW = torch.from_numpy(record.input.copy()).permute(2, 0, 1)[None].float() / 255
            large = network(x_1CHW)[0].permute(1, 2, 0).mul(255).double().numpy()
            expected = downscale(np.floor(large + 0.5).astype(np.uint8), 2)
            assert record["teacher"].shape == expected.shape == (2 * len(record.input),) * 2 + (3,)
            # The network's own answer is not rounded before it is made smaller.
            assert np.abs(record["teacher"].astype(int) - expected).max() <= 1


def test_it_is_said_and_can_be_asked_again(cache: Cache, x4: Path) -> None:
    info = cache.manifest.answers["teacher"]
    assert (info.smaller, info.asked.endswith("/smaller=2")) == (2, True)
    assert "made half as large" in info.how
    assert next(costs(cache.manifest.header)).startswith("tiny_x4.safetensors is of scale 4: its answers are")
    assert verify(cache.root) == []
    known = teachers_of(cache.root, cache.manifest, x4, "cpu")["teacher"]
    assert ask_again(cache, "teacher", known, 10) == []


def test_one_is_asked_about_a_finished_cache_too(
    cache: Cache, x4: Path, hr: Path, teacher_file: Path, tmp_path: Path
) -> None:
    asked = build_job(hr, tmp_path / "one", teacher_file, base=3, zoom_in=2, zoom_out=2)
    job.build_cache(*asked)
    add(asked.out, x4, "large", HowAsked(device="cpu", batch_size=4), Tally())
    both = asked.but(out=tmp_path / "both", teacher={"teacher": teacher_file, "large": x4}, scale=2)
    job.build_cache(*both)
    assert files_of(asked.out) == files_of(both.out)
    found = Cache(asked.out)
    assert found.manifest.answers["large"].asked == cache.manifest.answers["teacher"].asked
    assert verify(found.root) == []
    assert ask_again(found, "large", teachers_of(found.root, found.manifest, x4, "cpu")["large"], 10) == []
    again = Tally()
    add(asked.out, x4, None, HowAsked(device="cpu", batch_size=4), again)
    assert again.asked == 0


def test_with_a_self_ensemble_it_is_the_same_of_turned_inputs(x4: Path, hr: Path, tmp_path: Path) -> None:
    job.build_cache(*build_job(hr, tmp_path / "c", x4, base=1, scale=2, self_ensemble=8, dtype="float32"))
    cache = Cache(tmp_path / "c")
    gaps = equivariance.measure_gaps(cache, equivariance.load_teacher(x4, cache, "cpu"), 1)
    for name, element in equivariance.ELEMENTS.items():
        if not (element.invert or element.channels):
            assert gaps["base"][name] == equivariance.Gap(0.0, 100.0)


@pytest.mark.parametrize("scale", [3, 4])
def test_other_scales_are_refused(scale: int, hr: Path, teacher_file: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=rf"`scale={scale}`: tiny_x2\.safetensors is a teacher of scale 2"):
        job.build_cache(*build_job(hr, tmp_path / "c", teacher_file, base=1, scale=scale))
    assert not (tmp_path / "c").exists()
