"""Changed builds: the result is that of a fresh build, byte for byte, and the teacher is asked for what is new only."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.cache.samples import build_job, crop_spec, everything, files_of, index_of, photo, save_photos
from tests.cache.samples import header_of as made_header

from dukd_cache import networks
from dukd_cache.build import teacher
from dukd_cache.build.reuse import Tally, served
from dukd_cache.build.teacher import Teacher
from dukd_cache.build.write import Work, build
from dukd_cache.commands import build as job
from dukd_cache.commands.prepare import images_info
from dukd_cache.format.codecs import CODECS
from dukd_cache.format.lifecycle import OPEN, PREVIOUS, header_of, sources
from dukd_cache.format.reader import Cache
from dukd_cache.format.record import Dtype
from dukd_cache.format.shards import ShardReader, whole_shards
from dukd_cache.pictures.sources import find_images, identify
from dukd_cache.places.folder import Folder
from dukd_cache.plan.crops import Plan
from dukd_cache.plan.views import VIEWS
from dukd_cache.settings.choices import Store
from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import CacheError

BATCH = 3


@dataclass(frozen=True)
class Wanted:
    """What a cache is made of."""

    images: frozenset[tuple[str, int]]
    """Name and which content; one content a name."""
    counts: tuple[int, int, int]
    seed: int
    codec: str
    per_shard: int
    dtype: Dtype = "uint8"
    store: Store = "webdataset"


class Recording(torch.nn.Module):
    """Keeps every input that the network is asked."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.inputs: Counter[bytes] = Counter()

    def forward(self, image_NCHW: torch.Tensor) -> torch.Tensor:
        for pixels in image_NCHW.permute(0, 2, 3, 1).mul(255).round().byte().numpy():
            self.inputs[pixels.tobytes()] += 1
        answer: torch.Tensor = self.inner(image_NCHW)
        return answer


class Stopped(Exception):
    pass


class Bench:
    """Makes caches in a folder, with a teacher that is listened to."""

    def __init__(self, folder: Path, weights: Path) -> None:
        self.folder, self.teacher = folder, teacher.load(weights, torch.device("cpu"), "fp32")

    def build(
        self, wanted: Wanted, name: str, shards: int = 99, reuse: tuple[str, ...] = ()
    ) -> tuple[Tally, set[bytes]]:
        """Build in folder `name`, or the first `shards` shards; return the counts and what the teacher saw."""
        hr, tally = self._images(wanted), Tally()
        counts = dict(zip(VIEWS, wanted.counts, strict=True))
        spec = crop_spec(2, 10, 5, seed=wanted.seed, answers={"teacher": wanted.dtype}, **counts)
        plan = Plan(tuple(identify(hr, path, 2) for path in find_images(hr)), spec)
        header = made_header(
            spec,
            images_info(plan.images),
            {"teacher": self.teacher.info},
            dict.fromkeys(VIEWS, wanted.per_shard),
            wanted.store,
            wanted.codec,
        )
        heard, asked = self._listening()
        place = Folder(self.folder / name)

        def stop(_count: int) -> None:
            done = len(list(whole_shards(place, header)))
            if done >= shards:
                raise Stopped

        others = [Folder(self.folder / other) for other in reuse]
        try:
            teachers = {"teacher": asked}
            build(Work(plan, teachers, place, BATCH, on_records=stop, reuse=tuple(others), tally=tally), header)
        except Stopped:
            assert not (self.folder / name / "manifest.json").exists()
        return tally, set(heard.inputs)

    def _images(self, wanted: Wanted) -> Path:
        hr = self.folder / "hr"
        hr.mkdir(exist_ok=True)
        for path in hr.iterdir():
            path.unlink()
        for name, content in wanted.images:
            Image.fromarray(photo(40 + content, 44, seed=content)).save(hr / name)
        return hr

    def _listening(self) -> tuple[Recording, Teacher]:
        heard = Recording(self.teacher.network.module)
        return heard, replace(self.teacher, network=self.teacher.network.with_module(heard))

    def inputs(self, name: str) -> list[bytes]:
        """The inputs of all records in whole shards of folder `name`, then of those of a shard that was interrupted."""
        found: list[bytes] = []
        folder = Folder(self.folder / name)
        for place in (folder, *(each for each in sources(folder) if OPEN in str(each))):
            header = header_of(place)
            assert header is not None
            reader, shards = ShardReader(place, header), whole_shards(place, header)
            found += [
                reader.read(shard, index).input.tobytes() for shard, _ in shards for index in range(shard.records)
            ]
        return found

    def files(self, name: str) -> dict[str, bytes]:
        return files_of(self.folder / name)


