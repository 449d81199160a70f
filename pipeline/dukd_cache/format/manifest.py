"""The contract between the two halves: what a cache says of itself, as `manifest.json`.

The format is described in docs/cache-format.md.
"""

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from dukd_cache.places import Place
from dukd_cache.system.errors import CacheError, ShardCorrupt

FORMAT_VERSION: Literal[2] = 2
MANIFEST = "manifest.json"

View = Literal["base", "zoom_in", "zoom_out"]
Store = Literal["webdataset", "zarr"]
Codec = Literal["webp", "png", "raw", "blosc"]
Dtype = Literal["uint8", "float16", "float32"]
Precision = Literal["fp32", "bf16", "fp16"]

DTYPES: tuple[Dtype, ...] = ("uint8", "float16", "float32")
"""The coarsest first: an answer may serve those before its own, never those after it."""

VIEWS: tuple[View, ...] = ("base", "zoom_in", "zoom_out")

CODECS: dict[Store, tuple[Codec, ...]] = {"webdataset": ("webp", "png", "raw"), "zarr": ("blosc", "raw")}
"""What each store can compress with; the first is its default."""

MAX_SIDE = 1024
"""Of a patch. So no array of a record is larger than 4096×4096, whatever a manifest says."""
MAX_SHARD_RECORDS = 1_000_000

