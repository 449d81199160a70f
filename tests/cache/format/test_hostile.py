"""Caches made to do harm: what lies is refused in one line, before memory is taken for it."""

import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.cache.samples import files_of, index_of, png_chunk
from tests.cache.test_cli import Command, refused
from tests.cache.test_cli import dukd_cache as dukd_cache  # a fixture

from dukd_cache.check.verify import verify
from dukd_cache.format import manifest
from dukd_cache.format.codecs import CODECS, decode
from dukd_cache.format.index import Rows, from_bytes, row_type, to_bytes
from dukd_cache.format.reader import Cache
from dukd_cache.format.record import Array
from dukd_cache.places.folder import Folder
from dukd_cache.settings.choices import Store
from dukd_cache.system.errors import CacheError, DukdError

STORES: tuple[Store, ...] = tuple(CODECS)
Json = dict[str, Any]


def sealed(content: Json) -> bytes:
    """A manifest with the checksum that belongs to it, by the description of the format."""
    text = json.dumps(content | {"checksum": "0" * 64}).encode()
    return text.replace(b"0" * 64, hashlib.sha256(text).hexdigest().encode(), 1)


@pytest.fixture(params=STORES)
def root(request: pytest.FixtureRequest, many_shards: dict[Store, Path], tmp_path: Path) -> Path:
    """A cache to tamper with."""
    return shutil.copytree(many_shards[request.param], tmp_path / "cache")


def rewrite(root: Path, change: Callable[[Json], object]) -> None:
    path = root / "manifest.json"
    content = json.loads(path.read_bytes())
    change(content)
    path.write_bytes(sealed(content))


def rewrite_index(
    root: Path, change: Callable[[Rows], object], name: str = "base-000000", sha256: str | None = None, more: int = 0
) -> None:
    """Change an index, and the manifest so that it vouches for it."""
    found = manifest.read_despite_damage(Folder(root))
    assert found is not None
    kind = row_type(found, found.view(name.partition("-")[0]))
    old = from_bytes((root / f"{name}.npy").read_bytes(), kind)
    rows = old.rows.copy()
    change(rows)
    new = to_bytes(rows, old.bytes + more, sha256 or old.sha256)
    (root / f"{name}.npy").write_bytes(new)

    def vouch(manifest: Json) -> None:
        view, _, number = name.rpartition("-")
        told = {"index_sha256": new[-32:].hex(), "sha256": sha256 or old.sha256, "bytes": old.bytes + more}
        for column, value in told.items():
            manifest["shards"][view][column][int(number)] = value

    rewrite(root, vouch)


def forged(root: Path, content: bytes, array: str = "teacher") -> None:
    """Put `content` in the place of that array of the first record of `base`, and make all hashes agree."""
    store = json.loads((root / "manifest.json").read_bytes())["encoding"]["store"]
    path = root / ("base-000000.tar" if store == "webdataset" else f"base/{array}/c/0/0/0/0")
    offset = path.stat().st_size
    with path.open("ab") as stream:
        stream.write(content)

    def point(rows: Rows) -> None:
        rows[f"{array}.offset"][0], rows[f"{array}.length"][0] = offset, len(content)
        rows[f"{array}.sha256"][0] = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)

    rewrite_index(root, point, more=len(content))


def everything_is_refused(root: Path, says: str = r"\S") -> None:
    """Opening, or reading the first record, fails with one line; so does `verify`, with a problem."""
    with pytest.raises(CacheError, match=says) as caught:
        Cache(root).read("base", 0)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    try:
        problems = verify(root)
    except DukdError:
        return
    assert problems
    assert all("\n" not in problem.message for problem in problems)


def test_untouched_it_reads(root: Path) -> None:
    rewrite(root, lambda _: None)
    assert Cache(root).read("base", 0).input.shape == (12, 12, 3)
    rewrite_index(root, lambda _: None)
    assert Cache(root).read("base", 0).input.shape == (12, 12, 3)


