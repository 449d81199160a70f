"""The contract between the two halves: what a cache declares of itself, as `manifest.json`.

Views, arrays, answers and columns are declared here and looked up everywhere: a reader knows no view by its name. The
format is described in docs/cache-format.md.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal, NamedTuple, Protocol, Self

from pydantic import (
    BaseModel,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from dukd_cache.format.codecs import CODECS, Codec
from dukd_cache.format.record import NOT_ANSWERS, Array, ColumnType, Count, Dtype, Frozen, Margin, Name, Sha256, Side
from dukd_cache.pictures.degradation.steps import Step
from dukd_cache.places import Address, Place
from dukd_cache.settings.choices import Precision, SelfEnsemble, Store
from dukd_cache.system.errors import CacheError, ShardCorrupt

FORMAT_VERSION: Literal[2] = 2
MANIFEST = "manifest.json"


MAX_SHARD_RECORDS = 1_000_000
_RESERVED = ("image", "image_sha256", "crop", "x", "y")
"""Columns that every index has."""

Records = Annotated[int, Field(gt=0, le=MAX_SHARD_RECORDS)]


class AnswerInfo(Frozen):
    """Whose answers these are, and how they were asked for."""

    file: str
    """Name of the weights file. The fingerprint says what was in it."""
    architecture: str
    settings: dict[str, Any]
    fingerprint: str
    precision: Precision
    window: Side
    """Inputs are mirrored to a multiple of it, in pixels, before the network sees them; 1: none needed."""
    of: Name = "input"
    """The array of a record that was asked about: `input`, or `clean`."""
    self_ensemble: SelfEnsemble = 1
    """Each answer is the mean over so many flips, turns and inversions of its input, turned back."""
    context: Margin = 0
    """Pixels that the teacher saw around each input, as they lie around it in the image; of the answer they are cut."""
    smaller: Literal[1, 2] = 1
    """2: each answer was made half as large by the benchmarks' bicubic, for students of half the teacher's scale."""

    @property
    def how(self) -> str:
        """It was asked, for people."""
        said: list[str] = [self.precision]
        said += [f"of {self.of} inputs"] * (self.of != "input")
        said += [f"mean of {self.self_ensemble}"] * (self.self_ensemble > 1)
        said += [f"context {self.context}"] * (self.context > 0)
        said += ["made half as large"] * (self.smaller > 1)
        return ", ".join(said)

    @property
    def asked(self) -> str:
        """Where this is equal, equal inputs with equal surroundings get equal answers."""
        usual = {"self_ensemble": 1, "context": 0, "smaller": 1}
        more = [f"/{name}={value}" for name, none in usual.items() if (value := getattr(self, name)) != none]
        return f"{FORMAT_VERSION}/{self.fingerprint}/{self.precision}/{self.window}{''.join(more)}"


class ViewInfo(Frozen):
    """What the records of one view are."""

    name: Name
    source: Literal["lr", "hr"]
    """The image of a pair that crops are cut from."""
    box: Annotated[int, Field(gt=0, le=4 * 1024)]
    """Side of the square that is cut, in pixels of the source."""
    crops: Annotated[int, Field(gt=0, le=2**53)]
    """Records an image."""
    shard_records: Records
    """Records a shard; the last of the view may hold fewer."""
    stream: Annotated[int, Field(ge=0, lt=1000)]
    """Names the random numbers that training draws for it; another for each view."""
    arrays: dict[Name, Array]
    """What a record holds, by name."""

    @model_validator(mode="after")
    def _has_an_input(self) -> Self:
        if "input" not in self.arrays:
            raise ValueError(f"view {self.name} has no array input")
        return self

    @property
    def input_side(self) -> int:
        """Side of an input, in pixels."""
        return self.arrays["input"].side

    @property
    def nbytes(self) -> int:
        """Bytes of a record's pixels, uncompressed."""
        return sum(array.nbytes for array in self.arrays.values())


class SkippedImage(Frozen):
    """An image that was found and could not be used."""

    name: str
    """Path below the images' folder."""
    reason: str


