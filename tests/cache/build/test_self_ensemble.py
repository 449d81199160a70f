"""A cache whose answers are means over flips, turns and inversions: what it holds, what it costs, what it may reuse."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.cache.samples import Asked, build_job, everything, files_of, save_photos

from dukd_cache import networks
from dukd_cache.build.costs import costs
from dukd_cache.build.reuse import Tally
from dukd_cache.build.teacher import Teacher
from dukd_cache.check import equivariance
from dukd_cache.check.ask_again import ask_again
from dukd_cache.check.known_teacher import teachers_of
from dukd_cache.check.verify import verify
from dukd_cache.commands import build as job
from dukd_cache.commands.inspect import table
from dukd_cache.commands.prepare import prepare
from dukd_cache.format.reader import Cache
from dukd_cache.settings.part import Part
from dukd_cache.system.errors import CacheError

STORES = {"webdataset": "webp", "zarr": "blosc"}


@pytest.fixture(scope="module")
def hr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_photos(tmp_path_factory.mktemp("photos"), [(61, 50), (73, 67)])


@pytest.fixture(scope="module")
def asked(hr: Path, teacher_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    out = tmp_path_factory.mktemp("cache") / "c"
    small = {"base": 3, "zoom_in": 2, "zoom_out": 2, "dtype": "float32", "self_ensemble": 8}
    found = build_job(hr, out, teacher_file, **small)
    job.build_cache(*found)
    return found


@pytest.fixture(scope="module")
def cache(asked: Asked) -> Cache:
    """Answers are means of eight, in float32."""
    return Cache(asked.out)


def teacher(cache: Cache, weights: Path) -> Teacher:
    return teachers_of(cache.root, cache.manifest, weights, "cpu")["teacher"]


def test_the_manifest_says_so(cache: Cache) -> None:
    info = cache.manifest.answers["teacher"]
    assert info.self_ensemble == 8
    assert info.asked == f"2/{info.fingerprint}/fp32/1/self_ensemble=8"
    assert ", fp32, mean of 8, fingerprint " in table(cache)
    assert verify(cache.root) == []


def test_answers_are_the_mean_of_the_network_s(cache: Cache, teacher_file: Path) -> None:
    network = networks.load(teacher_file)
    for view in cache.views:
        for record in everything(cache, view):
            answers = []
            for turns in range(4):
                for mirror in (1, -1):
                    turned = np.rot90(record.input, turns)[:, ::mirror]
                    x_1CHW = torch.from_numpy(turned.copy()).permute(2, 0, 1)[None].float() / 255
                    answer = network(x_1CHW)[0].permute(1, 2, 0).double().numpy()
                    answers.append(np.rot90(answer[:, ::mirror], -turns))
            assert np.abs(np.mean(answers, axis=0) - record["teacher"]).max() < 1e-6


def test_the_gap_of_flips_and_turns_is_nothing(cache: Cache, teacher_file: Path) -> None:
    """And that of a plain cache is something. What `inspect` measures is asked as the cache was."""
    gaps = equivariance.measure_gaps(cache, equivariance.load_teacher(teacher_file, cache, "cpu"), 2)
    for of_view in gaps.values():
        for name, element in equivariance.ELEMENTS.items():
            there = element.invert or element.channels
            assert (of_view[name].levels > 0.1) if there else of_view[name] == equivariance.Gap(0.0, 100.0)


def test_of_sixteen_inversion_leaves_the_last_digit(hr: Path, teacher_file: Path, tmp_path: Path) -> None:
    small = {"base": 3, "zoom_in": 0, "zoom_out": 0, "dtype": "float32", "self_ensemble": 16}
    job.build_cache(*build_job(hr, tmp_path / "c", teacher_file, **small))
    sixteen = Cache(tmp_path / "c")
    gaps = equivariance.measure_gaps(sixteen, equivariance.load_teacher(teacher_file, sixteen, "cpu"), 4)["base"]
    for name, element in equivariance.ELEMENTS.items():
        if not element.channels:
            assert gaps[name].levels < 1e-4
            assert element.invert or gaps[name] == equivariance.Gap(0.0, 100.0)


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_coarser_answers_are_the_mean_rounded_once(cache: Cache, asked: Asked, tmp_path: Path, dtype: str) -> None:
    coarse = asked.but(out=tmp_path / "c", dtype=dtype)
    job.build_cache(*coarse)
    for view in cache.views:
        for fine, rounded in zip(everything(cache, view), everything(Cache(coarse.out), view), strict=True):
            levels = np.floor(fine["teacher"] * np.float32(255) + np.float32(0.5)).astype(np.uint8)
            assert np.array_equal(rounded["teacher"], levels if dtype == "uint8" else fine["teacher"].astype(dtype))


def test_the_teacher_is_asked_again_in_the_same_way(cache: Cache, teacher_file: Path) -> None:
    again = teacher(cache, teacher_file)
    assert again.info == cache.manifest.answers["teacher"]
    assert ask_again(cache, "teacher", again, 100) == []


def test_means_and_plain_answers_are_never_mixed(cache: Cache, asked: Asked, tmp_path: Path) -> None:
    total = sum(map(cache.count, cache.views))
    tally = Tally()
    plain = asked.but(out=tmp_path / "plain", self_ensemble=1, reuse=(asked.out,))
    job.build_cache(*plain, tally)
    assert tally == Tally(asked=total)
    assert Cache(plain.out).manifest.answers["teacher"].asked.endswith("/fp32/1")
    tally = Tally()
    means = asked.but(out=tmp_path / "means", reuse=(asked.out, plain.out))
    job.build_cache(*means, tally)
    assert tally == Tally(reused=total)
    assert files_of(means.out) == files_of(asked.out)
    with pytest.raises(CacheError, match=r"holds a cache with teacher\.self_ensemble = 1, asked for 8; choose"):
        job.build_cache(*asked.but(out=plain.out))


@pytest.mark.parametrize("store", STORES)
def test_parts_write_the_same_bytes(asked: Asked, tmp_path: Path, store: str) -> None:
    def of(folder: str) -> Asked:
        return asked.but(out=tmp_path / folder, store=store, codec=STORES[store], dtype="uint8", shard_size=1)

    job.build_cache(*of("whole"))
    for number in (2, 1):
        job.build_cache(*of("parts"), Tally(), Part(number, 2))
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")


def test_plan_and_build_say_what_it_costs(asked: Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "self_ensemble=8: the teacher is called 8 times a record"
    assert line in job.forecast(*asked.but(out=tmp_path / "c")).notes
    assert line not in job.forecast(*asked.but(out=tmp_path / "c", self_ensemble=1)).notes
    capsys.readouterr()
    job.build_cache(*asked.but(out=tmp_path / "c", base=1, zoom_in=0, zoom_out=0))
    assert line in capsys.readouterr().err.splitlines()
    assert list(costs(prepare(*asked).header)) == [line]
