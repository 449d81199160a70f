"""A cache whose teacher saw more of the images than it holds: what it saw, what is stored, what it costs and reuses."""

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.cache.samples import Asked, build_job, everything, files_of, same, save_photos

from dukd_cache import cli, networks
from dukd_cache.build.reuse import Tally
from dukd_cache.build.standing import shards_of
from dukd_cache.build.worker import Job, Worker
from dukd_cache.check.verify import verify
from dukd_cache.commands import build as job
from dukd_cache.commands.degrade import degrade_folder
from dukd_cache.commands.inspect import measured, table
from dukd_cache.commands.prepare import prepare, teachers_of
from dukd_cache.commands.verify import verify_cache
from dukd_cache.format.lifecycle import claim
from dukd_cache.format.reader import Cache
from dukd_cache.format.record import Record
from dukd_cache.pictures.bicubic import downscale
from dukd_cache.pictures.sources import read_scene
from dukd_cache.places.folder import Folder
from dukd_cache.settings.part import Part
from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import CacheError, ImageError, SettingError
from dukd_cache.system.threads import SHARE

CONTEXT = 5
STORES = {"webdataset": "webp", "zarr": "blosc"}
COUNTS = {"base": 5, "zoom_in": 4, "zoom_out": 4}


@pytest.fixture(scope="module")
def hr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images so small that crops of 12 pixels often have a context beyond the edge."""
    return save_photos(tmp_path_factory.mktemp("photos"), [(61, 50), (52, 67)])


@pytest.fixture(scope="module")
def asked(hr: Path, teacher_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    found = build_job(hr, tmp_path_factory.mktemp("cache") / "c", teacher_file, context=CONTEXT, **COUNTS)
    job.build_cache(*found)
    return found


@pytest.fixture(scope="module")
def cache(asked: Asked) -> Cache:
    """The teacher saw 5 pixels around each input."""
    return Cache(asked.out)


def seen(record: Record, hr: Path) -> U8:
    """What the teacher was asked, by NumPy's own padding of whole images."""
    scene, info = read_scene(hr / record.info.image, None, 2), record.info
    source, by = (scene.hr if info.view == "zoom_in" else scene.lr), CONTEXT * (2 if info.view == "zoom_out" else 1)
    side = {"base": 12, "zoom_in": 12, "zoom_out": 2 * 6}[info.view] + 2 * by
    whole = np.pad(source, ((by, by), (by, by), (0, 0)), mode="reflect")[info.y : info.y + side, info.x : info.x + side]
    return downscale(whole, 2) if info.view == "zoom_out" else whole


def records(cache: Cache) -> Iterator[Record]:
    return (record for view in cache.views for record in everything(cache, view))


def test_the_centre_of_what_it_answers_is_stored(cache: Cache, hr: Path, teacher_file: Path) -> None:
    network = networks.load(teacher_file)
    for record in records(cache):
        x_1CHW = torch.from_numpy(np.ascontiguousarray(seen(record, hr))).permute(2, 0, 1)[None].float() / 255
        answer = network(x_1CHW)[0, :, 2 * CONTEXT : -2 * CONTEXT, 2 * CONTEXT : -2 * CONTEXT].permute(1, 2, 0)
        assert record["teacher"].shape == answer.shape
        assert np.abs(answer.numpy() * 255 - record["teacher"]).max() < 0.51


def test_all_else_is_as_without(cache: Cache, asked: Asked, tmp_path: Path) -> None:
    job.build_cache(*asked.but(out=tmp_path / "c", context=0))
    differ = 0
    for one, other in zip(records(cache), records(Cache(tmp_path / "c")), strict=True):
        assert one.info.model_copy(update={"fingerprints": {}}) == other.info.model_copy(update={"fingerprints": {}})
        assert all(same(one[name], other[name]) for name in one if name != "teacher")
        differ += not same(one["teacher"], other["teacher"])
    assert differ > 20


def test_a_fingerprint_covers_all_that_the_teacher_saw(cache: Cache, hr: Path) -> None:
    """Computed here from the documented parts."""
    info = cache.manifest.answers["teacher"]
    assert info.context == CONTEXT
    assert ", fp32, context 5, fingerprint " in table(cache)
    for record in records(cache):
        pixels = seen(record, hr)
        parts = f"2/{info.fingerprint}/fp32/1/context=5/{pixels.shape}/".encode() + pixels.tobytes()
        assert record.info.fingerprints == {"teacher": hashlib.sha256(parts).hexdigest()}