class _WithoutNothing(Frozen):
    """Tuples that are empty are not written."""

    @model_serializer(mode="wrap")
    def _written(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = plain(self)
        return {name: value for name, value in content.items() if getattr(self, name) != ()}


class ImagesInfo(_WithoutNothing):
    """Which images the crops come from."""

    count: Count
    sha256: str
    """Over every image's name and content, and its LR file's content."""
    name_bytes: Annotated[int, Field(gt=0, le=4096)]
    """Of the longest name, in UTF-8: how wide an index keeps them."""
    skipped: tuple[SkippedImage, ...] = ()
    """What `on_bad_image=skip` left out. Not in `count`, and not written where there is none."""


class Degradation(_WithoutNothing):
    """How LR images came to be."""

    kind: Literal["bicubic", "files", "drawn"]
    """bicubic: MATLAB's, made from HR. files: read. drawn: by `steps`, anew for each crop."""
    template: str | None = None
    """Of the names of the files that were read."""
    steps: tuple[Step, ...] = ()
    """What was drawn from. Not written where there is none."""

    def __str__(self) -> str:
        """For people."""
        drawn = ", ".join(step.kind for step in self.steps)
        return f"drawn ({drawn})" if drawn else self.template or self.kind


class Encoding(Frozen):
    """How records are stored."""

    store: Store
    codec: str
    """One of `codecs.CODECS[store]`."""

    @model_validator(mode="after")
    def _store_has_codec(self) -> Self:
        if self.codec not in CODECS[self.store]:
            raise ValueError(f"store {self.store} has no codec {self.codec} (valid: {', '.join(CODECS[self.store])})")
        return self

    def codec_of(self, dtype: Dtype) -> Codec:
        """What arrays of `dtype` are written with."""
        codec = CODECS[self.store][self.codec]
        return codec if codec.floats or dtype == "uint8" else CODECS[self.store]["raw"]


class Header(Frozen):
    """All that is known before the first record: two builds with equal headers write equal bytes."""

    format: Literal["dukd-cache"] = "dukd-cache"
    version: Literal[2] = FORMAT_VERSION
    scale: Annotated[int, Field(ge=2, le=4)]
    """The SR factor s."""
    patch: Side
    """Side p of an LR patch, in pixels: what training speaks of. A view's input may have another side."""
    seed: int
    """Moves every crop."""
    images: ImagesInfo
    degradation: Degradation
    answers: dict[Name, AnswerInfo]
    """By the names of their arrays. None in a cache of pairs, made to train from scratch."""
    views: tuple[ViewInfo, ...]
    """In the order in which they are written."""
    columns: dict[Name, ColumnType] = Field(default={})
    """Numbers that each record has, beside those of every index."""
    encoding: Encoding
    software: dict[str, str]
    """Versions of what made the pixels and the bytes."""
    computed: str | None = None
    """What teachers answer on: device, threads, size of a batch. Where it is equal, answers are equal bit for bit.
    None: workers of several kinds may answer, or none does."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [view.name for view in self.views]
        if len({*names}) < len(names) or len({view.stream for view in self.views}) < len(names):
            raise ValueError(f"views {', '.join(names)}: two of one name or stream")
        if taken := {*self.columns} & {*_RESERVED}:
            raise ValueError(f"column {min(taken)}: every index has one of that name")
        if taken := {*self.answers} & {*NOT_ANSWERS}:
            raise ValueError(f"answer {min(taken)}: that name means something else")
        return self

    @property
    def view_names(self) -> tuple[str, ...]:
        """The views, in their order."""
        return tuple(view.name for view in self.views)

    def view(self, name: str) -> ViewInfo:
        """The view of that name; KeyError where there is none."""
        found = next((view for view in self.views if view.name == name), None)
        if found is None:
            raise KeyError(name)
        return found

    def total(self, view: ViewInfo) -> int:
        """Records of `view`."""
        return self.images.count * view.crops

    def dtype_of(self, answer: str) -> Dtype:
        """How that answer is stored, alike in all views."""
        return next(view.arrays[answer].dtype for view in self.views if answer in view.arrays)

    def like(self, other: "Header") -> bool:
        """Whether both describe one cache, whatever its answers are computed on."""
        return self.model_copy(update={"computed": other.computed}) == other

    def with_answer(self, name: str, info: AnswerInfo, dtype: Dtype, computed: str | None) -> "Header":
        """The same with one more answer in all records, in shards of as many megabytes."""
        views = [
            view.model_copy(
                update={"arrays": view.arrays | {name: Array(side=view.arrays[info.of].side * self.scale, dtype=dtype)}}
            )
            for view in self.views
        ]
        answers = self.answers | {name: info}
        update = {"views": tuple(views), "answers": answers, "computed": computed}
        found = self.model_copy(update=update)
        return found if self.shard_size is None else found.with_shard_size(self.shard_size)

    @property
    def shard_size(self) -> int | None:
        """What `with_shard_size` was given to make shards like these; None where they were not made so."""
        sizes = {-(-view.shard_records * view.nbytes // 1_000_000) for view in self.views}
        return next((size for size in sorted(sizes) if self.with_shard_size(size) == self), None)

    def with_shard_size(self, megabytes: int) -> "Header":
        """The same with shards of as many records as make `megabytes` of pixels before compression; at least one."""
        views = [
            view.model_copy(
                update={"shard_records": min(MAX_SHARD_RECORDS, max(1, megabytes * 1_000_000 // view.nbytes))}
            )
            for view in self.views
        ]
        return self.model_copy(update={"views": tuple(views)})


class Declared(Protocol):
    """A cache that is finished, or planned: where it lies, and what it says of itself."""

    @property
    def root(self) -> Address:
        """Its folder or address."""

    @property
    def manifest(self) -> Header:
        """What is known before the first record, at least."""


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
