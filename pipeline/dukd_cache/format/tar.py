"""The container of a WebDataset store: a shard is a plain tar that any `webdataset` pipeline reads.

The members of a record lie together: `<key>.input.webp`, `<key>.json`, `<key>.teacher.webp`, `<key>.truth.webp`. Owner
and time are fixed, so equal records give equal bytes. Names in a tar are compared with those expected and used for
nothing else: a tar cut at a member's boundary reads as a shorter tar with no error, the index tells.

Framed here, after a header of the standard library, and not by `webdataset.TarWriter`, which writes one record after
another: here the threads that compress a record also make it a part of a tar, and the one that writes only copies.
"""

import tarfile
from collections.abc import Iterable, Mapping

from dukd_cache.format.container import Container, Packed, Piece
from dukd_cache.format.header import Header, ViewInfo
from dukd_cache.format.index import Entry
from dukd_cache.format.manifest import ShardInfo, shard_name
from dukd_cache.format.record import RecordInfo
from dukd_cache.places import Place
from dukd_cache.system.errors import ShardCorrupt

_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)


class Tar(Container):
    """One file a shard."""

    def files(self, view: ViewInfo, number: int) -> dict[str, str]:
        name = shard_name("webdataset", view.name, number)
        return dict.fromkeys(sorted(view.arrays), name)

    def member(self, header: Header, view: ViewInfo, array: str) -> str:
        """`input.webp`"""
        return f"{array}.{header.encoding.codec_of(view.arrays[array].dtype).suffix}"

    def packed(self, header: Header, view: ViewInfo, info: RecordInfo, arrays: Mapping[str, bytes]) -> Packed:
        names = {array: self.member(header, view, array) for array in arrays}
        contents = {"json": _json(info)} | {name: arrays[array] for array, name in names.items()}
        parts: list[bytes] = []
        starts: dict[str, int] = {}
        length = 0
        for name, content in sorted(contents.items()):
            parts += [_framing(f"{info.key}.{name}", len(content)), content, bytes(-len(content) % _BLOCK)]
            starts[name] = length + _BLOCK
            length += _BLOCK + len(content) + len(parts[-1])
        pieces = {array: Piece(0, starts[name], arrays[array]) for array, name in names.items()}
        return Packed(info, [b"".join(parts)], pieces)

    def end(self, view: ViewInfo, chunks: Iterable[tuple[int, int]], length: int) -> bytes:
        del view, chunks
        return _END + bytes(-(length + len(_END)) % tarfile.RECORDSIZE)

    def check(self, header: Header, shard: ShardInfo, entries: Iterable[Entry], place: Place) -> None:
        view, position = header.view(shard.view), 0
        path = place.at(shard.name)
        for entry in entries:
            found = {self.member(header, view, array): where for array, where in entry.members.items()}
            for name in sorted([*found, "json"]):
                block = place.read_range(shard.name, position, _BLOCK)
                try:
                    told = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
                except tarfile.HeaderError as error:
                    raise ShardCorrupt(f"no tar header at byte {position} ({error})", path) from error
                content = _json(entry.info)
                offset, length = (
                    (found[name].offset, found[name].length) if name in found else (position + _BLOCK, len(content))
                )
                if (position + _BLOCK, told.size, told.name) != (
                    offset,
                    length,
                    f"{entry.info.key}.{name}",
                ) or not told.isreg():
                    raise ShardCorrupt(
                        f"member {told.name!r:.80} at byte {position}, expected {entry.info.key}.{name}", path
                    )
                if name == "json" and place.read_range(shard.name, offset, length) != content:
                    raise ShardCorrupt(f"{entry.info.key}.json is not what the index says", path)
                position = offset + -(-length // _BLOCK) * _BLOCK
        most = tarfile.RECORDSIZE + 2 * _BLOCK
        end = place.read_range(shard.name, position, most + 1)
        if len(end) > most or end.strip(b"\0"):
            raise ShardCorrupt(f"something follows its last member, at byte {position}", path)


def _json(info: RecordInfo) -> bytes:
    """So that a stranger needs nothing but tar and an image decoder."""
    return info.model_dump_json().encode()


def _framing(name: str, length: int) -> bytes:
    """The header of a member: what is the same for all, its name, its length, and the sum of all these bytes."""
    encoded, size = name.encode(), b"%011o" % length
    if len(encoded) > tarfile.LENGTH_NAME or len(size) > 11:
        raise ValueError(f"{name} of {length} bytes does not fit in a tar")
    sums = _SUM + sum(encoded) + sum(size)
    return b"".join(
        (encoded.ljust(100, b"\0"), _HEADER[100:124], size, _HEADER[135:148], b"%06o\0" % sums, _HEADER[155:])
    )


def _empty_header() -> bytes:
    header = tarfile.TarInfo("")
    header.mode, header.uname, header.gname = 0o444, "dukd", "dukd"
    return header.tobuf(tarfile.USTAR_FORMAT)


_HEADER = _empty_header()
_SUM = int(_HEADER[148:154], 8) - sum(_HEADER[124:135])
