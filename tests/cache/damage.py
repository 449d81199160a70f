"""Random damage to a finished cache, as disks and people do it."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.cache.samples import index_of

from dukd_cache.format import manifest
from dukd_cache.format.manifest import Manifest
from dukd_cache.places.folder import Folder


def damage(root: Path, seed: int) -> str:
    """Change the cache at `root` in one way, chosen by `seed`; says which."""
    rng = random.Random(seed)
    how = WAYS[seed % len(WAYS)]
    return f"{seed}: {how(root, rng)}"


def _flip(root: Path, rng: random.Random) -> str:
    path = _file(root, rng)
    content = bytearray(path.read_bytes())
    at, bit = rng.randrange(len(content)), rng.randrange(8)
    content[at] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {at} of {path.name} flipped"


def _cut(root: Path, rng: random.Random) -> str:
    path = _file(root, rng)
    length = rng.randrange(path.stat().st_size)
    os.truncate(path, length)
    return f"{path.name} cut at byte {length}"


def _cut_at_a_boundary(root: Path, rng: random.Random) -> str:
    """A tar before a member's header, an array's file after a chunk."""
    found = manifest.read(Folder(root))
    shard = rng.choice(found.shards)
    row, name = rng.choice(index_of(root, shard.name)), rng.choice(sorted(found.view(shard.view).arrays))
    offset, size = int(row[f"{name}.offset"]), int(row[f"{name}.length"])
    if found.encoding.store == "zarr":
        path, length = root / f"{shard.view}/{name}/c/{int(shard.name[-6:])}/0/0/0", offset + size
    else:
        path, length = root / shard.name, offset - 512
    assert length < path.stat().st_size
    os.truncate(path, length)
    return f"{path.relative_to(root)} cut at a boundary, byte {length}"


def _grow(root: Path, rng: random.Random) -> str:
    path = _file(root, rng)
    with path.open("ab") as stream:
        stream.write(rng.randbytes(rng.choice([1, 512, 10240])))
    return f"{path.name} grew"


def _blank(root: Path, rng: random.Random) -> str:
    """What a file system may leave after a power cut: the right length, zeros inside."""
    path = _file(root, rng)
    content = path.read_bytes()
    start = rng.randrange(len(content))
    path.write_bytes((content[:start] + bytes(4096))[: len(content)].ljust(len(content), b"\xff"))
    return f"{path.name} overwritten from byte {start}"


def _delete(root: Path, rng: random.Random) -> str:
    path = _file(root, rng)
    path.unlink()
    return f"{path.relative_to(root)} deleted"


def _swap_shards(root: Path, rng: random.Random) -> str:
    """Two shards of a view change places, with or without their indices."""
    found = manifest.read(Folder(root))
    view = rng.choice(found.view_names)
    names = rng.sample([shard.name for shard in found.shards if shard.view == view], 2)
    with_indices = rng.random() < 0.5
    for one, other in zip(*(_files_of(root, found, name, with_indices) for name in names), strict=True):
        _swap(one, other)
    return f"{names[0]} and {names[1]} swapped{' with their indices' * with_indices}"


def _swap_any(root: Path, rng: random.Random) -> str:
    one, other = _two_that_differ(root, rng)
    _swap(one, other)
    return f"{one.relative_to(root)} and {other.relative_to(root)} swapped"


def _copy_over(root: Path, rng: random.Random) -> str:
    one, other = _two_that_differ(root, rng)
    shutil.copy(one, other)
    return f"{one.relative_to(root)} copied over {other.relative_to(root)}"


WAYS: list[Callable[[Path, random.Random], str]] = [
    _flip, _cut, _cut_at_a_boundary, _delete, _swap_shards, _flip, _grow, _blank, _swap_any, _copy_over,
]  # fmt: skip


def _two_that_differ(root: Path, rng: random.Random) -> list[Path]:
    """Two files of unequal content: swapping the others changes nothing."""
    while True:
        found = rng.sample(_files(root), 2)
        if found[0].read_bytes() != found[1].read_bytes():
            return found


def _files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def _file(root: Path, rng: random.Random) -> Path:
    return rng.choice(_files(root))


def _files_of(root: Path, found: Manifest, name: str, with_index: bool) -> list[Path]:
    stem = name.partition(".")[0]
    view, number = stem.rsplit("-", 1)
    paths = (
        [root / name] if found.encoding.store == "webdataset" else sorted(root.glob(f"{view}/*/c/{int(number)}/0/0/0"))
    )
    return paths + [root / f"{stem}.npy"] * with_index


def _swap(one: Path, other: Path) -> None:
    kept = one.read_bytes()
    shutil.copy(other, one)
    other.write_bytes(kept)