@pytest.fixture
def bench(tmp_path: Path, teacher_file: Path) -> Bench:
    return Bench(tmp_path, teacher_file)


@contextmanager
def fresh_bench(teacher_file: Path) -> Iterator[Bench]:
    with TemporaryDirectory() as folder:
        yield Bench(Path(folder), teacher_file)


names = st.sampled_from(["a.png", "b.png", "sub c.png"])
counts = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)).filter(any)
kinds = st.sampled_from([(store, codec) for store, codecs in CODECS.items() for codec in codecs])
wanted_caches = st.builds(
    lambda kind, **words: Wanted(store=kind[0], codec=kind[1], **words),
    kind=kinds,
    images=st.dictionaries(names, st.integers(0, 2), min_size=1).map(lambda found: frozenset(found.items())),
    counts=counts,
    seed=st.integers(0, 1),
    per_shard=st.integers(2, 6),
)
ONE = Wanted(frozenset({("a.png", 0), ("b.png", 1)}), (3, 2, 2), 0, "webp", 4)


@given(before=wanted_caches, after=wanted_caches, shards=st.sampled_from([1, 2, 99]))
@example(ONE, replace(ONE, images=ONE.images | {("aa.png", 2)}), 99)
@example(ONE, replace(ONE, images=frozenset({("b.png", 1)})), 99)
@example(ONE, replace(ONE, images=frozenset({("a.png", 0), ("b.png", 2)})), 99)
@example(ONE, replace(ONE, images=frozenset({("z.png", 0), ("b.png", 1)})), 2)
@example(ONE, replace(ONE, counts=(5, 0, 3)), 99)
@example(ONE, replace(ONE, seed=1), 99)
@example(ONE, replace(ONE, codec="raw", per_shard=3), 99)
@example(ONE, replace(ONE, store="zarr", codec="blosc"), 99)
@example(replace(ONE, store="zarr", codec="blosc"), replace(ONE, store="zarr", codec="blosc", seed=1), 2)
@example(replace(ONE, store="zarr", codec="raw"), replace(ONE, store="zarr", codec="raw", counts=(4, 2, 0)), 99)
@settings(max_examples=20, deadline=None)
def test_a_changed_build_is_a_fresh_one_that_asks_less(
    teacher_file: Path, before: Wanted, after: Wanted, shards: int
) -> None:
    with fresh_bench(teacher_file) as bench:
        bench.build(before, "cache", shards)
        there = bench.inputs("cache")
        tally, heard = bench.build(after, "cache")
        bench.build(after, "fresh")
        assert bench.files("cache") == bench.files("fresh")
        needed = bench.inputs("fresh")
        # The same build goes on after its whole shards; in another one, an answer serves wherever its input is.
        new = needed[len(there) :] if before == after else [pixels for pixels in needed if pixels not in set(there)]
        assert heard == set(new)
        assert tally.asked == len(new)
        assert tally.kept + tally.reused + tally.asked == len(needed)
        if before != after:
            assert tally.kept == 0


def test_a_rebuild_that_is_stopped_and_changed_again_uses_all_that_was_ever_answered(bench: Bench) -> None:
    second, third = replace(ONE, seed=1), replace(ONE, seed=1, counts=(4, 3, 2))
    bench.build(ONE, "cache")
    known = set(bench.inputs("cache"))
    bench.build(second, "cache", shards=2)
    known |= set(bench.inputs("cache"))
    assert sorted(path.name for path in (bench.folder / "cache" / PREVIOUS).iterdir()) == ["000"]
    bench.build(third, "cache", shards=1)
    assert sorted(path.name for path in (bench.folder / "cache" / PREVIOUS).iterdir()) == ["000", "001"]
    known |= set(bench.inputs("cache"))
    both = replace(ONE, counts=(4, 2, 2))  # back to the first seed
    _, heard = bench.build(both, "cache")
    bench.build(both, "fresh")
    assert heard == set(bench.inputs("fresh")) - known
    assert bench.files("cache") == bench.files("fresh")


