"""An answer added to a finished cache: the bytes of a build with both teachers, whatever happens on the way."""

import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.cache.conftest import STORES
from tests.cache.samples import Asked, build_job, everything, files_of, same
from tests.cache.test_cli import Command, refused
from tests.cache.test_cli import dukd_cache as dukd_cache  # a fixture
from tests.object_store import Bucket
from tests.processes import start

from dukd_cache import networks
from dukd_cache.build import add_answer as adding
from dukd_cache.build.reuse import Tally
from dukd_cache.check.verify import other_files, repair, verify
from dukd_cache.commands import answer as command
from dukd_cache.commands import build as job
from dukd_cache.commands.answer import HowAsked, add
from dukd_cache.format import lifecycle
from dukd_cache.format.manifest import MANIFEST
from dukd_cache.format.reader import Cache
from dukd_cache.places.folder import Folder
from dukd_cache.settings.choices import Store
from dukd_cache.system.errors import AnswerError, BusyError, CacheError, SettingError, ShardCorrupt

HOW = HowAsked(device="cpu", batch_size=4)
ALL = 3 * 16

Caches = dict[str, dict[str, bytes]]


def put(files: dict[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def asked_for(photos: Path, out: Path, store: Store, teacher: dict[str, Path] | None, zoomed: bool = True) -> Asked:
    """Several shards of `base`, with a column of the answers."""
    asked = build_job(
        photos, out, None, teacher=teacher, patch=24, columns=["answer_psnr", "bicubic_psnr"], store=store, codec=None
    )
    return asked.but(base=24, zoom_in=2 * zoomed, zoom_out=2 * zoomed)


@pytest.fixture(scope="module", params=STORES)
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.param
    return found


@pytest.fixture(scope="module")
def caches(
    store: Store,
    photos: Path,
    teacher_file: Path,
    second_teacher: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Caches:
    """Of the first teacher, of both and of none; with a number that depends on the answers. Many shards."""
    out = tmp_path_factory.mktemp("caches")
    kinds = {
        "one": ({"teacher": teacher_file}, True),
        "both": ({"teacher": teacher_file, "second": second_teacher}, True),
        "pairs": (None, False),
        "first": ({"teacher": second_teacher}, False),
    }
    found = {}
    for name, (teacher, zoomed) in kinds.items():
        job.build_cache(*asked_for(photos, out / name, store, teacher, zoomed))
        found[name] = files_of(out / name)
    return found


def test_it_is_the_cache_of_a_build_with_both(
    caches: Caches, second_teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = put(caches["one"], tmp_path / "c")
    tally = Tally()
    add(out, second_teacher, None, HOW, tally)
    assert files_of(out) == caches["both"]
    total = sum(map(Cache(out).count, Cache(out).views))
    assert tally == Tally(asked=total)
    assert len(Cache(out).manifest.shards) > 3
    assert verify(out) == []
    capsys.readouterr()
    again = Tally()
    add(out, second_teacher, None, HOW, again)
    assert again == Tally(kept=total)
    assert f"{out}: has these answers already, called second\n" in capsys.readouterr().err
    assert files_of(out) == caches["both"]


def test_a_cache_of_pairs_gets_its_first_answer(caches: Caches, second_teacher: Path, tmp_path: Path) -> None:
    out = put(caches["pairs"], tmp_path / "c")
    add(out, second_teacher, None, HOW, Tally())
    assert files_of(out) == caches["first"]


def test_other_codecs_and_types_are_kept(
    photos: Path, teacher_file: Path, second_teacher: Path, tmp_path: Path
) -> None:
    asked = build_job(photos, tmp_path / "one", teacher_file, dtype="float16", codec="png", base=2)
    job.build_cache(*asked)
    add(asked.out, second_teacher, "other", HOW, Tally())
    both = {"teacher": teacher_file, "other": second_teacher}
    job.build_cache(*asked.but(out=tmp_path / "both", teacher=both))
    assert files_of(asked.out) == files_of(tmp_path / "both")
    with pytest.raises(CacheError, match="has these answers already, called other, as float16; give another `name`"):
        add(asked.out, second_teacher, None, HowAsked(device="cpu", batch_size=4, dtype="float32"), Tally())
    add(
        asked.out,
        second_teacher,
        "coarse",
        HowAsked(device="cpu", batch_size=4, dtype="uint8", precision="bf16"),
        Tally(),
    )
    assert verify(asked.out) == []
    cache = Cache(asked.out)
    assert [*cache.manifest.answers] == ["coarse", "other", "teacher"]
    assert cache.manifest.dtype_of("coarse") == "uint8"


def test_a_repaired_cache_is_built_again_from_its_images(
    caches: Caches, store: Store, photos: Path, teacher_file: Path, second_teacher: Path, tmp_path: Path
) -> None:
    """By the command with both teachers."""
    out = put(caches["one"], tmp_path / "c")
    add(out, second_teacher, None, HOW, Tally())
    index = out / "base-000001.npy"
    index.write_bytes(index.read_bytes()[:-1])
    repair(out, verify(out))
    both = {"teacher": teacher_file, "second": second_teacher}
    job.build_cache(*asked_for(photos, out, store, both))
    assert files_of(out) == caches["both"]


# interrupted


class Killed(BaseException):
    pass


def steps_of(patch: pytest.MonkeyPatch, die_at: int) -> list[str]:
    """Every change of a file, counted; at number `die_at` none is made any more."""
    done: list[str] = []
    for name in ("write", "delete", "move", "remove"):
        real = getattr(Folder, name)

        def change(self: Folder, *args: Any, _real: Callable[..., None] = real, _name: str = name) -> None:
            if _name in ("delete", "move", "remove"):  # one file after another
                for each in [*args[0]]:
                    tick(f"{_name} {each}")
                    _real(self, [each], *args[1:])
                if _name == "remove":
                    _real(self, [], *args[1:])
            else:
                tick(f"{_name} {args[0]}")
                _real(self, *args)

        patch.setattr(Folder, name, change)

    def tick(what: str) -> None:
        if len(done) >= die_at:
            raise Killed
        done.append(what)

    return done


@pytest.mark.parametrize("some", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_an_end_at_any_change_of_a_file_loses_nothing(
    caches: Caches, second_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, some: int
) -> None:
    """The cache is the old one or unfinished, never something else; the same command makes it the new one."""
    monkeypatch.setattr(command, "doubts_about", lambda *_: [])
    with pytest.MonkeyPatch.context() as patch:
        every = steps_of(patch, 10**9)
        add(put(caches["one"], tmp_path / "whole"), second_teacher, None, HOW, Tally())
    assert len(every) > 20
    among = random.Random(0).sample(range(len(every)), min(some, len(every)))
    picks = sorted({0, 1, 2, *among, len(every) - 1})
    seen = set()
    for number in picks:
        out = put(caches["one"], tmp_path / str(number))
        with pytest.MonkeyPatch.context() as patch:
            steps_of(patch, number)
            with pytest.raises(Killed):
                add(out, second_teacher, None, HOW, Tally())
        finished = (out / MANIFEST).exists()
        seen.add(finished)
        if finished and (out / MANIFEST).read_bytes() == caches["one"][MANIFEST]:
            assert verify(out) == []
            assert {name: (out / name).read_bytes() for name in caches["one"]} == caches["one"]
        tally = Tally()
        add(out, second_teacher, None, HOW, tally)
        assert files_of(out) == caches["both"], every[number]
        assert finished or tally.asked == 0, "nothing is asked again once shards change places"
    assert seen == {True, False}


def test_another_name_is_not_forgotten_over_what_was_interrupted(
    caches: Caches, second_teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = put(caches["one"], tmp_path / "c")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adding, "commit", _killed)
        with pytest.raises(Killed):
            add(out, second_teacher, "first", HOW, Tally())
    assert not (out / MANIFEST).exists()
    found = add(out, second_teacher, "again", HOW, Tally())
    assert {*found.answers} == {"again", "first", "teacher"}
    assert f"note: {out} has the same answers already, called first\n" in capsys.readouterr().err
    assert verify(out) == []


def test_sigkill_at_any_moment(caches: Caches, second_teacher: Path, tmp_path: Path) -> None:
    out, rng = put(caches["one"], tmp_path / "c"), random.Random(1)
    process = start(add, put(caches["one"], tmp_path / "whole"), second_teacher, None, HOW, Tally())
    began = time.monotonic()
    process.join()
    assert process.exitcode == 0
    seconds = time.monotonic() - began
    for _ in range(3):
        process = start(add, out, second_teacher, None, HOW, Tally())
        process.join(rng.uniform(0.02, 0.9) * seconds)
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
    add(out, second_teacher, None, HOW, Tally())
    assert files_of(out) == caches["both"]


def test_while_it_is_asked_the_cache_serves(
    caches: Caches, second_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And after: what was stopped is known as no part of it, and goes with the next build."""
    out = put(caches["one"], tmp_path / "c")
    monkeypatch.setattr(adding, "unstage", _killed)
    with pytest.raises(Killed):
        add(out, second_teacher, None, HOW, Tally())
    cache = Cache(out)
    assert [*cache.manifest.answers] == ["teacher"]
    assert verify(out) == []
    assert all(name.startswith(f"{out}/previous/000/") for name in other_files(out))
    with Folder(out).locked(), pytest.raises(BusyError):
        add(out, second_teacher, None, HOW, Tally())


def _killed(*_: object) -> None:
    raise Killed


def test_a_build_afterwards_takes_the_answers_that_were_given(
    caches: Caches, store: Store, photos: Path, teacher_file: Path, second_teacher: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out = put(caches["one"], tmp_path / "c")
    monkeypatch.setattr(adding, "unstage", _killed)
    with pytest.raises(Killed):
        add(out, second_teacher, None, HOW, Tally())
    both = {"teacher": teacher_file, "second": second_teacher}
    tally = Tally()
    job.build_cache(*asked_for(photos, out, store, both), tally)
    assert tally.asked == 0
    assert files_of(out) == caches["both"]


def test_a_changed_build_that_was_stopped_is_not_taken_back(
    caches: Caches, second_teacher: Path, tmp_path: Path
) -> None:
    """Its old shards hold these answers, but it is going to be another cache."""
    out = put(caches["both"], tmp_path / "c")
    place = Folder(out)
    changed = Cache(out).manifest.header.model_copy(update={"seed": 5})
    lifecycle.claim(place, changed)
    before = files_of(out)
    with pytest.raises(CacheError, match="no finished cache here"):
        add(out, second_teacher, None, HOW, Tally())
    assert files_of(out) == before


# in a store


def test_in_a_store(caches: Caches, bucket: Bucket, second_teacher: Path) -> None:
    for name, content in caches["one"].items():
        bucket.put(f"cache/{name}", content)
    add(bucket.address("cache"), second_teacher, None, HOW, Tally())
    assert bucket.files("cache") == caches["both"]


# what is refused


@pytest.fixture
def small(small_cache: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy, which stays as it is."""
    out = tmp_path / "small"
    shutil.copytree(small_cache, out)
    before = files_of(out)
    yield out
    assert files_of(out) == before


def test_names_that_are_there_are_refused(small: Path, second_teacher: Path) -> None:
    with pytest.raises(CacheError) as caught:
        add(small, second_teacher, "teacher", HOW, Tally())
    assert str(caught.value) == f"{small}: has answers called teacher already, of tiny_x2.safetensors"
    with pytest.raises(SettingError, match="`name=mean`: no answers can be called 'mean'"):
        add(small, second_teacher, "mean", HOW, Tally())


def test_answers_in_context_need_the_images(
    photos: Path, teacher_file: Path, second_teacher: Path, tmp_path: Path
) -> None:
    asked = build_job(photos, tmp_path / "c", teacher_file, base=1, zoom_in=0, zoom_out=0, context=2)
    job.build_cache(*asked)
    before = files_of(asked.out)
    with pytest.raises(CacheError) as caught:
        add(asked.out, second_teacher, None, HOW, Tally())
    assert str(caught.value) == (
        f"{asked.out}: its answers are of inputs with 2 pixels around, which only the images have; "
        "build it anew with all teachers"
    )
    assert files_of(asked.out) == before


def test_where_there_is_no_cache_that_is_told_before_a_teacher_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="no finished cache here"):
        add(tmp_path / "nothing", tmp_path / "nothing.pth", None, HOW, Tally())


def test_another_scale_is_refused_with_both_names(small: Path, tmp_path: Path) -> None:
    other = tmp_path / "three.safetensors"
    networks.save(networks.build("EDSR", 3, {"channels": 8, "blocks": 1}), other, {})
    with pytest.raises(SettingError) as caught:
        add(small, other, None, HOW, Tally())
    assert str(caught.value) == (
        f"three.safetensors is a teacher of scale 3, {small} is of scale 2 (tiny_x2.safetensors)"
    )


def test_another_kind_of_machine_is_refused_unless_it_is_asked_for(
    small_cache: Path, second_teacher: Path, tmp_path: Path
) -> None:
    shutil.copytree(small_cache, tmp_path / "c")
    other = HowAsked(device="cpu", batch_size=8)
    with pytest.raises(CacheError, match=r"holds answers computed on .*, batches of 4, here it is .*, batches of 8; "):
        add(tmp_path / "c", second_teacher, None, other, Tally())
    assert files_of(tmp_path / "c") == files_of(small_cache)
    add(tmp_path / "c", second_teacher, None, HowAsked(device="cpu", batch_size=8, mixed_workers=True), Tally())
    assert Cache(tmp_path / "c").manifest.computed is None


@pytest.mark.slow
def test_a_compiled_teacher_answers_alike(small_cache: Path, second_teacher: Path, tmp_path: Path) -> None:
    for name in ("plain", "compiled"):
        shutil.copytree(small_cache, tmp_path / name)
    compiled = HowAsked(device="cpu", batch_size=4, compile=True)
    with pytest.raises(CacheError, match=r"here it is .*, compiled, batches of 4"):
        add(tmp_path / "compiled", second_teacher, None, compiled, Tally())
    add(tmp_path / "compiled", second_teacher, None, compiled.model_copy(update={"mixed_workers": True}), Tally())
    add(tmp_path / "plain", second_teacher, None, HOW, Tally())
    for one, other in zip(*(everything(Cache(tmp_path / name), "base") for name in ("plain", "compiled")), strict=True):
        assert one.info == other.info
        assert np.abs(one["second"].astype(int) - other["second"]).max() <= 1


def test_a_damaged_record_leaves_the_cache_as_it_is(small_cache: Path, second_teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "c"
    shutil.copytree(small_cache, out)
    shard = out / "zoom_out-000000.tar"
    content = bytearray(shard.read_bytes())
    for at in range(700, len(content), 1100):
        content[at] ^= 1
    shard.write_bytes(content)
    before = files_of(out)
    with pytest.raises(ShardCorrupt):
        add(out, second_teacher, None, HOW, Tally())
    assert {name: content for name, content in files_of(out).items() if name in before} == before


def test_answers_that_are_not_finite_leave_the_cache_as_it_is(
    small_cache: Path, second_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the trial did not meet them."""
    broken = networks.load(second_teacher)
    with torch.no_grad():
        broken.module.get_submodule("conv_last").get_parameter("bias").fill_(1e38)
        broken.module.get_submodule("conv_last").get_parameter("weight").mul_(1e38)
    networks.save(broken, tmp_path / "broken.safetensors", {})
    out = tmp_path / "c"
    shutil.copytree(small_cache, out)
    with pytest.raises(AnswerError, match=r"record .* of base"):
        add(out, tmp_path / "broken.safetensors", None, HOW, Tally())
    assert files_of(out) == files_of(small_cache)
    monkeypatch.setattr(command, "doubts_about", lambda *_: [])
    with pytest.raises(AnswerError, match=r"record .* of base"):
        add(out, tmp_path / "broken.safetensors", None, HOW, Tally())
    assert verify(out) == []


def test_the_command_says_what_it_did(
    dukd_cache: Command, small_cache: Path, second_teacher: Path, tmp_path: Path
) -> None:
    out = tmp_path / "c"
    shutil.copytree(small_cache, out)
    ended = dukd_cache("answer", out, "--teacher", second_teacher, "--batch-size", 4, "--device", "cpu")
    assert ended.code == 0
    assert ended.output.endswith(f"(asked the teacher for {ALL}, kept 0)\n")
    record, old = Cache(out).read("base", 3), Cache(small_cache).read("base", 3)
    assert record.keys() == {"input", "second", "teacher", "truth"}
    assert all(same(record[name], old[name]) for name in old)
    assert len(everything(Cache(out), "base")) == 18
    refused(dukd_cache("answer", tmp_path / "none", "--teacher", second_teacher), "no finished cache here")
    refused(dukd_cache("answer", out, "--teacher", second_teacher, "--name", "A"), "--name A: expected a name of small")
