"""What `inspect` measures: PSNR and bytes against plain computations, gaps of teachers whose symmetry is known."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.cache.samples import build_job, everything, index_of, photo, save_photos
from torch import Tensor

from dukd_cache import cli, networks
from dukd_cache.build.teacher import Teacher
from dukd_cache.check import equivariance, quality
from dukd_cache.check.quality import Distribution
from dukd_cache.commands import build as job
from dukd_cache.commands.inspect import measured
from dukd_cache.format.header import AnswerInfo
from dukd_cache.format.reader import Cache
from dukd_cache.pictures import symmetries
from dukd_cache.pictures.bicubic import upscale
from dukd_cache.system.errors import AnswerError, CacheError, SettingError, ShardCorrupt

peak_signal_noise_ratio = pytest.importorskip("skimage.metrics").peak_signal_noise_ratio

ALL = 10_000
"""More records than there are."""


@pytest.fixture
def cache(small_cache: Path) -> Cache:
    return Cache(small_cache)


def five_numbers(values: list[float]) -> list[float]:
    """By sorting: position (n−1)·q, in a straight line between neighbours."""
    ordered = sorted(values)
    found = []
    for q in (0, 0.25, 0.5, 0.75, 1):
        place = (len(ordered) - 1) * q
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        found.append(ordered[low] + (place - low) * (ordered[high] - ordered[low]))
    return [*found, sum(values) / len(values)]


def numbers(found: Distribution) -> list[float]:
    return [found.min, found.lower_quartile, found.median, found.upper_quartile, found.max, found.mean]


def test_psnr_is_that_of_scikit_image() -> None:
    one, other = photo(24, 16), photo(24, 16, seed=1)
    expected = peak_signal_noise_ratio(one, other, data_range=255)
    assert quality.psnr(one.astype(float), other.astype(float)) == pytest.approx(expected, rel=1e-12)
    assert quality.psnr(one.astype(float), one.astype(float)) == quality.PSNR_OF_EQUALS


def test_each_view_is_measured_against_what_it_has(cache: Cache) -> None:
    found = quality.measure_quality(cache, ALL)
    assert {view: set(of.psnr) for view, of in found.items()} == {
        "base": {"teacher-truth", "teacher-bicubic", "truth-bicubic"},
        "zoom_in": {"teacher-bicubic"},
        "zoom_out": {"teacher-truth", "teacher-bicubic", "truth-bicubic"},
    }
    for view, of in found.items():
        records = everything(cache, view)
        assert of.sampled == len(records)
        for pair, distribution in of.psnr.items():
            values = []
            for record in records:
                pictures = {**record, "bicubic": upscale(record.input, 2)}
                one, other = (pictures[name] for name in pair.split("-"))
                values.append(peak_signal_noise_ratio(one, other, data_range=255))
            assert numbers(distribution) == pytest.approx(five_numbers(values), rel=1e-9)
            assert distribution.min < distribution.max


def test_bytes_are_those_of_the_members(cache: Cache, small_cache: Path) -> None:
    rows = index_of(small_cache, "base-000000.tar")
    found = quality.measure_quality(cache, ALL)["base"].bytes
    assert set(found) == {"input", "teacher", "truth"}
    for part, distribution in found.items():
        values = rows[f"{part}.length"].astype(float).tolist()
        assert numbers(distribution) == pytest.approx(five_numbers(values), rel=1e-12)


def test_a_sample_is_spread_over_the_view(cache: Cache) -> None:
    picked = quality.measure_quality(cache, 3)["base"]
    assert picked.sampled == 3
    wanted = [cache.stored_bytes("base", index)["truth"] for index in (3, 9, 15)]
    assert numbers(picked.bytes["truth"]) == pytest.approx(five_numbers([float(size) for size in wanted]))


def test_pairs_are_measured_without_a_teacher(photos: Path, tmp_path: Path) -> None:
    job.build_cache(*build_job(photos, tmp_path / "cache", None))
    found = quality.measure_quality(Cache(tmp_path / "cache"), ALL)
    assert set(found["base"].psnr) == {"truth-bicubic"}
    assert set(found["base"].bytes) == {"input", "truth"}


def test_float16_answers_are_not_rounded_first(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    job.build_cache(*build_job(photos, tmp_path / "cache", teacher_file, dtype="float16", zoom_in=0, zoom_out=0))
    fine = Cache(tmp_path / "cache")
    values = [
        peak_signal_noise_ratio(record["truth"] / 255, record["teacher"].astype(float), data_range=1)
        for record in everything(fine, "base")
    ]
    assert numbers(quality.measure_quality(fine, ALL)["base"].psnr["teacher-truth"]) == pytest.approx(
        five_numbers(values)
    )


def test_flat_pictures_give_numbers_not_infinities(tmp_path: Path) -> None:
    (tmp_path / "hr").mkdir()
    Image.new("RGB", (40, 40), (9, 99, 200)).save(tmp_path / "hr/flat.png")
    job.build_cache(*build_job(tmp_path / "hr", tmp_path / "cache", None))
    flat = Cache(tmp_path / "cache")
    found = quality.measure_quality(flat, ALL)
    assert found["base"].psnr == {}
    assert found["base"].equal == found["base"].sampled
    assert "PSNR without records that hold equal pictures" in quality.table(found)
    json.dumps(quality.to_json(found), allow_nan=False)


def test_flat_crops_do_not_raise_the_mean(photos: Path, tmp_path: Path) -> None:
    job.build_cache(*build_job(photos, tmp_path / "without", None))
    expected = quality.measure_quality(Cache(tmp_path / "without"), ALL)["base"]
    shutil.copytree(photos, tmp_path / "hr")
    Image.new("RGB", (40, 40), (9, 99, 200)).save(tmp_path / "hr/flat.png")
    job.build_cache(*build_job(tmp_path / "hr", tmp_path / "cache", None))
    found = quality.measure_quality(Cache(tmp_path / "cache"), ALL)["base"]
    assert found.sampled > expected.sampled
    assert found.equal == expected.equal + found.sampled - expected.sampled
    assert found.psnr == expected.psnr


def test_damage_is_not_measured(photos: Path, tmp_path: Path) -> None:
    job.build_cache(*build_job(photos, tmp_path / "cache", None))
    shard = tmp_path / "cache/base-000000.tar"
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ShardCorrupt):
        quality.measure_quality(Cache(tmp_path / "cache"), ALL)


def test_no_sample_is_refused(cache: Cache, teacher_file: Path) -> None:
    with pytest.raises(SettingError, match="`sample` must be positive, got 0"):
        quality.measure_quality(cache, 0)
    with pytest.raises(SettingError, match="`sample` must be positive, got -1"):
        equivariance.measure_gaps(cache, equivariance.load_teacher(teacher_file, cache, "cpu"), -1)


PLAINLY = AnswerInfo(file="", architecture="", settings={}, fingerprint="", precision="fp32", window=1)


class Enlarger(Teacher):
    """Answers by nearest neighbours, and, where `lean` is not 0, adds that much where the left half is."""

    def __init__(self, lean: float = 0.0, factor: float = 1.0) -> None:
        object.__setattr__(self, "device", torch.device("cpu"))
        object.__setattr__(self, "info", PLAINLY)
        object.__setattr__(self, "lean", lean)
        object.__setattr__(self, "factor", factor)

    def answers(self, input_NCpp: Tensor) -> Tensor:
        enlarged = input_NCpp.repeat_interleave(2, 2).repeat_interleave(2, 3) * self.factor  # type: ignore[attr-defined]
        enlarged[..., : enlarged.shape[-1] // 2] += self.lean  # type: ignore[attr-defined]
        return enlarged


def test_a_symmetric_teacher_has_no_gap(cache: Cache) -> None:
    found = equivariance.measure_gaps(cache, Enlarger(), 5)
    assert list(found) == ["base", "zoom_in", "zoom_out"]
    for gaps in found.values():
        assert list(gaps) == [*symmetries.elements(), *symmetries.channel_orders()]
        for gap in gaps.values():
            assert gap.levels < 1e-4
            assert gap.psnr == quality.PSNR_OF_EQUALS


def test_a_teacher_that_leans_to_the_left_shows_it_where_left_is_moved(cache: Cache) -> None:
    """By the amount that was added: on the whole picture under hflip, on half of it under transpose, never by vflip."""
    lean = 10.0
    for gaps in equivariance.measure_gaps(cache, Enlarger(lean=lean / 255), 4).values():
        assert gaps["identity"].levels == 0
        assert gaps["vflip"].levels == pytest.approx(0, abs=1e-4)
        assert gaps["hflip"].levels == pytest.approx(lean, abs=1e-3)
        assert gaps["hflip"].psnr == pytest.approx(20 * np.log10(255 / lean), abs=1e-3)
        assert gaps["transpose"].levels == pytest.approx(lean / 2, abs=1e-3)
        assert gaps["hflip+vflip"].levels == pytest.approx(lean, abs=1e-3)


def test_a_teacher_that_darkens_shows_it_under_inversion_only(cache: Cache) -> None:
    """T(x) = 0.9·x: 1 − 0.9·(1 − x) − 0.9·x = 0.1."""
    for gaps in equivariance.measure_gaps(cache, Enlarger(factor=0.9), 4).values():
        for name, gap in gaps.items():
            assert gap.levels == pytest.approx(25.5 if "invert" in name else 0, abs=1e-3)


def test_a_teacher_of_clean_inputs_is_measured_on_those(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    """Not on what the student sees instead of them."""
    counts = {"base": 2, "zoom_in": 2, "zoom_out": 2}
    asked = build_job(photos, tmp_path / "clean", teacher_file, degradation="light", answers_of="clean", **counts)
    plain = build_job(photos, tmp_path / "plain", teacher_file, **counts)
    gaps = []
    for each in (asked, plain):
        job.build_cache(*each)
        built = Cache(each.out)
        gaps.append(equivariance.measure_gaps(built, equivariance.load_teacher(teacher_file, built, "cpu"), 2))
    assert gaps[0] == gaps[1]


class Endless(torch.nn.Module):
    """A network whose answers are infinite."""

    def forward(self, image_NCHW: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(image_NCHW, scale_factor=2) + torch.inf


def test_answers_that_are_not_finite_are_named_not_measured(cache: Cache, teacher_file: Path) -> None:
    asked = equivariance.load_teacher(teacher_file, cache, "cpu")
    broken = replace(asked, network=asked.network.with_module(Endless()))
    with pytest.raises(AnswerError, match=r": record \d+ of base: tiny_x2\.safetensors: EDSR answers"):
        equivariance.measure_gaps(cache, broken, 4)


def test_a_real_network_is_asked_as_the_cache_asked_it(cache: Cache, teacher_file: Path) -> None:
    """Against the network itself, one element done by hand with NumPy."""
    found = equivariance.measure_gaps(cache, equivariance.load_teacher(teacher_file, cache, "cpu"), ALL)
    network = networks.load(teacher_file)
    x = np.stack([record.input for record in everything(cache, "zoom_in")]).transpose(0, 3, 1, 2) / np.float32(255)
    turned = network(torch.from_numpy(np.ascontiguousarray(x[..., ::-1].transpose(0, 1, 3, 2)))).numpy()
    back = turned.transpose(0, 1, 3, 2)[..., ::-1]
    expected = np.abs(back - network(torch.from_numpy(x)).numpy()).mean() * 255
    assert expected > 0.1
    assert found["zoom_in"]["hflip+transpose"].levels == pytest.approx(expected, rel=1e-4)
    assert found["zoom_in"]["identity"].levels == 0


def test_another_teacher_is_refused_with_both_named(cache: Cache, teacher_file: Path, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        networks.save(networks.build("EDSR", 2, {"channels": 8, "blocks": 1}), tmp_path / "other.safetensors", {})
    asked = cache.manifest.answers["teacher"]
    with pytest.raises(CacheError, match=rf"fingerprint {asked.fingerprint[:12]}, other\.safetensors has"):
        equivariance.load_teacher(tmp_path / "other.safetensors", cache, "cpu")
    assert equivariance.load_teacher(teacher_file, cache, "cpu").info == asked


def test_a_cache_of_pairs_takes_any_teacher_of_its_scale(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    for scale in (2, 3):
        job.build_cache(*build_job(photos, tmp_path / f"{scale}", None, scale=scale))
    pairs = Cache(tmp_path / "2")
    assert set(equivariance.measure_gaps(pairs, equivariance.load_teacher(teacher_file, pairs, "cpu"), 1)) == {"base"}
    with pytest.raises(SettingError, match=r"tiny_x2\.safetensors`: scale 2, but .* is of 3"):
        equivariance.load_teacher(teacher_file, Cache(tmp_path / "3"), "cpu")


def test_both_tables_and_json_say_the_same(cache: Cache, teacher_file: Path) -> None:
    both = measured(cache, 2, teacher_file, "cpu")
    facts: dict[str, Any] = json.loads(json.dumps(both.facts, allow_nan=False))
    psnrs, gaps = (text.replace("|", " ").replace("\n  ", "\n") for text in both.tables)
    for view in cache.views:
        for pair, row in facts["quality"][view]["psnr"].items():
            line = next(line for line in psnrs.splitlines() if line.split()[:2] == [view, pair])
            assert line.split()[2:] == [f"{value:.2f}" for value in row.values()]
        for part, row in facts["quality"][view]["bytes"].items():
            line = next(line for line in psnrs.splitlines() if line.split()[:2] == [view, part])
            assert line.split()[2:] == [f"{value:.0f}" for value in row.values()]
    assert len(equivariance.ELEMENTS) == 21
    for name in equivariance.ELEMENTS:
        line = next(line for line in gaps.splitlines() if line.startswith(f"{name} "))
        of_views = [facts["equivariance"][view][name] for view in cache.views]
        assert line.removeprefix(name).split() == [
            text for gap in of_views for text in (f"{gap['levels']:.3f}", f"{gap['psnr']:.2f}")
        ]


def test_a_verdict_names_what_a_training_may_draw() -> None:
    """A gap may have the energy of what the answers have beyond bicubic."""
    gaps = {name: equivariance.Gap(1.0, 40.0) for name in equivariance.ELEMENTS}
    assert equivariance.verdict(gaps, 40.0, "base") == "safe on base: hflip, vflip, transpose, invert, permute"
    gaps |= {"invert": equivariance.Gap(2.0, 39.9), "channels GBR": equivariance.Gap(3.0, 35.0)}
    assert equivariance.trusted(gaps, 40.0) == {
        "hflip": True,
        "vflip": True,
        "transpose": True,
        "invert": False,
        "permute": False,
    }
    said = "safe on base: hflip, vflip, transpose; not invert (39.9 dB), permute (35.0 dB): below 40.0"
    assert equivariance.verdict(gaps, 40.0, "base") == said
    assert equivariance.verdict(gaps, 90.0, "base").startswith("safe on base: none; not hflip (40.0 dB), ")


def test_sample_0_measures_nothing(cache: Cache, teacher_file: Path) -> None:
    nothing = measured(cache, 0, None, "cpu")
    assert (nothing.facts, nothing.tables) == ({}, ())
    with pytest.raises(SettingError, match="`sample=0`: with `teacher`, expected at least 1"):
        measured(cache, 0, teacher_file, "cpu")


def test_the_command(
    small_cache: Path, teacher_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: object) -> tuple[object, str]:
        monkeypatch.setattr("sys.argv", ["dukd-cache", "inspect", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, capsys.readouterr().out

    code, out = run(small_cache, "--json", "--sample", 2, "--teacher", teacher_file, "--device", "cpu")
    found = json.loads(out)
    assert code == 0
    assert set(found["quality"]) == set(found["equivariance"]) == {"base", "zoom_in", "zoom_out"}
    assert found["equivariance"]["base"]["identity"] == {"levels": 0.0, "psnr": 100.0}
    assert found["quality"]["base"]["sampled"] == 2
    assert found["trusted"].keys() == found["quality"].keys()
    code, out = run(small_cache)
    assert code == 0
    assert "measured on 18 of 18 base, 15 of 15 zoom_in" in out
    assert "F⁻¹" not in out
    assert run(small_cache, "--sample", -1)[0] == 2


def test_more_records_than_a_batch(tmp_path: Path, teacher_file: Path) -> None:
    """The mean over records does not depend on how they are batched."""
    hr = save_photos(tmp_path / "hr", [(60, 60)])
    job.build_cache(*build_job(hr, tmp_path / "cache", teacher_file, base=21, zoom_in=0, zoom_out=0))
    many = Cache(tmp_path / "cache")
    asked = equivariance.load_teacher(teacher_file, many, "cpu")
    told: list[int] = []
    whole = equivariance.measure_gaps(many, asked, ALL, told.append)["base"]["hflip"]
    assert sum(told) == 21 * (1 + len(equivariance.ELEMENTS))
    x_NCpp = torch.from_numpy(np.stack([record.input for record in everything(many, "base")]))
    x_NCpp = x_NCpp.permute(0, 3, 1, 2).float() / 255
    by_hand = (asked.answers(x_NCpp.flip(-1)).flip(-1) - asked.answers(x_NCpp)).abs().mean() * 255
    assert whole.levels == pytest.approx(float(by_hand), rel=1e-4)
