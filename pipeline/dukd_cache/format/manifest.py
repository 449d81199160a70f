"""`manifest.json`: what a finished cache says of itself. Its header, and its shards with their hashes."""

import hashlib
import json
from collections.abc import Iterable
from typing import NamedTuple, Self

from pydantic import BaseModel, Field, ValidationError

from dukd_cache.format.header import FORMAT_VERSION, Header
from dukd_cache.format.record import Count, Frozen, Name, Sha256
from dukd_cache.places import Place
from dukd_cache.settings.choices import Store
from dukd_cache.system.errors import CacheError, ShardCorrupt

MANIFEST = "manifest.json"


class ShardInfo(NamedTuple):
    """A shard that is whole."""

    name: str
    """`shard_name` of its store, view and number. Its index is named after it."""
    view: str
    records: int
    bytes: int
    """Of the shard's files together. So for `sha256`."""
    sha256: str
    index_sha256: str
    """Root of the index's hashes (see `index`)."""


class ShardColumns(Frozen):
    """What the header does not say of the shards of a view, by their numbers."""

    bytes: tuple[Count, ...]
    sha256: tuple[Sha256, ...]
    index_sha256: tuple[Sha256, ...]

    @classmethod
    def of(cls, shards: Iterable[ShardInfo]) -> Self:
        """Of these, which are all of their view, in their order."""
        found = list(shards)
        return cls(
            bytes=tuple(shard.bytes for shard in found),
            sha256=tuple(shard.sha256 for shard in found),
            index_sha256=tuple(shard.index_sha256 for shard in found),
        )


class Manifest(Header):
    """What a finished cache says of itself."""

    shard_columns: dict[Name, ShardColumns] = Field(alias="shards")
    """By view."""

    @classmethod
    def of(cls, header: Header, shards: Iterable[ShardInfo]) -> Self:
        """Of the cache that `header` describes, with all its shards in their order."""
        of_view: dict[str, list[ShardInfo]] = {name: [] for name in header.view_names}
        for shard in shards:
            of_view[shard.view].append(shard)
        return cls(**dict(header), shards={view: ShardColumns.of(found) for view, found in of_view.items()})

    @property
    def header(self) -> Header:
        """The same without its shards."""
        return Header(**{name: getattr(self, name) for name in Header.model_fields})

    @property
    def shards(self) -> list[ShardInfo]:
        """All of them, in the order in which they are written."""
        return [shard for view in self.view_names for shard in self.shards_of(view)]

    def shards_of(self, view: str, first: int = 0, end: int | None = None) -> list[ShardInfo]:
        """Those of `view` whose numbers are from `first` to before `end`; None: to the last."""
        info, columns = self.view(view), self.shard_columns[view]
        store, size, total = self.encoding.store, info.shard_records, self.total(info)
        found = zip(columns.bytes[first:end], columns.sha256[first:end], columns.index_sha256[first:end], strict=True)
        return [
            ShardInfo(shard_name(store, view, number), view, min(size, total - number * size), *told)
            for number, told in enumerate(found, first)
        ]


def shard_name(store: Store, view: str, number: int) -> str:
    """`base-000003.tar`; `base-000003` in a Zarr store, where a shard is a file of each array."""
    return f"{view}-{number:06d}{'.tar' if store == 'webdataset' else ''}"


def number_of(shard: str) -> int:
    """3 of `base-000003.tar`; the manifest was checked to have such names only."""
    return int(shard.partition(".")[0].rpartition("-")[2])


def shard_ranges(total: int, per_shard: int) -> list[range]:
    """Positions 0 … total−1 cut into runs of `per_shard`; the last may be shorter."""
    return [range(start, min(start + per_shard, total)) for start in range(0, total, per_shard)]


def to_json(model: BaseModel) -> bytes:
    """Stable bytes: equal models give equal files."""
    return (json.dumps(model.model_dump(mode="json", by_alias=True), indent=1, sort_keys=True) + "\n").encode()


def write(manifest: Manifest, place: Place) -> None:
    """Put `manifest.json` into `place`, whole or not at all."""
    place.write(MANIFEST, _sealed(manifest))


