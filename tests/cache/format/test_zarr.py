"""Zarr shards: what the zarr package reads from them and writes itself, their bytes, and how damage shows."""

import hashlib
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr
from tests.cache.format.test_shards import reader_of, written
from tests.cache.samples import build_job, files_of, index_of, same
from tests.cache.test_cli import Command, refused
from tests.cache.test_cli import dukd_cache as dukd_cache  # a fixture

from dukd_cache.check import verify
from dukd_cache.commands import build as job
from dukd_cache.format import manifest
from dukd_cache.format.codecs import CODECS, decode
from dukd_cache.format.reader import Cache
from dukd_cache.format.record import DTYPES, Array, Dtype
from dukd_cache.format.shards import whole_shards
from dukd_cache.places.folder import Folder
from dukd_cache.plan.views import VIEWS
from dukd_cache.settings.choices import Store
from dukd_cache.system.errors import CacheError


def test_the_shard_is_described_truly(tmp_path: Path) -> None:
    shard = written("zarr", tmp_path)
    files = files_of(tmp_path)
    names = [f"base/{array}/c/3/0/0/0" for array in ("input", "teacher", "truth")]
    assert sorted(files) == ["base-000003.npy", *names]
    assert (shard.name, shard.view, shard.records) == ("base-000003", "base", 5)
    together = b"".join(files[name] for name in names)
    assert (shard.bytes, shard.sha256) == (len(together), hashlib.sha256(together).hexdigest())
    assert files["base-000003.npy"].endswith(bytes.fromhex(shard.index_sha256))
    for row in index_of(tmp_path, shard.name):
        for array in ("input", "teacher", "truth"):
            start, length = row[f"{array}.offset"], row[f"{array}.length"]
            chunk = files[f"base/{array}/c/3/0/0/0"][start : start + length]
            assert hashlib.sha256(chunk).digest() == row[f"{array}.sha256"].tobytes()


