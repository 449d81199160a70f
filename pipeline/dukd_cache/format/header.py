"""The contract between the two halves: what a cache declares of itself before its first record.

Views, arrays, answers and columns are declared here and looked up everywhere: a reader knows no view by its name. The
format is described in docs/cache-format.md.
"""

from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from dukd_cache.format.codecs import CODECS, Codec
from dukd_cache.format.record import NOT_ANSWERS, Array, ColumnType, Count, Dtype, Frozen, Margin, Name, Side
from dukd_cache.pictures.degradation.steps import Step
from dukd_cache.places import Address
from dukd_cache.settings.choices import Precision, SelfEnsemble, Store

FORMAT_VERSION: Literal[2] = 2
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