def read(place: Place) -> Manifest:
    """The manifest of the cache at `place`. Raises what `opened` does."""
    return opened(place)[0]


def opened(place: Place) -> tuple[Manifest, str]:
    """The manifest of the cache at `place`, and its digest.

    That is the sha256 of its file: it names the cache and, through the shards' hashes, all it holds.

    Raises:
        CacheError: there is no finished cache, or one of another format version, or its manifest contradicts itself.
        ShardCorrupt: the manifest is not the one that was written.
    """
    try:
        content = place.read(MANIFEST)
    except FileNotFoundError:
        place.names(MANIFEST)  # a bucket that is not there is another mistake, and is told
        raise CacheError(f"no finished cache here ({MANIFEST} is missing)", place) from None
    path = place.at(MANIFEST)
    found = _parsed(path, content)
    computed = _checksum(content, found.checksum)
    if computed != found.checksum:
        raise ShardCorrupt(f"sha256 {found.checksum[:12]}… stored, {computed[:12]}… computed", path)
    return found.open(), hashlib.sha256(content).hexdigest()


def read_despite_damage(place: Place) -> Manifest | None:
    """What a manifest says whose checksum does not hold; None where it does not even make sense."""
    try:
        return _parsed(place.at(MANIFEST), place.read(MANIFEST)).open()
    except (CacheError, OSError):
        return None


class _SealedManifest(Manifest):
    """The manifest as it is in its file."""

    checksum: Sha256
    """sha256 of the file with 64 zeros in this value's place."""

    def open(self) -> Manifest:
        return Manifest.model_construct(**{name: getattr(self, name) for name in Manifest.model_fields})


_NO_CHECKSUM = "0" * 64


def _sealed(manifest: Manifest) -> bytes:
    content = to_json(_SealedManifest.model_construct(**dict(manifest), checksum=_NO_CHECKSUM))
    return content.replace(_field(_NO_CHECKSUM), _field(_checksum(content, _NO_CHECKSUM)), 1)


def _checksum(content: bytes, stored: str) -> str:
    return hashlib.sha256(content.replace(_field(stored), _field(_NO_CHECKSUM), 1)).hexdigest()


def _field(checksum: str) -> bytes:
    return f'"checksum": "{checksum}"'.encode()


def _parsed(path: str, content: bytes) -> _SealedManifest:
    try:
        found = _SealedManifest.model_validate_json(content)
    except ValidationError as error:
        version = _version(content)
        if isinstance(version, int) and version != FORMAT_VERSION:
            raise CacheError(
                f"cache format {FORMAT_VERSION} expected, found {version!r:.20}: build this cache anew", path
            ) from error
        first = error.errors()[0]
        where = " ".join(".".join(map(str, first["loc"])).split())[:80] or "content"
        raise CacheError(f"not a manifest of cache format {FORMAT_VERSION} ({where}: {first['msg']})", path) from error
    if contradiction := _contradiction(found):
        raise CacheError(f"contradicts itself: {contradiction}", path)
    return found


def _version(content: bytes) -> object:
    """The number of the format that a manifest says it is of; None where it is no manifest of ours."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found.get("version") if isinstance(found, dict) and found.get("format") == "dukd-cache" else None


def _contradiction(manifest: Manifest) -> str | None:
    """The first thing in which shards and header disagree."""
    if manifest.shard_columns.keys() != {*manifest.view_names}:
        return f"views {', '.join(manifest.view_names)}, shards of {', '.join(manifest.shard_columns) or 'none'}"
    for view in manifest.views:
        expected = -(-manifest.total(view) // view.shard_records)
        for column, values in manifest.shard_columns[view.name]:
            if len(values) != expected:
                return f"{column} of {len(values)} shards of {view.name}, {expected} follow from its counts"
    for answer, info in manifest.answers.items():
        for view in manifest.views:
            if answer in view.arrays and info.of not in view.arrays:
                return f"answer {answer} is of {info.of}, which {view.name} lacks"
    return None