@pytest.mark.parametrize("context", [1, 40])
def test_a_change_around_a_crop_asks_again(teacher_file: Path, tmp_path: Path, context: int) -> None:
    """Of an LR file, as an HR file with another pixel is another image, whose crops lie elsewhere."""
    hr = save_photos(tmp_path / "hr", [(60, 60), (64, 60)])
    degrade_folder(hr, tmp_path / "lr", 2)
    counts = {"base": 1, "zoom_in": 1, "zoom_out": 0}
    plain = build_job(hr, tmp_path / "plain", teacher_file, lr=tmp_path / "lr", **counts)
    around = plain.but(out=tmp_path / "around", context=context)
    for each in (plain, around):
        job.build_cache(*each)
    record = Cache(around.out).read("base", 0)
    changed = tmp_path / "lr" / "photo_0x2.png"
    pixels = np.asarray(Image.open(changed)).copy()
    x, y = (at + 12 if at + 12 < 30 else at - 1 for at in (record.info.x, record.info.y))  # touches a corner of it
    pixels[y, x] ^= 1
    Image.fromarray(pixels).save(changed)
    for each, expected in ((plain, Tally(reused=4)), (around, Tally(reused=3, asked=1))):
        tally = Tally()
        job.build_cache(*each, tally)
        assert tally == expected
        fresh = each.but(out=tmp_path / f"fresh-{each.out.name}")
        job.build_cache(*fresh)
        assert files_of(each.out) == files_of(fresh.out)


def test_answers_of_another_context_are_never_taken(cache: Cache, asked: Asked, tmp_path: Path) -> None:
    total = sum(map(cache.count, cache.views))
    for context, expected in ((0, Tally(asked=total)), (4, Tally(asked=total)), (CONTEXT, Tally(reused=total))):
        tally = Tally()
        other = asked.but(out=tmp_path / f"{context}", context=context, reuse=(asked.out,))
        job.build_cache(*other, tally)
        assert tally == expected
    assert files_of(other.out) == files_of(asked.out)
    with pytest.raises(CacheError, match=r"holds a cache with teacher\.context = 5, asked for 4; choose another"):
        job.build_cache(*asked.but(context=4))


def test_a_changed_build_asks_for_what_is_new(asked: Asked, tmp_path: Path) -> None:
    changed = asked.but(out=tmp_path / "c", base=3)
    job.build_cache(*changed)
    tally = Tally()
    job.build_cache(*changed.but(base=5, codec="png"), tally)
    assert tally == Tally(reused=2 * 11, asked=2 * 2)
    job.build_cache(*asked.but(out=tmp_path / "fresh", codec="png"))
    assert files_of(changed.out) == files_of(tmp_path / "fresh")


@pytest.mark.parametrize("store", STORES)
def test_parts_write_the_same_bytes_in_both_stores(cache: Cache, asked: Asked, tmp_path: Path, store: str) -> None:
    def of(folder: str) -> Asked:
        return asked.but(out=tmp_path / folder, store=store, codec=STORES[store], self_ensemble=8)

    job.build_cache(*of("whole"))
    for number in (2, 1):
        job.build_cache(*of("parts"), Tally(), Part(number, 2))
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")
    whole = Cache(tmp_path / "whole")
    assert verify(whole.root) == []
    assert whole.manifest.answers["teacher"].asked.endswith("/1/self_ensemble=8/context=5")
    for one, other in zip(records(cache), records(whole), strict=True):
        assert not same(one["teacher"], other["teacher"])


def test_a_worker_of_a_cluster_asks_alike(asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SHARE, "1")  # which a worker sets, to be as before afterwards
    here = asked.but(out=tmp_path / "c")
    made, place = prepare(*here), Folder(here.out)
    claim(place, made.header)
    worker = Worker("ray-0", torch.get_num_threads(), partial(teachers_of, here.config))
    worker.hello()
    task = Job(place, made.header, (), here.config.batch_size, None)
    said = [*worker.write(task, made.plan, shards_of(made.header))]
    worker.leave()
    assert len(said) == 3
    tally = Tally()
    job.build_cache(*here, tally)
    assert tally == Tally(kept=26)
    assert files_of(here.out) == files_of(asked.out)


@pytest.mark.parametrize(
    ("context", "given", "sides"),
    [(0, {}, (48, 24)), (4, {}, (48, 24)), (3, {}, (50, 26)), (3, {"patch": 42}, (42, 26)), (8, {"patch": 9}, (9, 8))],
)
def test_default_sides_make_whole_windows_with_their_context(
    context: int, given: dict[str, int], sides: tuple[int, int], tmp_path: Path
) -> None:
    weights = tmp_path / "swin.safetensors"
    settings = {"embed_dim": 8, "depths": [1], "num_heads": [2], "window_size": 8}
    networks.save(networks.build("SwinIR", 2, settings), weights, {})
    hr = save_photos(tmp_path / "hr", [(300, 280)])
    small = {"patch": None, "context": context, "base": 1, "zoom_in": 0, "zoom_out": 1} | given
    asked = build_job(hr, tmp_path / "c", weights, **small)
    made = prepare(*asked)
    assert (made.plan.spec.patch, made.plan.spec.view("zoom_out").input_side) == sides
    said = list(job.between_windows(asked.config, 8))
    if (sides[0] + 2 * context) % 8 == 0:
        assert said == []
    else:
        assert said == [
            "patch=9: with 8 pixels around no multiple of the teacher's window of 8, so its inputs are mirrored to 32 "
            "pixels and its answers are worse than at 8 or 16"
        ]