def test_other_caches_serve_finished_or_not(bench: Bench) -> None:
    bench.build(replace(ONE, seed=1), "finished")
    bench.build(ONE, "begun", shards=2)
    known = set(bench.inputs("finished") + bench.inputs("begun"))
    wanted = replace(ONE, counts=(4, 2, 0))
    tally, heard = bench.build(wanted, "cache", reuse=("finished", "begun"))
    bench.build(wanted, "fresh")
    assert heard == set(bench.inputs("fresh")) - known
    assert tally.reused > 0
    assert bench.files("cache") == bench.files("fresh")


def test_a_damaged_answer_is_asked_for_again(bench: Bench) -> None:
    bench.build(ONE, "cache")
    bench.build(ONE, "fresh")
    shard = bench.folder / "cache" / "base-000000.tar"
    content = bytearray(shard.read_bytes())
    content[int(index_of(shard.parent, shard.name)[1]["teacher.offset"]) + 30] ^= 1
    shard.write_bytes(content)
    after = replace(ONE, per_shard=5)
    tally, _ = bench.build(after, "cache")
    bench.build(after, "again")
    assert tally.asked == 1
    assert bench.files("cache") == bench.files("again")


def test_what_the_user_put_into_the_folder_stays(bench: Bench) -> None:
    bench.build(ONE, "cache")
    (bench.folder / "cache" / "README.md").write_text("mine")
    (bench.folder / "cache" / "base notes").write_text("mine")
    bench.build(replace(ONE, seed=1), "cache")
    assert (bench.folder / "cache" / "README.md").read_text() == "mine"
    assert (bench.folder / "cache" / "base notes").read_text() == "mine"


def test_finer_answers_serve_coarser_ones_and_never_the_other_way(bench: Bench) -> None:
    fine = replace(ONE, dtype="float16")
    bench.build(fine, "cache")
    tally, heard = bench.build(ONE, "cache")
    assert (tally.asked, heard) == (0, set())
    bench.build(ONE, "fresh")
    for view in VIEWS:
        pairs = zip(_answers(bench, "cache", view), _answers(bench, "fresh", view), strict=True)
        worst = max(np.abs(one.astype(int) - other).max() for one, other in pairs)
        assert worst <= 1, "float16 is rounded once more"
    tally, _ = bench.build(fine, "cache")
    bench.build(fine, "fine")
    assert tally.reused == 0
    assert bench.files("cache") == bench.files("fine")


def test_the_finest_answers_serve_all_others_as_the_teacher_gives_them(bench: Bench) -> None:
    bench.build(replace(ONE, dtype="float32"), "finest")
    for dtype in ("float16", "uint8"):
        tally, heard = bench.build(replace(ONE, dtype=dtype), dtype, reuse=("finest",))
        assert (tally.asked, heard) == (0, set())
        bench.build(replace(ONE, dtype=dtype), f"fresh {dtype}")
        assert bench.files(dtype) == bench.files(f"fresh {dtype}")
    tally, _ = bench.build(replace(ONE, dtype="float32"), "again", reuse=("float16", "uint8"))
    assert tally.reused == 0


def _answers(bench: Bench, name: str, view: str) -> list[U8]:
    return [record["teacher"] for record in everything(Cache(bench.folder / name), view)]  # type: ignore[misc]


def test_served_rounds_half_up_and_leaves_equal_types_alone() -> None:
    stored = np.array([0.0, 0.5 / 255, 0.4999 / 255, 1.0, 127 / 255], np.float16)
    assert served(stored, "float16") is stored
    assert served(stored, "uint8").tolist() == [0, int(float(stored[1]) * 255 + 0.5), 0, 255, 127]
    exact = np.array([0.0, 0.3, 1.0], np.float32)
    assert served(exact, "float16").tolist() == exact.astype(np.float16).tolist()
    assert served(exact, "uint8").tolist() == [0, 77, 255]
    bytes_ = np.array([3], np.uint8)
    assert served(bytes_, "uint8") is bytes_


