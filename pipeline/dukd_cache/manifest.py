"""The contract between the two halves: what a cache says of itself, as `manifest.json`.

The format is described in docs/cache-format.md.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from dukd_cache.errors import CacheError
from dukd_cache.files import write_atomically

FORMAT_VERSION: Literal[1] = 1
MANIFEST = "manifest.json"

View = Literal["base", "zoom_in", "zoom_out"]
Codec = Literal["webp", "png", "raw"]
Dtype = Literal["uint8", "float16"]
Precision = Literal["fp32", "bf16", "fp16"]

VIEWS: tuple[View, ...] = ("base", "zoom_in", "zoom_out")

Count = Annotated[int, Field(ge=0)]
Side = Annotated[int, Field(gt=0)]


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


class SkippedImage(_Frozen):
    """An image that was found and could not be used."""

    name: str
    """Path below the images' folder."""
    reason: str


class ImagesInfo(_Frozen):
    """Which images the crops come from."""

    count: int
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

    store: Literal["webdataset"]
    codec: Codec
    dtype: Dtype
    """Of the teacher's answers. Inputs and truths are always uint8."""
    shard_records: dict[View, Side]
    """Records a shard of each view; the last of a view may hold fewer."""


class Header(_Frozen):
    """All that is known before the first record: two builds with equal headers write equal bytes."""

    format: Literal["dukd-cache"] = "dukd-cache"
    version: Literal[1] = FORMAT_VERSION
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
    """File name of the shard; its sidecar is `<name without suffix>.json`."""
    view: View
    records: Side
    bytes: Count
    sha256: str
    sidecar_sha256: str


class Manifest(Header):
    """What a finished cache says of itself."""

    shards: tuple[ShardInfo, ...]


def to_json(model: BaseModel) -> bytes:
    """Stable bytes: equal models give equal files."""
    return (json.dumps(model.model_dump(mode="json"), indent=1, sort_keys=True) + "\n").encode()


def digest(manifest: Manifest) -> str:
    """sha256 of the manifest file: names the cache and, through the shards' hashes, all it holds."""
    return hashlib.sha256(to_json(manifest)).hexdigest()


def write(manifest: Manifest, root: Path) -> None:
    """Put `manifest.json` into `root`, whole or not at all."""
    write_atomically(root / MANIFEST, to_json(manifest))


def read(root: Path) -> Manifest:
    """The manifest of the cache at `root`.

    Raises:
        CacheError: there is no finished cache, or one of another format version.
    """
    path = root / MANIFEST
    if not path.is_file():
        raise CacheError(f"{root}: no finished cache here ({MANIFEST} is missing)")
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "content"
        raise CacheError(
            f"{path}: not a manifest of cache format {FORMAT_VERSION} ({where}: {first['msg']})"
        ) from error