def test_plan_and_build_say_what_it_costs(asked: Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = (5 * 22**2 + 4 * 22**2 + 4 * 16**2) / (5 * 12**2 + 4 * 12**2 + 4 * 6**2)
    line = (
        "context=5: the teacher sees 22×22 pixels for 12×12 of base, 22×22 pixels for 12×12 of zoom_in, "
        f"16×16 pixels for 6×6 of zoom_out: {times:.1f} times as many"
    )
    assert line in job.forecast(*asked.but(out=tmp_path / "c")).notes
    capsys.readouterr()
    job.build_cache(*asked.but(out=tmp_path / "c"))
    assert line in capsys.readouterr().err.splitlines()


# asked again


def test_it_is_asked_again_about_what_it_saw(asked: Asked, hr: Path, teacher_file: Path, tmp_path: Path) -> None:
    assert verify_cache(asked.out, teacher_file, 100, "cpu", hr) == []
    assert verify_cache(asked.out, teacher_file, 100, "cpu", [hr]) == []
    plain = asked.but(out=tmp_path / "plain", context=0)
    job.build_cache(*plain)
    assert verify_cache(plain.out, teacher_file, 100, "cpu", hr) == []


def test_without_its_images_it_cannot_be_asked_again(
    asked: Asked, teacher_file: Path, hr: Path, tmp_path: Path
) -> None:
    def refused(error: type[Exception], message: str, *more: object) -> None:
        with pytest.raises(error, match=message):
            verify_cache(asked.out, teacher_file, 100, "cpu", *more)  # type: ignore[arg-type]

    assert verify_cache(asked.out, None, 100, "cpu") == []
    refused(SettingError, r"its teacher saw more of the images than it holds; give `hr`, the images that it was built")
    refused(SettingError, r"`lr`: the LR images of .* were made of HR: leave it out", hr, hr)
    few = save_photos(tmp_path / "few", [(61, 50)])
    refused(ImageError, r"photo_1\.png: not among these images: record [0-9a-f_]+ was cut from it", few)
    others = save_photos(tmp_path / "others", [(52, 67), (61, 50)])
    refused(ImageError, r"photo_0\.png: record [0-9a-f_]+ was cut from an image, or an LR image, of other", others)
    with pytest.raises(SettingError, match="`hr`: only a teacher is asked about what is cut from images"):
        verify_cache(asked.out, None, 100, "cpu", hr)


def test_lr_images_that_were_read_are_named(teacher_file: Path, tmp_path: Path) -> None:
    """Of two folders, whose names are told apart."""
    folders = [save_photos(tmp_path / name, [(61, 50)]) for name in ("one", "two")]
    for folder in folders:
        degrade_folder(folder, tmp_path / f"lr-{folder.name}", 2)
    lr = [tmp_path / f"lr-{folder.name}" for folder in folders]
    asked = build_job(folders[0], tmp_path / "c", teacher_file, context=3, **COUNTS).but(hr=folders, lr=lr)
    job.build_cache(*asked)
    assert verify_cache(asked.out, teacher_file, 100, "cpu", folders, lr) == []
    with pytest.raises(SettingError, match=r"`lr`: the LR images of .* were read: name their folder"):
        verify_cache(asked.out, teacher_file, 100, "cpu", folders)


def test_inspect_says_that_it_asks_about_crops_alone(cache: Cache, teacher_file: Path) -> None:
    found = measured(cache, 2, teacher_file, "cpu")
    assert found.tables[1].endswith("asked about crops alone: the 5 pixels around them are not in the cache")


def test_the_command(
    asked: Asked, hr: Path, teacher_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: object) -> tuple[object, str]:
        line = ["dukd-cache", "verify", asked.out, "--teacher", teacher_file, "--sample", 3, "--device", "cpu", *words]
        monkeypatch.setattr("sys.argv", [*map(str, line)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, capsys.readouterr().err

    assert run("--hr", hr)[0] == 0
    code, said = run()
    assert code == 2
    assert said.endswith(
        "its teacher saw more of the images than it holds; give --hr, the images that it was built from\n"
    )
