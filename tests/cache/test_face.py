"""`import dukd_cache`: what Python users meet first."""

import pydoc
import re
from pathlib import Path

import pytest
from tests.cache.samples import Asked, build_job, everything, files_of, same

import dukd_cache
from dukd_cache.commands.build import build_cache
from dukd_cache.format.reader import Cache
from dukd_cache.system import errors


@pytest.fixture
def asked(photos: Path, teacher_file: Path, tmp_path: Path) -> Asked:
    return build_job(photos, tmp_path / "cache", teacher_file, base=2, zoom_in=1, zoom_out=0)


def test_all_errors_that_a_user_can_mend_are_there() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DukdError)}
    assert kinds <= {getattr(dukd_cache, name) for name in dukd_cache.__all__}


def test_names_are_those_of_their_rooms() -> None:
    assert dukd_cache.Cache is Cache
    assert dukd_cache.symmetries.elements()["identity"] == dukd_cache.symmetries.Element()
    assert callable(dukd_cache.build)
    assert callable(dukd_cache.plan)
    with pytest.raises(AttributeError, match=r"^module 'dukd_cache' has no attribute 'bulid'$"):
        dukd_cache.bulid  # type: ignore[attr-defined]  # noqa: B018


def test_its_help_begins_with_a_first_session() -> None:
    said = pydoc.plain(pydoc.render_doc(dukd_cache))
    assert "cache = dukd_cache.build(config" in said.split("PACKAGE CONTENTS")[0]
    assert len(str(dukd_cache.__doc__).splitlines()) < 20
    assert "build(config: 'CacheConfig', out: " in said


def test_a_cache_is_planned_built_opened_and_verified(
    asked: Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forecast = dukd_cache.plan(*asked)
    assert forecast.records == {"base": 6, "zoom_in": 3}
    assert not asked.out.exists()
    cache = dukd_cache.build(*asked)
    assert {view: len(cache[view]) for view in cache} == {"base": 6, "zoom_in": 3}
    build_cache(*asked.but(out=tmp_path / "same"))
    assert files_of(asked.out) == files_of(tmp_path / "same")
    opened = dukd_cache.open(str(asked.out))
    assert isinstance(opened["base"][0], dukd_cache.Record)
    assert (
        dukd_cache.verify(asked.out)
        == dukd_cache.verify(asked.out, str(asked.config.teacher["teacher"]), 3, "cpu")
        == []
    )
    assert capsys.readouterr().out == ""


def test_problems_are_returned_and_nothing_is_printed(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    dukd_cache.build(*asked)
    (asked.out / "base-000000.tar").unlink()
    (problem,) = dukd_cache.verify(asked.out)
    assert isinstance(problem, dukd_cache.Problem)
    assert problem.message == f"{asked.out}/base-000000.tar: missing"
    assert capsys.readouterr().out == ""


def test_convert_writes_another_store(small_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = dukd_cache.convert(small_cache, tmp_path / "zarr", "zarr", codec="raw", shard_size=2)
    assert (found.manifest.encoding.store, found.manifest.encoding.codec) == ("zarr", "raw")
    for one, other in zip(everything(Cache(small_cache), "base"), found["base"], strict=True):
        assert all(same(one[name], other[name]) for name in one)
    assert capsys.readouterr().out == ""


def test_mistakes_are_the_package_s_errors(small_cache: Path, tmp_path: Path, asked: Asked) -> None:
    with pytest.raises(dukd_cache.CacheError, match="no finished cache here"):
        dukd_cache.open(tmp_path)
    with pytest.raises(dukd_cache.SettingError, match=r"^unknown reading 'any' "):
        dukd_cache.open(small_cache, "any")  # type: ignore[arg-type]
    with pytest.raises(dukd_cache.SettingError, match=r"^unknown store 'tar': .*\(valid: webdataset, zarr\)$"):
        dukd_cache.convert(small_cache, tmp_path / "out", "tar")  # type: ignore[arg-type]
    with pytest.raises(dukd_cache.WeightsError):
        dukd_cache.verify(small_cache, tmp_path / "nothing.pth")
    with pytest.raises(dukd_cache.ImageError):
        dukd_cache.build(asked.but(hr=tmp_path / "nothing").config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"precision": "fp17"}, "unknown precision 'fp17': did you mean 'fp16'?"),
        ({"dtype": "uint9"}, "unknown dtype 'uint9': did you mean 'uint8'?"),
        ({"of": "klean"}, "unknown of 'klean': did you mean 'clean'?"),
        ({"self_ensemble": 3}, "setting self_ensemble: expected 1, 8 or 16, got 3"),
        ({"batch_size": 0}, "setting batch_size: expected a whole number from 1 to 4096, got 0"),
        ({"takes": {"values": 7}}, "setting takes.values: expected 1 or 255, got 7"),
        ({"dtyp": "uint8"}, "unknown setting 'dtyp': did you mean 'dtype'?"),
    ],
)
def test_how_another_teacher_is_asked_is_checked(
    given: dict[str, object], says: str, small_cache: Path, teacher_file: Path
) -> None:
    before = files_of(small_cache)
    with pytest.raises(dukd_cache.SettingError, match=f"^{re.escape(says)}"):
        dukd_cache.answer(small_cache, teacher_file, name="other", **given)
    assert files_of(small_cache) == before


def test_numbers_and_names_that_mean_nothing_are_refused(
    small_cache: Path, teacher_file: Path, tmp_path: Path, asked: Asked
) -> None:
    with pytest.raises(dukd_cache.SettingError, match=r"^`sample` must be positive, got -1$"):
        dukd_cache.verify(small_cache, teacher_file, sample=-1)
    with pytest.raises(dukd_cache.SettingError, match=r"^`shard_size=0`: expected a whole number from 1 to 100000$"):
        dukd_cache.convert(small_cache, tmp_path / "out", "zarr", shard_size=0)
    with pytest.raises(dukd_cache.SettingError, match=r"^unknown engine 'rayy': did you mean 'ray'\?"):
        dukd_cache.build(*asked, engine="rayy")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
    assert not asked.out.exists()
