"""`dukd-cache verify`: it finds every damage, the reader hides none, and what was dropped comes back."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.cache.damage import WAYS, damage
from tests.cache.samples import build_job, equal, everything, files_of, index_of, save_photos
from tests.cache.test_cli import Command, refused
from tests.cache.test_cli import dukd_cache as dukd_cache  # a fixture

from dukd_cache import networks
from dukd_cache.build import teacher
from dukd_cache.check.ask_again import ask_again, tolerance
from dukd_cache.check.verify import repair, verify
from dukd_cache.commands import build as job
from dukd_cache.commands import verify as verification
from dukd_cache.format import manifest
from dukd_cache.format.codecs import CODECS
from dukd_cache.format.index import from_bytes, row_type, to_bytes
from dukd_cache.format.reader import Cache
from dukd_cache.format.record import Dtype, Record
from dukd_cache.format.shards import ShardReader, ShardWriter
from dukd_cache.places.folder import Folder
from dukd_cache.plan.views import VIEWS
from dukd_cache.settings.choices import Store
from dukd_cache.system.errors import BusyError, CacheError, DukdError

STORES: tuple[Store, ...] = tuple(CODECS)


def noticed(root: Path) -> bool:
    try:
        return bool(verify(root))
    except CacheError:
        return True


def wrong_pixels(root: Path, original: Cache) -> list[str]:
    """Records that the reader returns without an error and that are not those that were written."""
    try:
        cache = Cache(root)
    except DukdError:
        return []
    found: list[str] = []
    for view in original.views:
        if cache.count(view) != original.count(view):
            found.append(f"{cache.count(view)} records of {view}")
            continue
        for index in range(original.count(view)):
            try:
                record = cache.read(view, index)
            except DukdError:
                continue
            if not equal(record, original.read(view, index)):
                found.append(f"{view} {index}")
    return found


def survives(original: Path, folder: Path, seeds: range) -> list[str]:
    """Damages that `verify` did not notice, or that made the reader return something wrong."""
    source = Cache(original)
    failures = []
    for seed in seeds:
        root = shutil.copytree(original, folder / "damaged")
        how = damage(root, seed)
        if files_of(root) == files_of(original):
            failures.append(f"{how}: changed nothing")
        if not noticed(root):
            failures.append(f"{how}: not noticed")
        if wrong := wrong_pixels(root, source):
            failures.append(f"{how}: the reader returns {wrong}")
        shutil.rmtree(root)
    return failures


@pytest.mark.parametrize("store", STORES)
def test_every_damage_is_noticed(many_shards: dict[Store, Path], tmp_path: Path, store: Store) -> None:
    assert verify(many_shards[store]) == []
    assert survives(many_shards[store], tmp_path, range(len(WAYS))) == []


@pytest.mark.slow
@pytest.mark.parametrize("store", STORES)
def test_every_of_200_damages_is_noticed(many_shards: dict[Store, Path], tmp_path: Path, store: Store) -> None:
    assert survives(many_shards[store], tmp_path, range(1000, 1200)) == []


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_a_sound_cache_holds(photos: Path, teacher_file: Path, tmp_path: Path, store: Store, dtype: str) -> None:
    job.build_cache(*build_job(photos, tmp_path / "c", teacher_file, store=store, codec=None, dtype=dtype, base=2))
    counted: list[int] = []
    assert verify(tmp_path / "c", on_records=counted.append) == []
    assert sum(counted) == sum(map(Cache(tmp_path / "c").count, VIEWS))


def test_a_cache_of_pairs_holds(photos: Path, tmp_path: Path) -> None:
    job.build_cache(*build_job(photos, tmp_path / "c", None))
    assert verify(tmp_path / "c") == []


@pytest.fixture(params=STORES)
def built(request: pytest.FixtureRequest, photos: Path, teacher_file: Path, tmp_path: Path) -> Callable[[], Path]:
    """Builds a cache in `tmp_path`, with the same command each time."""

    def run() -> Path:
        job.build_cache(*build_job(photos, tmp_path / "c", teacher_file, store=request.param, codec=None))
        return tmp_path / "c"

    return run


@pytest.mark.parametrize("what", ["bit", "index", "shard lost", "manifest's bit", "shared file"])
def test_what_repair_drops_the_build_refills(built: Callable[[], Path], what: str) -> None:
    root = built()
    before = files_of(root)
    shards = sorted(path for path in root.rglob("*") if path.is_file() and path.suffix in ("", ".tar"))
    victim = {
        "index": root / "base-000000.npy",
        "manifest's bit": root / "manifest.json",
        "shared file": root / "zarr.json",
    }.get(what, shards[0])
    if what == "shared file" and not victim.exists():
        pytest.skip("a tar has none")
    if what == "manifest's bit":
        victim.write_bytes(before["manifest.json"].replace(before_sha(root, 0), b"f" * 64, 1))
    elif what == "shard lost":
        victim.unlink()
    else:
        content = bytearray(victim.read_bytes())
        content[len(content) // 2] ^= 4
        victim.write_bytes(content)
    problems = verify(root)
    assert problems
    repair(root, problems)
    if what == "shared file":
        assert files_of(root) == before
    else:
        with pytest.raises(CacheError, match="no finished cache"):
            Cache(root)
        kept = files_of(root)
        assert all(kept[name] == before[name] for name in set(kept) & set(before))
        assert "building.json" in kept
        assert len(kept) >= len(before) - 4, "sound shards stay"
    built()
    assert files_of(root) == before
    assert verify(root) == []


def before_sha(root: Path, number: int) -> bytes:
    return manifest.read(Folder(root)).shards[number].sha256.encode()


@pytest.mark.parametrize(("store", "name"), [("webdataset", "base-000099.tar"), ("zarr", "base/input/c/99/0/0/0")])
def test_a_stray_shard_is_named_and_left_alone(
    many_shards: dict[Store, Path], tmp_path: Path, store: Store, name: str
) -> None:
    """Readers that go by names would take it for the cache's."""
    root = shutil.copytree(many_shards[store], tmp_path / "c")
    stray = root / name
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_text("mine")
    problems = verify(root)
    assert [problem.message.split(": ")[0] for problem in problems] == [str(stray)]
    repair(root, problems)
    assert stray.read_text() == "mine"
    assert (root / "manifest.json").exists()