def test_another_teacher_or_precision_never_serves(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    first = build_job(photos, tmp_path / "first", teacher_file, base=2, zoom_in=1, zoom_out=1)
    job.build_cache(*first)
    other = tmp_path / "other.safetensors"
    networks.save(networks.build("EDSR", 2, {"channels": 8, "blocks": 1}), other, {})
    for number, changes in enumerate(({"teacher": other}, {"precision": "bf16"})):
        tally = Tally()
        job.build_cache(*first.but(out=tmp_path / str(number), reuse=(first.out,), **changes), tally)
        assert tally == Tally(asked=3 * 4)
        with pytest.raises(
            CacheError, match=r"first: holds a cache with teacher\.(fingerprint|precision) = .*, asked for"
        ):
            job.build_cache(*first.but(**changes))


def test_other_degraded_inputs_never_serve(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    """LR images of the user's own, which differ in one image from those that bicubic makes."""
    from dukd_cache.commands.degrade import degrade_folder

    first = build_job(photos, tmp_path / "cache", teacher_file, base=4, zoom_in=2, zoom_out=0)
    job.build_cache(*first)
    degrade_folder(photos, tmp_path / "lr", 2)
    changed = tmp_path / "lr" / "photo_1x2.png"
    with Image.open(changed) as image:
        Image.fromarray(np.asarray(image) // 2).save(changed)
    tally = Tally()
    job.build_cache(*first.but(lr=tmp_path / "lr"), tally)
    assert tally == Tally(asked=4, reused=3 * 6 - 4)


def test_a_reuse_that_is_no_cache_is_named_before_anything_is_written(
    photos: Path, teacher_file: Path, tmp_path: Path
) -> None:
    wrong = build_job(photos, tmp_path / "cache", teacher_file, reuse=(photos,))
    with pytest.raises(CacheError, match=f"`reuse={photos}`: no cache here"):
        job.build_cache(*wrong)
    assert not wrong.out.exists()


def test_answers_do_not_depend_on_what_else_is_asked(tmp_path: Path) -> None:
    """Why a rebuilt cache can equal a fresh one: real networks round differently in batches of other sizes."""
    weights = tmp_path / "swin.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        settings_ = {"embed_dim": 12, "depths": [2], "num_heads": [2]}
        networks.save(networks.build("SwinIR", 2, settings_), weights, {})
    hr = save_photos(tmp_path / "hr", [(60, 60), (64, 70)])
    first = build_job(hr, tmp_path / "cache", weights, base=5, zoom_in=3, zoom_out=1, batch_size=4, patch=16)
    job.build_cache(*first)
    job.build_cache(*first.but(base=8, zoom_in=4))
    job.build_cache(*first.but(base=8, zoom_in=4, out=tmp_path / "fresh"))
    assert files_of(first.out) == files_of(tmp_path / "fresh")


@pytest.mark.parametrize("store", CODECS)
def test_a_changed_build_moves_and_removes_its_own_files_only(
    photos: Path, teacher_file: Path, tmp_path: Path, store: Store
) -> None:
    asked = build_job(photos, tmp_path / "whole", teacher_file, store=store, codec=None)
    old = asked.but(out=tmp_path / "c", base=2)
    job.build_cache(*old)
    mine = (
        *("base.png", "base-notes.txt", "base-000001.txt", "base-000099.tar", "base-000099.npy", "base-0.npy"),
        *("base/mine/x.txt", "base/input/notes.txt", "base/input/c/99/0/0/0", "base/input/c/0/notes.txt"),
        *("notes/movie.mkv.partial", "movie.mkv.partial", "building.json.txt", "zarr.json.bak", "zoom_in.zip"),
        *("previous/mine.txt", "previous/000/mine.txt"),
    )
    for name in mine:
        (tmp_path / "c" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "c" / name).write_text("the user's")
    job.build_cache(*asked)
    job.build_cache(*asked.but(out=tmp_path / "c"))
    found = files_of(tmp_path / "c")
    assert [name for name in mine if found.pop(name, None) != b"the user's"] == []
    assert found == files_of(asked.out)