NAMES = [
    "../base-000000",
    "/etc/passwd",
    "a/b.tar",
    "base-000000/../x",
    "..",
    "",
    "base-0",
    "base-000001",
    "C:\\x",
    "\0",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_shards_are_never_paths(root: Path, name: str) -> None:
    """They follow from the views; nothing else can have shards."""
    rewrite(root, lambda manifest: manifest["shards"].update({name: manifest["shards"].pop("base")}))
    everything_is_refused(root, r"not a manifest of cache format 2 \(shards|contradicts itself: .* shards of ")
    rewrite(root, lambda manifest: manifest["shards"].update(base=manifest["shards"].pop(name) | {"name": [name]}))
    everything_is_refused(root, r"not a manifest of cache format 2 \(shards\.base\.name")


HUGE = [-1, 0, 2**31, 2**62, 2**64, 10**30]


@pytest.mark.parametrize("number", HUGE)
@pytest.mark.parametrize(
    "place",
    [
        ("patch",),
        ("views", 2, "arrays", "input", "side"),
        ("views", 0, "crops"),
        ("views", 0, "box"),
        ("images", "count"),
        ("images", "name_bytes"),
        ("views", 0, "shard_records"),
    ],
)
def test_numbers_that_lie_are_refused(root: Path, place: tuple[Any, ...], number: int) -> None:
    def lie(manifest: Json) -> None:
        for key in place[:-1]:
            manifest = manifest[key]
        manifest[place[-1]] = number

    rewrite(root, lie)
    everything_is_refused(root, r"manifest\.json: (not a manifest|contradicts itself)")


def test_numbers_that_lie_in_agreement_are_refused_by_the_index(root: Path) -> None:
    """A million records, says the manifest throughout: a trainer would take memory for all of them."""

    def lie(manifest: Json) -> None:
        manifest["views"] = [manifest["views"][0] | {"crops": 10**6, "shard_records": 10**6}]
        manifest["images"]["count"] = 1
        manifest["shards"] = {"base": {name: column[:1] for name, column in manifest["shards"]["base"].items()}}

    rewrite(root, lie)
    assert Cache(root).count("base") == 10**6
    everything_is_refused(root, r"base-000000\.npy: sha256 .* of 1000000 records")


@pytest.mark.parametrize(("offset", "length"), [(0, 2**32 - 1), (2**50, 10), (2**63, 2**31), (2**64 - 1, 1)])
def test_offsets_that_lie_are_refused(root: Path, offset: int, length: int) -> None:
    def lie(rows: Rows) -> None:
        for array in ("input", "teacher", "truth"):
            rows[f"{array}.offset"][0], rows[f"{array}.length"][0] = offset, length

    rewrite_index(root, lie)
    everything_is_refused(root, "ends at byte|sha256|cannot be read")


def test_names_that_are_no_text_are_refused(root: Path) -> None:
    def lie(rows: Rows) -> None:
        rows["image"][0] = b"\xff\xfe"

    rewrite_index(root, lie)
    everything_is_refused(root, "row 0 makes no sense")


def test_keys_of_a_manifest_stay_in_one_line(root: Path) -> None:
    rewrite(root, lambda manifest: manifest.update({"sur\nprise " * 100: 1}))
    everything_is_refused(root, "not a manifest")


@pytest.mark.parametrize("name", ["../../x", "a/b", "0input", "", "x" * 40, "é", "A", "in put"])
@pytest.mark.parametrize("kind", ["view", "array", "answer", "column"])
def test_names_are_plain(root: Path, kind: str, name: str) -> None:
    """They become parts of files' names."""

    def rename(manifest: Json) -> None:
        if kind == "view":
            manifest["views"][0]["name"] = name
        elif kind == "array":
            manifest["views"][0]["arrays"][name] = manifest["views"][0]["arrays"]["truth"]
        elif kind == "answer":
            manifest["answers"][name] = manifest["answers"]["teacher"]
        else:
            manifest["columns"][name] = "int64"

    rewrite(root, rename)
    everything_is_refused(root, "not a manifest")


def test_nested_and_endless_json_is_refused(root: Path) -> None:
    for content in (b"[" * 10**6, b'{"a":' * 10**5, b"9" * 10**5, b'"\\ud800"'):
        (root / "manifest.json").write_bytes(content)
        everything_is_refused(root, "not a manifest")


def test_an_index_without_end_is_not_read_to_it(root: Path) -> None:
    os.truncate(root / "base-000000.npy", 1 << 40)
    with pytest.raises(CacheError, match=r"base-000000\.npy: sha256 .* stored"):
        Cache(root).read("base", 0)
    assert verify(root)
    (root / "base-000000.npy").unlink()
    (root / "base-000000.npy").symlink_to("/dev/zero")
    with pytest.raises(CacheError, match=r"base-000000\.npy: sha256 .* stored"):
        Cache(root).read("base", 0)


@pytest.mark.parametrize("store", ["webdataset"])
def test_names_in_a_tar_are_never_paths(many_shards: dict[Store, Path], tmp_path: Path, store: Store) -> None:
    """Such a tar reads as before, nothing is written anywhere, and `verify` names the member."""
    root = shutil.copytree(many_shards[store], tmp_path / "in/cache")
    original = (root / "base-000000.tar").read_bytes()
    row = index_of(root, "base-000000.tar")[0]
    for name, kind in [("../../escaped.webp", tarfile.REGTYPE), ("/tmp/x", tarfile.SYMTYPE), ("x", tarfile.DIRTYPE)]:
        start = int(row["input.offset"]) - 512
        header = tarfile.TarInfo.frombuf(original[start : start + 512], "utf-8", "strict")
        header.name, header.type = name, kind
        content = original[:start] + header.tobuf(tarfile.USTAR_FORMAT) + original[start + 512 :]
        (root / "base-000000.tar").write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        rewrite_index(root, lambda _: None, sha256=sha256)
        Cache(root).read("base", 0)
        assert any("at byte" in problem.message for problem in verify(root))
        assert set(files_of(tmp_path)) == {f"in/cache/{path}" for path in files_of(many_shards[store])}


def png_bomb(side: int) -> bytes:
    """Says side × side, holds almost nothing."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(10**6), 9)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def webp_bomb(side: int, tag: bytes = b"VP8L") -> bytes:
    bits = struct.pack("<Q", (side - 1) | (side - 1) << 14)[:4]
    body = b"\x2f" + bits + bytes(40)
    if tag == b"VP8X":
        body = bytes(4) + struct.pack("<I", side - 1)[:3] + struct.pack("<I", side - 1)[:3]
    return b"RIFF" + struct.pack("<I", len(body) + 12) + b"WEBP" + tag + struct.pack("<I", len(body)) + body


def npy_bomb(header: str) -> bytes:
    text = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def blosc_bomb(length: int) -> bytes:
    body = bytes(64)
    return struct.pack("<BBBBIII", 2, 1, 0x84, 1, length, length, len(body) + 16) + body


KIND = Array(side=24, dtype="uint8")

BOMBS = {
    "png 100000": ("png", png_bomb(100_000)),
    "png 2³¹": ("png", png_bomb(2**31 - 1)),
    "png 4096": ("png", png_bomb(4096)),
    "webp 16383": ("webp", webp_bomb(16383)),
    "webp 16384": ("webp", webp_bomb(16384)),
    "webp VP8X": ("webp", webp_bomb(2**24, b"VP8X")),
    "webp empty": ("webp", b"RIFF"),
    "npy huge": ("raw", npy_bomb("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000, 1000000000, 3), }")),
    "npy negative": ("raw", npy_bomb("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 24, 3), }")),
    "npy short": ("raw", npy_bomb("{'descr': '|u1', 'fortran_order': False, 'shape': (24, 24, 3), }")),
    "npy objects": ("raw", npy_bomb("{'descr': '|O', 'fortran_order': False, 'shape': (24, 24, 3), }")),
    "npy code": ("raw", npy_bomb("__import__('os').system('touch /tmp/dukd-was-run')")),
    "npy nested": ("raw", npy_bomb("(" * 115)),
    "npy strings": ("raw", npy_bomb("{'descr': '|S2147483647', 'fortran_order': False, 'shape': (24, 24, 3), }")),
}


@pytest.mark.parametrize("name", BOMBS)
def test_images_that_lie_about_their_size_are_refused(
    many_shards: dict[Store, Path], tmp_path: Path, name: str
) -> None:
    codec, content = BOMBS[name]
    with pytest.raises(ValueError, match=r"\S"):
        decode(CODECS["webdataset"][codec], content, KIND)
    root = shutil.copytree(many_shards["webdataset"], tmp_path / "cache")
    rewrite(root, lambda manifest: manifest["encoding"].update(codec=codec))
    forged(root, content)
    with pytest.raises(CacheError, match=f"teacher.{CODECS['webdataset'][codec].suffix} cannot be decoded"):
        Cache(root).read("base", 0, ["teacher"])
    assert verify(root)
    assert not os.path.exists("/tmp/dukd-was-run")


@pytest.mark.parametrize("length", [0, 2**31 - 1, 2**32 - 1, 24 * 24 * 3])
def test_chunks_that_lie_about_their_size_are_refused(
    many_shards: dict[Store, Path], tmp_path: Path, length: int
) -> None:
    root = shutil.copytree(many_shards["zarr"], tmp_path / "cache")
    forged(root, blosc_bomb(length))
    everything_is_refused(root, "cannot be decoded")


def test_an_image_of_another_mode_is_refused() -> None:
    for mode in ("L", "RGBA", "P", "1", "I;16"):
        stream = io.BytesIO()
        Image.new(mode, (24, 24)).save(stream, "PNG")
        with pytest.raises(ValueError, match="mode"):
            decode(CODECS["webdataset"]["png"], stream.getvalue(), KIND)
    stream = io.BytesIO()
    Image.new("RGB", (24, 24)).save(stream, "JPEG")
    with pytest.raises(ValueError, match="cannot identify"):
        decode(CODECS["webdataset"]["png"], stream.getvalue(), KIND)


def test_none_of_it_takes_memory(tmp_path: Path) -> None:
    """In a process of its own: its peak grows by less than 64 MB over all bombs together."""
    for number, (suffix, content) in enumerate(BOMBS.values()):
        (tmp_path / f"{number:02d}.{suffix}").write_bytes(content)
    for number, length in enumerate((2**31 - 1, 2**32 - 1)):
        (tmp_path / f"{number:02d}.blosc").write_bytes(blosc_bomb(length))
    program = """
import resource, sys
from pathlib import Path
import numpy as np
from dukd_cache.format.codecs import CODECS, decode
from dukd_cache.format.record import Array
kind = Array(side=24, dtype="uint8")
codecs = {**CODECS["webdataset"], "blosc": CODECS["zarr"]["blosc"]}
for codec in codecs.values():
    decode(codec, codec.encode(np.zeros((24, 24, 3), np.uint8), False), kind)
resource.setrlimit(resource.RLIMIT_DATA, (2**29 + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, -1))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        decode(codecs[path.suffix[1:]], path.read_bytes(), kind)
    except ValueError:
        continue
    sys.exit(f"{path.name} was decoded")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64


def test_commands_say_it_in_one_line(root: Path, dukd_cache: Command, tmp_path: Path) -> None:
    rewrite(root, lambda manifest: manifest["shards"]["base"]["bytes"].pop())
    for words in (("inspect", root), ("convert", root, tmp_path / "d", "--store", "zarr")):
        refused(dukd_cache(*words), "manifest.json: contradicts itself: bytes of ", " shards of base, ")
    ended = dukd_cache("verify", root)
    assert ended.code == 1
    assert "contradicts itself" in ended.output
    assert ended.output.count("\n") == 2


def test_a_damaged_manifest_is_not_believed(root: Path) -> None:
    """One letter changed, everything still in order: only the checksum tells."""
    path = root / "manifest.json"
    for old, new in [(b"tiny_x2", b"tiny_y2"), (b'"seed": 0', b'"seed": 1'), (b" ", b"\n")]:
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new, 1))
        with pytest.raises(CacheError, match=r"manifest\.json: sha256 .* stored, .* computed"):
            Cache(root)
        path.write_bytes(content)
    assert np.array_equal(Cache(root).read("base", 0).input, Cache(root).read("base", 0).input)