@pytest.mark.parametrize("codec", CODECS["zarr"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_zarr_package_opens_a_cache_and_reads_the_same(
    photos: Path, teacher_file: Path, tmp_path: Path, codec: str, dtype: Dtype
) -> None:
    job.build_cache(*build_job(photos, tmp_path / "c", teacher_file, store="zarr", codec=codec, dtype=dtype, base=2))
    cache = Cache(tmp_path / "c")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group = zarr.open_group(tmp_path / "c", mode="r")
        assert sorted(name for name, _ in group.members()) == sorted(VIEWS)
    assert group.attrs["dukd_cache"] == cache.manifest.header.model_dump(mode="json")
    plain = zarr.open_group(tmp_path / "c", mode="r", use_consolidated=False)
    for view in VIEWS:
        assert sorted(plain[view].array_keys()) == sorted(  # type: ignore[union-attr]
            {"input", "teacher", "truth"} - ({"truth"} if view == "zoom_in" else set())
        )
        for name in plain[view].array_keys():  # type: ignore[union-attr]
            array = plain[f"{view}/{name}"]
            assert isinstance(array, zarr.Array)
            y, x = ("input_y", "input_x") if name == "input" else ("y", "x")
            assert array.metadata.dimension_names == ("record", y, x, "channel")  # type: ignore[union-attr]
            assert array.chunks == (1, *array.shape[1:])
            expected = np.stack([cache.read(view, index)[name] for index in range(cache.count(view))])
            assert same(np.asarray(array[:]), expected)
            assert same(np.asarray(group[f"{view}/{name}"][1]), expected[1])  # type: ignore[index]


@pytest.mark.parametrize("store", ["zarr"])
def test_the_files_are_those_that_the_zarr_package_writes(
    many_shards: dict[Store, Path], tmp_path: Path, store: Store
) -> None:
    """Byte for byte: chunks, their order, index and checksum; and its metadata say the same as ours."""
    root = many_shards[store]
    ours = files_of(root)
    for view, name, side, before in [("base", "teacher", 24, ""), ("zoom_out", "input", 6, "input_")]:
        pixels = np.stack([Cache(root).read(view, n)[name] for n in range(Cache(root).count(view))])  # type: ignore[arg-type]
        codec = zarr.codecs.BloscCodec(
            cname="zstd", clevel=3, shuffle="bitshuffle", typesize=1, blocksize=side * side * 3
        )
        array = zarr.create_array(
            tmp_path / view,
            shape=pixels.shape,
            dtype="uint8",
            chunks=(1, side, side, 3),
            shards=({"base": 7, "zoom_out": 6}[view], side, side, 3),
            compressors=[codec],
            dimension_names=["record", f"{before}y", f"{before}x", "channel"],
            config={"write_empty_chunks": True},
        )
        array[:] = pixels
        theirs = files_of(tmp_path / view)
        assert len(theirs) == 4
        for number in range(3):
            assert theirs[f"c/{number}/0/0/0"] == ours[f"{view}/{name}/c/{number}/0/0/0"]
        meant = zarr.open_array(root / view / name, mode="r").metadata
        assert meant.to_dict() | {"attributes": {}} == array.metadata.to_dict() | {"attributes": {}}


@pytest.mark.parametrize("what", ["file", "chunk"])
def test_what_zarr_reads_as_zeros_is_refused_here(tmp_path: Path, what: str) -> None:
    """The zarr package alone may notice nothing: a missing shard is a fill value to it."""
    shard = written("zarr", tmp_path)
    path = tmp_path / "base/truth/c/3/0/0/0"
    if what == "file":
        path.unlink()
    else:
        os.truncate(path, int(index_of(tmp_path, shard.name)[4]["truth.offset"]))
    with pytest.raises(CacheError, match="truth/c/3/0/0/0"):
        reader_of("zarr", tmp_path).read(shard, 4)


@pytest.mark.parametrize("codec", CODECS["zarr"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_chunks_of_another_kind_are_refused(codec: str, dtype: Dtype) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (8, 8, 3)).astype(dtype)
    chosen = CODECS["zarr"][codec]
    content = chosen.encode(pixels, False)
    assert same(decode(chosen, content, Array(side=8, dtype=dtype)), pixels)
    for wrong in (9, 1024):
        with pytest.raises(ValueError, match="bytes of pixels"):
            decode(chosen, content, Array(side=wrong, dtype=dtype))
    for damaged in (b"", content[:10], content[:-1], content + b"\0"):
        with pytest.raises(ValueError, match="bytes"):
            decode(chosen, damaged, Array(side=8, dtype=dtype))


def test_a_damaged_blosc_chunk_is_refused() -> None:
    chosen = CODECS["zarr"]["blosc"]
    content = bytearray(chosen.encode(np.zeros((8, 8, 3), np.uint8), False))
    content[16:] = bytes(len(content) - 16)
    with pytest.raises(ValueError, match="decompression"):
        decode(chosen, bytes(content), Array(side=8, dtype="uint8"))


class TestCommand:
    """`--store zarr`"""

    def test_build_and_inspect(self, photos: Path, teacher_file: Path, dukd_cache: Command, tmp_path: Path) -> None:
        build = ("build", "--hr", photos, "--teacher", teacher_file, "--patch", 12, "--base", 2, "--store", "zarr")
        first, again = dukd_cache(*build, "--out", tmp_path / "c"), dukd_cache(*build, "--out", tmp_path / "c")
        assert first.code == again.code == 0
        assert "kept 0" in first.output
        assert "asked the teacher for 0, reused 0, kept 18" in again.output
        assert "zarr, blosc, answers uint8" in dukd_cache("inspect", tmp_path / "c").output
        dukd_cache(*build, "--out", tmp_path / "d")
        assert files_of(tmp_path / "c") == files_of(tmp_path / "d")

    @pytest.mark.parametrize(("store", "codec"), [("zarr", "webp"), ("zarr", "png"), ("webdataset", "blosc")])
    def test_a_codec_that_the_store_lacks(
        self, photos: Path, dukd_cache: Command, tmp_path: Path, store: Store, codec: str
    ) -> None:
        words = ("--hr", photos, "--scale", 2, "--patch", 12, "--out", tmp_path / "c", "--store", store)
        ended = dukd_cache("build", *words, "--codec", codec)
        refused(ended, f"--codec {codec}: --store {store} has {', '.join(CODECS[store])}")
        assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("store", list(CODECS))
def test_whole_shards_are_known_without_a_manifest(
    many_shards: dict[Store, Path], tmp_path: Path, store: Store
) -> None:
    found = manifest.read(Folder(many_shards[store]))
    root = shutil.copytree(many_shards[store], tmp_path / "c")
    (root / "manifest.json").unlink()
    (root / "base-000001.npy").unlink()
    (root / "base-notes.npy").write_text("{}")
    shards = [shard for shard, _ in whole_shards(Folder(root), found)]
    assert shards == [found.shards[0], *found.shards[2:]]


def test_dimensions_of_one_name_are_of_one_length(many_shards: dict[Store, Path]) -> None:
    """In every group: else xarray opens none."""
    root = zarr.open_group(many_shards["zarr"], mode="r", use_consolidated=False)
    for view, group in root.groups():
        lengths: dict[str, set[int]] = {}
        for _, array in group.arrays():
            for name, length in zip(array.metadata.dimension_names, array.shape, strict=True):  # type: ignore[union-attr,arg-type]
                lengths.setdefault(str(name), set()).add(length)
        assert all(len(found) == 1 for found in lengths.values()), (view, lengths)


def test_other_names_of_dimensions_are_told(many_shards: dict[Store, Path], tmp_path: Path) -> None:
    shutil.copytree(many_shards["zarr"], tmp_path / "c")
    file = tmp_path / "c/base/input/zarr.json"
    file.write_bytes(file.read_bytes().replace(b"input_y", b"y").replace(b"input_x", b"x"))
    (problem,) = verify.verify(tmp_path / "c")
    assert problem.message == f"{file}: not what follows from manifest.json"
