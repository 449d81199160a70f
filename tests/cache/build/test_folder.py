"""`dukd-cache convert --store folder`: PNG pairs, found and paired as other programs' datasets do it."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cache.samples import build_job, files_of
from tests.cache.test_cli import Command, refused
from tests.cache.test_cli import dukd_cache as dukd_cache  # a fixture

from dukd_cache.build.folder import MARK, META, write_pairs
from dukd_cache.commands import build as job
from dukd_cache.format.reader import Cache
from dukd_cache.format.record import Pixels
from dukd_cache.pictures.levels import to_uint8


@pytest.fixture(scope="module")
def caches(photos: Path, teacher_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cache]:
    folder = tmp_path_factory.mktemp("caches")
    few = {"base": 3, "zoom_in": 2, "zoom_out": 2}
    job.build_cache(*build_job(photos, folder / "uint8", teacher_file, **few))
    job.build_cache(*build_job(photos, folder / "float16", teacher_file, dtype="float16", base=2))
    job.build_cache(*build_job(photos, folder / "pairs", None, base=2))
    return {name: Cache(folder / name) for name in ("uint8", "float16", "pairs")}


def listed(lq: Path, gt: Path, meta: Path | None) -> list[tuple[Path, Path]]:
    """Pairs as BasicSR finds them: all files of two folders by equal names, or those that a file names."""
    if meta is not None:
        names = [line.split(" ")[0] for line in meta.read_text().splitlines()]
    else:
        names = sorted(os.listdir(gt))
        assert sorted(os.listdir(lq)) == names
    return [(lq / name, gt / name) for name in names]


def opened(path: Path) -> Pixels:
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image)


@pytest.mark.parametrize("by_meta", [False, True])
@pytest.mark.parametrize(("kind", "gt"), [("uint8", "gt"), ("float16", "gt"), ("pairs", "truth")])
def test_a_dataset_loop_gets_the_pixels_of_the_cache(
    caches: dict[str, Cache], tmp_path: Path, kind: str, gt: str, by_meta: bool
) -> None:
    cache = caches[kind]
    write_pairs(cache, tmp_path / "out")
    for view in cache.views:
        root = tmp_path / "out" / view
        pairs = listed(root / "lq", root / gt, root / META if by_meta else None)
        assert len(pairs) == cache.count(view)
        for record, (lq, answer) in zip(cache[view], pairs, strict=True):
            assert lq.stem == record.info.key
            assert np.array_equal(opened(lq), record.input)
            assert np.array_equal(opened(answer), to_uint8(record["truth" if kind == "pairs" else "teacher"]))
            if "truth" in record:
                assert np.array_equal(opened(root / "truth" / lq.name), record["truth"])
        assert (root / "truth").is_dir() == ("truth" in cache[view].arrays)
        side = cache.manifest.scale * cache.manifest.view(view).input_side
        assert {line.partition(" ")[2] for line in (root / META).read_text().splitlines()} == {f"({side},{side},3)"}


def test_what_was_stopped_goes_on_and_whole_files_are_kept(caches: dict[str, Cache], tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    write_pairs(caches["uint8"], whole)

    class StoppedError(Exception):
        pass

    def stop(_count: int) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        write_pairs(caches["uint8"], stopped, on_records=stop)
    there = files_of(stopped)
    assert 1 < len(there) < len(files_of(whole))
    ages = {name: (stopped / name).stat().st_mtime_ns for name in there}
    write_pairs(caches["uint8"], stopped)
    assert files_of(stopped) == files_of(whole)
    assert ages == {name: (stopped / name).stat().st_mtime_ns for name in there}


def test_the_command_says_what_is_there_and_what_is_rounded(
    dukd_cache: Command, caches: dict[str, Cache], tmp_path: Path
) -> None:
    cache, out = caches["float16"], tmp_path / "out"
    done = dukd_cache("convert", cache.root, out, "--store", "folder")
    assert done.code == 0
    views = ", ".join(
        f"{len(cache[view])} {view} (" + ("lq, gt, truth)" if "truth" in cache[view].arrays else "lq, gt)")
        for view in cache
    )
    assert done.output == f"{out}: PNG pairs, ×2: {views}\n"
    assert f"{cache.root}: answers of float16 are rounded to 8 bits, as PNG holds no more" in done.errors


def test_what_is_not_its_own_is_refused_and_left_alone(
    dukd_cache: Command, caches: dict[str, Cache], tmp_path: Path
) -> None:
    source, out = caches["uint8"].root, tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    refused(dukd_cache("convert", source, out, "--store", "folder"), f"{out}: holds something else (notes.txt)")
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
    before = files_of(source)
    refused(dukd_cache("convert", source, source, "--store", "folder"), f"{source}: holds something else (")
    assert files_of(source) == before
    write_pairs(caches["pairs"], tmp_path / "pairs")
    refused(dukd_cache("convert", source, tmp_path / "pairs", "--store", "folder"), "holds the pairs of another cache")
    refused(
        dukd_cache("convert", source, out, "--store", "folder", "--codec", "png"),
        "holds PNG files: leave out --codec and --shard-size",
    )
    refused(dukd_cache("inspect", tmp_path / "pairs"), "no finished cache")
    assert (tmp_path / "pairs" / MARK).is_file()
