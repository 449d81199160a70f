"""Caches with answers of several teachers: each is as if it were alone, and is asked again alone."""

from pathlib import Path

import pytest
from tests.cache.samples import build_job, everything, files_of, same, save_photos

from dukd_cache import networks
from dukd_cache.build import teacher
from dukd_cache.build.reuse import Tally
from dukd_cache.check.ask_again import ask_again
from dukd_cache.check.known_teacher import teachers_of
from dukd_cache.check.verify import verify
from dukd_cache.commands import build as job
from dukd_cache.commands.inspect import measured, table
from dukd_cache.commands.prepare import prepare
from dukd_cache.format import manifest
from dukd_cache.format.reader import Cache
from dukd_cache.places.folder import Folder
from dukd_cache.settings.part import Part
from dukd_cache.system.errors import CacheError, SettingError

ALL = 3 * 16
"""Records of a `build_job`."""


@pytest.fixture(scope="session")
def both(photos: Path, teacher_file: Path, second_teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished cache of two teachers. Not to be written to."""
    out = tmp_path_factory.mktemp("cache") / "both"
    job.build_cache(*build_job(photos, out, None, teacher=[teacher_file, second_teacher], zoom_in=5, zoom_out=5))
    return out


def test_each_answers_as_if_it_were_alone(both: Path, small_cache: Path, second_teacher: Path) -> None:
    assert verify(both) == []
    cache, alone = Cache(both), Cache(small_cache)
    assert [*cache.manifest.answers] == ["second", "tiny_x2"]
    assert cache.manifest.computed == alone.manifest.computed
    for view in cache.views:
        for record, one in zip(everything(cache, view), everything(alone, view), strict=True):
            assert record.keys() == {*one.keys()} - {"teacher"} | {"second", "tiny_x2"}
            assert same(record["tiny_x2"], one["teacher"])
            assert not same(record["second"], one["teacher"])
            assert record.info.fingerprints["tiny_x2"] == one.info.fingerprints["teacher"]
    ((name, asked),) = teachers_of(both, cache.manifest, second_teacher, "cpu").items()
    assert name == "second"
    assert ask_again(cache, name, asked, ALL) == []


def test_a_teacher_by_two_names_is_refused(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    """Also a copy of its file: it would be asked twice, and agree with itself."""
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(teacher_file.read_bytes())
    with pytest.raises(SettingError, match=r"^`teacher`: a and b are the same network, asked alike: leave one out$"):
        job.build_cache(*build_job(photos, tmp_path / "c", None, teacher={"a": teacher_file, "b": copy}))
    assert not (tmp_path / "c").exists()


def test_parts_and_names_given_otherwise_make_the_same_bytes(
    both: Path, photos: Path, teacher_file: Path, second_teacher: Path, tmp_path: Path
) -> None:
    named = {"second": second_teacher, "tiny_x2": teacher_file}
    asked = build_job(photos, tmp_path / "parts", None, teacher=named, zoom_in=5, zoom_out=5)
    assert job.build_cache(*asked, part=Part(2, 2)) is None
    assert job.build_cache(*asked, part=Part(1, 2)) is not None
    assert files_of(asked.out) == files_of(both)


def test_a_changed_teacher_is_asked_again_alone(
    both: Path, photos: Path, teacher_file: Path, second_teacher: Path, tmp_path: Path
) -> None:
    """In the folder of the cache, or by `reuse`; also answers of another name, as an only teacher's are."""
    third = tmp_path / "third.safetensors"
    networks.save(networks.build("EDSR", 2, {"channels": 8, "blocks": 1}), third, {})
    old = {"tiny_x2": teacher_file, "second": third}
    asked = build_job(photos, tmp_path / "cache", None, teacher=old, zoom_in=5, zoom_out=5)
    job.build_cache(*asked)
    tally = Tally()
    job.build_cache(*asked.but(teacher=old | {"second": second_teacher}), tally)
    assert tally == Tally(asked=ALL, reused=ALL)
    assert files_of(asked.out) == files_of(both)
    tally = Tally()
    job.build_cache(*asked.but(out=tmp_path / "alone", teacher=second_teacher, reuse=(both,)), tally)
    assert tally == Tally(reused=ALL)
    tally = Tally()
    job.build_cache(*asked.but(out=tmp_path / "alone", teacher=[teacher_file, second_teacher]), tally)
    assert tally == Tally(asked=ALL, reused=ALL)
    assert files_of(tmp_path / "alone") == files_of(both)
    with pytest.raises(CacheError, match="holds a cache with answers = second, tiny_x2, asked for teacher"):
        job.build_cache(*asked.but(teacher=third))


def test_other_scales_are_refused_by_name(photos: Path, teacher_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "three.safetensors"
    networks.save(networks.build("EDSR", 3, {"channels": 8, "blocks": 1}), other, {})
    asked = build_job(photos, tmp_path / "cache", None, teacher=[teacher_file, other], scale=None)
    with pytest.raises(SettingError) as caught:
        job.build_cache(*asked)
    assert str(caught.value) == f"{teacher_file} is a teacher of scale 2, {other} one of scale 3"
    assert not asked.out.exists()


def test_default_sides_are_whole_windows_of_all(
    teacher_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows, hr = iter((5, 8) * 2), save_photos(tmp_path / "hr", [(170, 170)])
    real = teacher.load

    def load(*args: object, **kwargs: object) -> teacher.Teacher:
        found = real(*args, **kwargs)  # type: ignore[arg-type]
        object.__setattr__(found, "info", found.info.model_copy(update={"window": next(windows)}))
        return found

    monkeypatch.setattr(teacher, "load", load)
    both = {"five": teacher_file, "eight": teacher_file}
    asked = build_job(hr, tmp_path / "c", None, teacher=both, patch=None, base=1, zoom_in=0, zoom_out=1)
    made = prepare(*asked)
    assert (made.plan.spec.patch, made.plan.spec.view("zoom_out").input_side) == (80, 40)
    made = prepare(*asked.but(patch=40, zoom_out_patch=10))
    said = [*job._beside_windows(asked.but(patch=40, zoom_out_patch=10).config, made.teachers)]
    assert [line.split(", so")[0] for line in said] == [
        "views.zoom_out.patch=10: no multiple of teacher eight's window of 8"
    ]


def test_inspect_and_verify_say_whose_answers_they_are(both: Path, second_teacher: Path, tmp_path: Path) -> None:
    cache = Cache(both)
    assert "second   EDSR from second.safetensors" in table(cache)
    found = measured(cache, 4, second_teacher, "cpu")
    assert {"tiny_x2-truth", "second-truth", "second-tiny_x2"} <= found.facts["quality"]["base"]["psnr"].keys()
    assert "teacher second's gap" in found.tables[1]
    assert all(note.startswith(("teacher second is", "teacher tiny_x2 is")) for note in found.facts["notes"])
    other = tmp_path / "other.safetensors"
    networks.save(networks.build("EDSR", 2, {"channels": 8, "blocks": 1}), other, {})
    fingerprints = {name: info.fingerprint[:12] for name, info in cache.manifest.answers.items()}
    with pytest.raises(CacheError) as caught:
        measured(cache, 4, other, "cpu")
    there = f"{fingerprints['second']} (second) or {fingerprints['tiny_x2']} (tiny_x2)"
    assert f"its teacher has fingerprint {there}, other.safetensors has " in str(caught.value)


@pytest.mark.parametrize("name", ["truth", "input", "mean", "agreement"])
def test_a_manifest_with_an_answer_of_such_a_name_is_refused(both: Path, name: str, tmp_path: Path) -> None:
    found = manifest.read(Folder(both))
    broken = found.model_copy(update={"answers": {name: found.answers["second"]}})
    manifest.write(broken, Folder(tmp_path))
    with pytest.raises(CacheError, match=f"answer {name}: that name means something else"):
        manifest.read(Folder(tmp_path))
