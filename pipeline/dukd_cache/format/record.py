"""A record: one view of one crop, as arrays by name. What shards hold and the reader returns.

input      what a student is given, and what a teacher was asked
clean      what the input would be had it not been degraded, where teachers were asked about that, too
truth      what the answer should be, where there is such a thing
<answer>   what a teacher said: one array for each of the manifest's answers, by its name
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dukd_cache.settings.choices import Dtype as Dtype

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from dukd_cache.system.arrays import U8

    Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float16] | npt.NDArray[np.float32]
else:  # NumPy waits until there are pixels: the words of a command are made of the declarations below
    U8 = Pixels = Any
"""An array of a record, [H,W,3]: uint8, or floating point in [0,1]."""

DTYPES: tuple[Dtype, ...] = ("uint8", "float16", "float32")
"""The coarsest first: an answer may serve those before its own, never those after it."""

ColumnType = Literal["int64", "float64"]

MAX_SIDE = 1024
"""Of a patch, in pixels."""

Count = Annotated[int, Field(ge=0, le=2**53)]
Side = Annotated[int, Field(gt=0, le=MAX_SIDE)]
Margin = Annotated[int, Field(ge=0, le=MAX_SIDE)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,30}$")]
"""Of a view, an array, an answer or a column: a part of files' names."""

NOT_ANSWERS = ("input", "clean", "truth", "mean", "agreement")
"""No answer is called so: the other arrays of a record, and what a training makes of several answers."""


_BY_NAME = AfterValidator(lambda found: dict(sorted(found.items())))
"""The order of a mapping is lost in the manifest: equal ones must give equal bytes."""


_BYTES: dict[Dtype, int] = {"uint8": 1, "float16": 2, "float32": 4}


class Frozen(BaseModel):
    """A declaration: checked when it is made, unchanged afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Array(Frozen):
    """Shape and type of one array of a record. Bytes that disagree are refused before they are decoded."""

    side: Annotated[int, Field(gt=0, le=4 * MAX_SIDE)]
    """H = W, in pixels. So no array is larger than 4096×4096, whatever a manifest says."""
    dtype: Dtype

    @property
    def shape(self) -> tuple[int, int, int]:
        """[H,W,3]"""
        return (self.side, self.side, 3)

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels, uncompressed."""
        return self.side * self.side * 3 * _BYTES[self.dtype]

    def __str__(self) -> str:
        """For people."""
        return f"{self.dtype} {self.shape}"


class RecordInfo(Frozen):
    """Where a record comes from."""

    key: str = Field(pattern="^[0-9a-f_]{1,64}$")
    """Unique in the cache's view: its position, 16 digits of the image's hash, its crop."""
    view: Name
    image: str
    """Path of the HR image below the images' folder."""
    image_sha256: Sha256
    crop: Count
    """Which of the image's crops of this view."""
    x: Count
    """Left edge, in pixels of the image that the view cuts from."""
    y: Count
    fingerprints: Annotated[dict[Name, Sha256], _BY_NAME] = Field(default_factory=dict)
    """Of each answer: changes exactly when that teacher's answer could change."""
    columns: Annotated[dict[Name, float], _BY_NAME] = Field(default_factory=dict)
    """Numbers that the manifest declares."""


def key_of(position: int, image_sha256: str, crop: int) -> str:
    """The key of the record at `position` in its view's stream."""
    return f"{position:08d}_{image_sha256[:16]}_{crop:04d}"


@dataclass(frozen=True)
class Record(Mapping[str, Pixels]):
    """Pixels of one record, by the names of its arrays."""

    info: RecordInfo
    arrays: Mapping[str, Pixels]
    """Each [H,W,3]."""

    def __getitem__(self, name: str) -> Pixels:
        return self.arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    @property
    def input(self) -> Pixels:
        """[p,p,3] u8. Every record has one."""
        return self.arrays["input"]


def fingerprint(asked: str, input_pp3: Pixels) -> str:
    """sha256 over all that an answer depends on: `asked` says of whom and how (`AnswerInfo.asked`)."""
    return hashlib.sha256(f"{asked}/{input_pp3.shape}/".encode() + input_pp3.tobytes()).hexdigest()