def test_other_files_are_a_note_and_those_of_systems_not_even_that(
    many_shards: dict[Store, Path], dukd_cache: Command, tmp_path: Path
) -> None:
    root = shutil.copytree(many_shards["zarr"], tmp_path / "c")
    for name in (".DS_Store", "Thumbs.db", "base/.nfs0001", "base/@eaDir/x@SynoEAStream", ".git/config", "README"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("not of the cache")
    assert verify(root) == []
    ended = dukd_cache("verify", root)
    assert (ended.code, ended.errors) == (0, [])
    assert ended.output == f"note: {root / 'README'}: no file of this cache\n{root}: intact\n"


def test_a_manifest_beyond_repair_is_told(many_shards: dict[Store, Path], tmp_path: Path) -> None:
    root = shutil.copytree(many_shards["zarr"], tmp_path / "c")
    (root / "manifest.json").write_text("{")
    before = files_of(root)
    problems = verify(root)
    assert "not a manifest" in problems[0].message
    assert "build this cache anew" in repair(root, problems)
    assert files_of(root) == before


def test_nothing_is_repaired_while_another_process_writes(many_shards: dict[Store, Path], tmp_path: Path) -> None:
    root = shutil.copytree(many_shards["webdataset"], tmp_path / "c")
    (root / "base-000001.tar").write_bytes(b"")
    before, problems = files_of(root), verify(root)
    with Folder(root).locked("addition of an answer"):
        with pytest.raises(BusyError, match="another addition of an answer writes here"):
            repair(root, problems)
        assert {name: content for name, content in files_of(root).items() if name in before} == before


def test_contents_that_agree_with_all_hashes_are_still_compared(many_shards: dict[Store, Path], tmp_path: Path) -> None:
    """As if the program that wrote the cache had been wrong: here two records of a shard changed places."""
    root = shutil.copytree(many_shards["webdataset"], tmp_path / "c")
    found = manifest.read(Folder(root))
    path = root / "base-000001.npy"
    index = from_bytes(path.read_bytes(), row_type(found, found.view("base")))
    swapped, mixed = index.rows.copy(), index.rows.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    for array in ("input", "teacher", "truth"):
        for column in ("offset", "length", "sha256"):
            mixed[f"{array}.{column}"][0] = mixed[f"{array}.{column}"][1]
    for rows, says in [(swapped, "at byte"), (mixed, "of its input")]:
        content = to_bytes(rows, index.bytes, index.sha256)
        path.write_bytes(content)
        shards = [
            shard._replace(index_sha256=content[-32:].hex()) if shard.name == "base-000001.tar" else shard
            for shard in found.shards
        ]
        manifest.write(manifest.Manifest.of(found.header, shards), Folder(root))
        assert any(says in problem.message for problem in verify(root))


@pytest.mark.parametrize("context", [0, 2])
def test_an_answer_out_of_range_is_named(photos: Path, teacher_file: Path, tmp_path: Path, context: int) -> None:
    """Whatever else the teacher saw."""
    views = {"base": 1, "zoom_in": 0, "zoom_out": 0}
    job.build_cache(*build_job(photos, tmp_path / "c", teacher_file, dtype="float32", context=context, **views))
    header, records = Cache(tmp_path / "c").manifest.header, everything(Cache(tmp_path / "c"), "base")
    wrong = {**records[1], "teacher": records[1]["teacher"] + np.float32(1)}
    writer = ShardWriter(Folder(tmp_path / "wrong"), header)
    packed = [writer.encode(record) for record in (records[0], Record(records[1].info, wrong), records[2])]
    manifest.write(manifest.Manifest.of(header, [writer.write("base", 0, packed)]), Folder(tmp_path / "wrong"))
    (problem,) = verify(tmp_path / "wrong")
    assert problem.message.endswith(f"record {records[1].info.key}: the answer teacher is not in [0,1]")


class TestTeacher:
    """The teacher is asked again."""

    @pytest.fixture
    def asked(self, teacher_file: Path) -> teacher.Teacher:
        return teacher.load(teacher_file, torch.device("cpu"), "fp32")

    @pytest.mark.parametrize("store", STORES)
    def test_it_answers_the_same(self, many_shards: dict[Store, Path], asked: teacher.Teacher, store: Store) -> None:
        counted: list[int] = []
        assert ask_again(Cache(many_shards[store]), "teacher", asked, 1000, on_records=counted.append) == []
        assert sum(counted) == 48, "never more records than there are"

    def test_the_sample_is_spread_and_fixed(self, many_shards: dict[Store, Path], asked: teacher.Teacher) -> None:
        seen: list[int] = []

        def spy(input_Npp3: np.ndarray, dtype: str) -> np.ndarray:
            seen.extend(input_Npp3.shape[1:2] * len(input_Npp3))
            return asked(input_Npp3, dtype)  # type: ignore[arg-type]

        spy.info = asked.info  # type: ignore[attr-defined]
        assert ask_again(Cache(many_shards["zarr"]), "teacher", spy, 24, on_records=lambda _: None) == []  # type: ignore[arg-type]
        assert len(seen) == 24
        assert set(seen) == {12, 6}

    @pytest.mark.parametrize(("off", "found"), [(1, False), (2, True)])
    def test_answers_further_off_than_the_tolerance_are_named(
        self, photos: Path, teacher_file: Path, tmp_path: Path, asked: teacher.Teacher, off: int, found: bool
    ) -> None:
        """A cache whose every hash holds, with one pixel changed before it was written."""
        job.build_cache(*build_job(photos, tmp_path / "c", teacher_file, base=1, zoom_in=0, zoom_out=0, codec="raw"))
        whole = Cache(tmp_path / "c")
        answer = everything(whole, "base")[1]["teacher"]
        changed = answer.astype(int)
        changed[3, 4, 1] += off if changed[3, 4, 1] < 128 else -off

        class Liar:
            info = asked.info

            def __call__(self, input_Npp3: np.ndarray, dtype: str) -> np.ndarray:
                answers = asked(input_Npp3, dtype).copy()  # type: ignore[arg-type]
                answers[1] = changed
                return answers

        problems = ask_again(whole, "teacher", Liar(), 3)  # type: ignore[arg-type]
        assert bool(problems) == found
        if found:
            assert whole.info("base", 1).key in problems[0].message
            assert "off by 2 of 255 levels where 1 is allowed" in problems[0].message
            assert problems[0].shard == whole.manifest.shards[0]

    def test_the_tolerance_of_float16_is_two_steps_below_one(self, asked: teacher.Teacher) -> None:
        assert tolerance(asked.info, "float16") / 255 == 2 * float(
            np.float16(1) - np.nextafter(np.float16(1), np.float16(0))
        )

    @pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
    def test_what_was_rounded_to_levels_may_differ_by_one(self, asked: teacher.Teacher, dtype: Dtype) -> None:
        assert tolerance(asked.info.model_copy(update={"smaller": 2}), dtype) == 1

    def test_another_teacher_is_refused(
        self, many_shards: dict[Store, Path], tmp_path: Path, dukd_cache: Command, photos: Path
    ) -> None:
        networks.save(networks.build("EDSR", 2, {"channels": 8, "blocks": 1}), tmp_path / "other.safetensors", {})
        ended = dukd_cache("verify", many_shards["zarr"], "--teacher", tmp_path / "other.safetensors")
        refused(ended, str(many_shards["zarr"]), "its teacher has fingerprint", "other.safetensors has")
        job.build_cache(*build_job(photos, tmp_path / "pairs", None))
        ended = dukd_cache("verify", tmp_path / "pairs", "--teacher", tmp_path / "other.safetensors")
        refused(ended, "a cache of pairs")

    def test_a_wrong_teacher_is_told_before_hours_of_checking(
        self, many_shards: dict[Store, Path], tmp_path: Path, dukd_cache: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(verification, "verify", lambda *_args, **_options: pytest.fail("checked the records"))
        networks.save(networks.build("EDSR", 2, {"channels": 8, "blocks": 1}), tmp_path / "other.safetensors", {})
        root = many_shards["zarr"]
        refused(dukd_cache("verify", root, "--teacher", tmp_path / "other.safetensors"), "has fingerprint")
        refused(dukd_cache("verify", root, "--teacher", tmp_path / "none.pth"), "none.pth")


class TestCommand:
    """Exit codes and lines."""

    def test_all_holds(self, many_shards: dict[Store, Path], teacher_file: Path, dukd_cache: Command) -> None:
        root = many_shards["zarr"]
        ended = dukd_cache("verify", root, "--teacher", teacher_file, "--sample", 5)
        assert (ended.code, ended.output, ended.errors) == (0, f"{root}: intact\n", [])

    def test_problems_end_with_1(self, many_shards: dict[Store, Path], tmp_path: Path, dukd_cache: Command) -> None:
        root = shutil.copytree(many_shards["webdataset"], tmp_path / "c")
        (root / "base-000001.tar").unlink()
        ended = dukd_cache("verify", Folder(root))
        assert (ended.code, ended.errors) == (1, [])
        assert ended.output.splitlines() == [f"{root / 'base-000001.tar'}: missing", f"{root}: 1 problem"]
        ended = dukd_cache("verify", root, "--repair")
        assert ended.code == 1
        assert ended.output.splitlines()[1] == (
            f"{root}: dropped 1 of 9 shards (7 records): give the build's command again"
        )
        refused(dukd_cache("verify", root), "no finished cache here")

    def test_nothing_to_check_ends_with_2(self, dukd_cache: Command, tmp_path: Path) -> None:
        refused(dukd_cache("verify", tmp_path), "no finished cache here")


def test_many_broken_records_are_counted_not_listed(tmp_path: Path) -> None:
    hr = save_photos(tmp_path / "hr", [(40, 40)])
    job.build_cache(*build_job(hr, tmp_path / "c", None, base=40))
    path = tmp_path / "c/base-000000.tar"
    content = bytearray(path.read_bytes())
    for offset in index_of(path.parent, path.name)["input.offset"].tolist():
        content[offset + random.Random(0).randrange(20, 40)] ^= 1
    path.write_bytes(content)
    messages = [problem.message for problem in verify(tmp_path / "c")]
    assert len(messages) == 5
    assert "sha256" in messages[0]
    assert messages[-1].endswith("37 more records like these")


def test_the_reader_of_an_unfinished_cache_is_not_offered(many_shards: dict[Store, Path], tmp_path: Path) -> None:
    root = shutil.copytree(many_shards["zarr"], tmp_path / "c")
    found = manifest.read(Folder(root))
    (root / "manifest.json").unlink()
    with pytest.raises(CacheError, match="no finished cache"):
        verify(root)
    assert ShardReader(Folder(root), found).info(found.shards[0], 0).view == "base"