Count = Annotated[int, Field(ge=0, le=2**53)]
Side = Annotated[int, Field(gt=0, le=MAX_SIDE)]
Records = Annotated[int, Field(gt=0, le=MAX_SHARD_RECORDS)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CropSpec(_Frozen):
    """Which crops are cut from each image."""

    scale: Literal[2, 3, 4]
    """The SR factor s."""
    patch: Side
    """Side p of an LR patch, in pixels: the input of `base` and `zoom_in`."""
    zoom_out_patch: Side
    """Side of `zoom_out`'s input. p // s is the authors' way: the LR patch of side p is its truth."""
    base: Count
    """Records an image of this view; 0 leaves the view out. So for the next two."""
    zoom_in: Count
    zoom_out: Count
    seed: int
    """Moves every crop."""

    def count(self, view: View) -> int:
        """Records of `view` an image."""
        return {"base": self.base, "zoom_in": self.zoom_in, "zoom_out": self.zoom_out}[view]

    def input_side(self, view: View) -> int:
        """Side of an input of `view`, in pixels."""
        return self.zoom_out_patch if view == "zoom_out" else self.patch

    def output_side(self, view: View) -> int:
        """Side of the teacher's answer, and of the truth where there is one, in pixels."""
        return self.input_side(view) * self.scale

    @property
    def views(self) -> tuple[View, ...]:
        """The views that are not left out, in their fixed order."""
        return tuple(view for view in VIEWS if self.count(view))


class TeacherInfo(_Frozen):
    """Whose answers these are."""

    file: str
    """Name of the weights file. The fingerprint says what was in it."""
    architecture: str
    settings: dict[str, Any]
    fingerprint: str
    precision: Precision
    window: Side
    """Inputs are mirrored to a multiple of it, in pixels, before the network sees them; 1: none needed."""


class SkippedImage(_Frozen):
    """An image that was found and could not be used."""

    name: str
    """Path below the images' folder."""
    reason: str


class ImagesInfo(_Frozen):
    """Which images the crops come from."""

    count: Count
    sha256: str
    """Over every image's name and content, and its LR file's content."""
    lr: str
    """`bicubic` where LR was made from HR, else the template of the LR files that were read."""
    skipped: tuple[SkippedImage, ...] = ()
    """What `--on-bad-image skip` left out. Not in `count`, and not written where there is none."""

    @model_serializer(mode="wrap")
    def _without_nothing(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = plain(self)
        if not self.skipped:
            content.pop("skipped", None)
        return content


class Encoding(_Frozen):
    """How records are stored."""

    store: Store
    codec: Codec
    """One of `CODECS[store]`."""
    dtype: Dtype
    """Of the teacher's answers. Inputs and truths are always uint8."""
    shard_records: dict[View, Records]
    """Records a shard of each view; the last of a view may hold fewer."""

    @model_validator(mode="after")
    def _store_has_codec(self) -> Self:
        if self.codec not in CODECS[self.store]:
            raise ValueError(f"store {self.store} has no codec {self.codec} (valid: {', '.join(CODECS[self.store])})")
        return self


class Header(_Frozen):
    """All that is known before the first record: two builds with equal headers write equal bytes."""

    format: Literal["dukd-cache"] = "dukd-cache"
    version: Literal[2] = FORMAT_VERSION
    spec: CropSpec
    teacher: TeacherInfo | None
    """None in a cache of pairs, made to train from scratch: `base` only, no teacher's answers."""
    images: ImagesInfo
    encoding: Encoding
    software: dict[str, str]
    """Versions of what made the pixels and the bytes."""


class ShardInfo(_Frozen):
    """A shard that is whole."""

    name: str
    """`shard_name` of its store, view and number. Its sidecar is `<name without suffix>.json`."""
    view: View
    records: Records
    bytes: Count
    """Of the shard's file, or of its files together. So for `sha256`."""
    sha256: Sha256
    sidecar_sha256: Sha256


class Manifest(Header):
    """What a finished cache says of itself."""

    shards: tuple[ShardInfo, ...]


def shard_name(store: Store, view: View, number: int) -> str:
    """`base-000003.tar`; `base-000003` in a Zarr store, where a shard is a file of each array."""
    return f"{view}-{number:06d}{'.tar' if store == 'webdataset' else ''}"


def to_json(model: BaseModel) -> bytes:
    """Stable bytes: equal models give equal files."""
    return (json.dumps(model.model_dump(mode="json"), indent=1, sort_keys=True) + "\n").encode()


def digest(manifest: Manifest) -> str:
    """sha256 of the manifest file: names the cache and, through the shards' hashes, all it holds."""
    return hashlib.sha256(_sealed(manifest)).hexdigest()


def write(manifest: Manifest, place: Place) -> None:
    """Put `manifest.json` into `place`, whole or not at all."""
    place.write(MANIFEST, _sealed(manifest))


def read(place: Place) -> Manifest:
    """The manifest of the cache at `place`.

    Raises:
        CacheError: there is no finished cache, or one of another format version, or its manifest contradicts itself.
        ShardCorrupt: the manifest is not the one that was written.
    """
    try:
        content = place.read(MANIFEST)
    except FileNotFoundError:
        place.names(MANIFEST)  # a bucket that is not there is another mistake, and is told
        raise CacheError(f"{place}: no finished cache here ({MANIFEST} is missing)") from None
    path = place.at(MANIFEST)
    found = _parsed(path, content)
    computed = _checksum(content, found.checksum)
    if computed != found.checksum:
        raise ShardCorrupt(f"{path}: sha256 {found.checksum[:12]}… stored, {computed[:12]}… computed")
    return found.open()


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
        return Manifest.model_validate(self.model_dump(exclude={"checksum"}))


_NO_CHECKSUM = "0" * 64


def _sealed(manifest: Manifest) -> bytes:
    content = to_json(_SealedManifest(**manifest.model_dump(), checksum=_NO_CHECKSUM))
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
                f"{path}: cache format {FORMAT_VERSION} expected, found {version!r:.20}: build this cache anew"
            ) from error
        first = error.errors()[0]
        where = " ".join(".".join(map(str, first["loc"])).split())[:80] or "content"
        raise CacheError(
            f"{path}: not a manifest of cache format {FORMAT_VERSION} ({where}: {first['msg']})"
        ) from error
    if contradiction := _contradiction(found):
        raise CacheError(f"{path}: contradicts itself: {contradiction}")
    return found


def _version(content: bytes) -> object:
    """The number of the format that a manifest says it is of; None where it is no manifest of ours."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found.get("version") if isinstance(found, dict) and found.get("format") == "dukd-cache" else None


def _contradiction(manifest: Manifest) -> str | None:
    """The first thing in which shards and header disagree. A shard's name is checked here, so it never is a path."""
    expected: list[tuple[View, int]] = []
    limits = manifest.encoding.shard_records
    if set(limits) != set(manifest.spec.views):
        return f"shard_records for views {', '.join(limits)}, records for {', '.join(manifest.spec.views)}"
    for view in manifest.spec.views:
        left = manifest.images.count * manifest.spec.count(view)
        if -(-left // limits[view]) > len(manifest.shards):
            return f"{left} records of {view} in {len(manifest.shards)} shards of at most {limits[view]}"
        expected += [(view, min(limits[view], left - done)) for done in range(0, left, limits[view])]
    if len(expected) != len(manifest.shards):
        return f"{len(manifest.shards)} shards listed, {len(expected)} follow from its counts"
    numbers = dict.fromkeys(VIEWS, 0)
    for shard, (view, records) in zip(manifest.shards, expected, strict=True):
        name = shard_name(manifest.encoding.store, view, numbers[view])
        numbers[view] += 1
        if (shard.name, shard.view, shard.records) != (name, view, records):
            return (
                f"shard {shard.name!r:.40} of {shard.records} records of {shard.view} "
                f"where {name} of {records} records of {view} belongs"
            )
    return None
