"""What `dukd-cache build` makes of its options: answers, pairs, LR files, and settings that cannot be."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.cache.samples import build_job, everything, same

from dukd_cache import networks
from dukd_cache.commands import build as job
from dukd_cache.format import manifest
from dukd_cache.format.reader import Cache
from dukd_cache.pictures.sources import find_images, read_rgb, read_scene
from dukd_cache.plan.views import VIEWS
from dukd_cache.system.errors import ImageError, SettingError, WeightsError


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_answers_are_the_networks_own(photos: Path, teacher_file: Path, tmp_path: Path, dtype: str) -> None:
    job.build_cache(*build_job(photos, tmp_path / "cache", teacher_file, dtype=dtype))
    cache, network = Cache(tmp_path / "cache"), networks.load(teacher_file)
    for view in VIEWS:
        records = everything(cache, view)
        input_NCpp = torch.from_numpy(np.stack([record.input for record in records])).permute(0, 3, 1, 2) / 255
        for record, direct in zip(records, network(input_NCpp).permute(0, 2, 3, 1).numpy(), strict=True):
            assert record["teacher"].dtype == dtype
            if dtype == "uint8":
                assert np.abs(record["teacher"].astype(int) - direct * 255).max() < 0.51
            else:
                rounding = 2**-11 if dtype == "float16" else 0.0
                assert np.abs(record["teacher"] - direct).max() < rounding + 1e-6
            assert np.ptp(direct) > 0.1, "an answer of one colour would prove nothing"


def test_lower_precision_is_stored_and_close(
    photos: Path, teacher_file: Path, small_cache: Path, tmp_path: Path
) -> None:
    found = job.build_cache(*build_job(photos, tmp_path / "cache", teacher_file, precision="bf16"))
    assert found.answers["teacher"].precision == "bf16"
    exact, close = Cache(small_cache).read("base", 0), Cache(tmp_path / "cache").read("base", 0)
    difference = np.abs(exact["teacher"].astype(int) - close["teacher"])
    assert 0 < difference.max() < 16
    assert exact.info.fingerprints != close.info.fingerprints


@pytest.mark.slow
def test_a_compiled_teacher_answers_alike(photos: Path, teacher_file: Path, small_cache: Path, tmp_path: Path) -> None:
    job.build_cache(*build_job(photos, tmp_path / "cache", teacher_file, compile=True))
    plain, compiled = Cache(small_cache), Cache(tmp_path / "cache")
    for view in VIEWS:
        for one, other in zip(everything(plain, view), everything(compiled, view), strict=True):
            assert one.info == other.info, "an answer of either serves the other's rebuild"
            assert np.abs(one["teacher"].astype(int) - other["teacher"]).max() <= 1


def test_lr_images_of_the_users_own_are_the_inputs(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    lr = tmp_path / "lr"
    lr.mkdir()
    for path in find_images(photos):
        Image.fromarray(read_scene(path, None, 2).lr // 2).save(lr / f"{path.stem}x2.png")
    found = job.build_cache(*build_job(photos, tmp_path / "cache", teacher_file, lr=lr))
    assert found.degradation.template == "{stem}x{scale}"
    cache = Cache(tmp_path / "cache")
    for record in everything(cache, "base"):
        pixels = read_rgb(lr / f"{Path(record.info.image).stem}x2.png")
        x, y = record.info.x, record.info.y
        assert np.array_equal(record.input, pixels[y : y + 12, x : x + 12])


def test_a_changed_lr_image_makes_another_cache(photos: Path, tmp_path: Path) -> None:
    lr, out = tmp_path / "lr", tmp_path / "cache"
    lr.mkdir()
    for path in find_images(photos):
        Image.fromarray(read_scene(path, None, 2).lr).save(lr / f"{path.stem}x2.png")
    pairs = build_job(photos, out, None, lr=lr)
    job.build_cache(*pairs)
    before = Cache(out)
    inputs = [record.input for record in everything(before, "base")]
    Image.fromarray(read_rgb(lr / "photo_2x2.png") // 2).save(lr / "photo_2x2.png")
    after = job.build_cache(*pairs)
    assert after.images.sha256 != before.manifest.images.sha256
    for index, record in enumerate(everything(Cache(out), "base")):
        assert np.array_equal(record.input, inputs[index] // 2 if index >= 12 else inputs[index])


@pytest.mark.parametrize("wrong", ["photo_0x2.png", "photo_2x2.png"])
def test_lr_images_of_another_scale_are_refused(photos: Path, tmp_path: Path, wrong: str) -> None:
    lr = tmp_path / "lr"
    lr.mkdir()
    for path in find_images(photos):
        name = f"{path.stem}x2.png"
        Image.fromarray(read_scene(path, None, 3 if name == wrong else 2).lr).save(lr / name)
    with pytest.raises(ImageError, match=rf"{wrong}: expected .* found .* is the scale right"):
        job.build_cache(*build_job(photos, tmp_path / "cache", None, lr=lr))
    assert not (tmp_path / "cache" / manifest.MANIFEST).exists()
    if wrong == "photo_0x2.png":
        assert not (tmp_path / "cache").exists(), "the first pair is looked at before anything is begun"


def test_pairs_without_a_teacher(photos: Path, tmp_path: Path) -> None:
    found = job.build_cache(*build_job(photos, tmp_path / "cache", None, scale=3))
    assert not found.answers
    assert found.scale == 3
    cache = Cache(tmp_path / "cache")
    assert cache.views == ("base",)
    assert cache.count("base") == 3 * 6
    for record in everything(cache, "base"):
        scene = read_scene(photos / record.info.image, None, 3)
        x, y = record.info.x, record.info.y
        assert "teacher" not in record
        assert np.array_equal(record.input, scene.lr[y : y + 12, x : x + 12])
        assert same(record["truth"], scene.hr[3 * y : 3 * y + 36, 3 * x : 3 * x + 36])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"scale": None}, "`teacher=WEIGHTS`, or `scale=N`"),
        ({"scale": 5}, "setting scale: .* from 2 to 4 or null, got 5"),
        ({"zoom_in": 3}, "holds pairs only"),
        ({"base": 0}, "no view left"),
        ({"base": -1}, "setting views.base.crops: .*, got -1"),
        ({"patch": 0}, "setting patch: .*, got 0"),
        ({"patch": -8}, "setting patch: .*, got -8"),
        ({"zoom_out_patch": 0}, "setting views.zoom_out.patch: .*, got 0"),
    ],
)
def test_impossible_settings_are_named(photos: Path, tmp_path: Path, changes: dict[str, int | None], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        job.build_cache(*build_job(photos, tmp_path / "cache", None, **changes))
    assert not (tmp_path / "cache").exists()


def test_a_scale_that_is_not_the_teachers_is_refused(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"`scale=4`: .*tiny_x2\.safetensors is a teacher of scale 2"):
        job.build_cache(*build_job(photos, tmp_path / "cache", teacher_file, scale=4))
    job.build_cache(*build_job(photos, tmp_path / "cache", teacher_file, scale=2))


def test_half_precision_on_a_cpu_is_refused(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="`precision=fp16`: a CPU computes in fp32 or bf16"):
        job.build_cache(*build_job(photos, tmp_path / "cache", teacher_file, precision="fp16"))


def test_a_folder_is_no_weights_file(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="a folder"):
        job.build_cache(*build_job(photos, tmp_path / "cache", photos))


def test_shards_hold_about_as_many_megabytes_as_asked(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    """Decoded: 12×12 input, 24×24 answer, 24×24 truth where there is one."""
    found = job.build_cache(*build_job(photos, tmp_path / "cache", teacher_file, shard_size=1))
    assert found.view("base").shard_records == 1_000_000 // (3 * (144 + 576 + 576))
    assert found.view("zoom_in").shard_records == 1_000_000 // (3 * (144 + 576))
    assert found.view("zoom_out").shard_records == 1_000_000 // (3 * (36 + 144 + 144))


def test_each_view_can_have_inputs_of_its_own_side(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    asked = build_job(photos, tmp_path / "c", teacher_file, base_patch=10, zoom_in_patch=14, zoom_out_patch=8)
    job.build_cache(*asked)
    cache = Cache(tmp_path / "c")
    assert {view: len(cache.read(view, 0).input) for view in cache.views} == {"base": 10, "zoom_in": 14, "zoom_out": 8}
    assert cache.manifest.patch == 12
