"""A record: one view of one crop, with the teacher's answer. What stores write and the reader returns."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from dukd_cache.format.manifest import FORMAT_VERSION, Count, TeacherInfo, View

U8 = npt.NDArray[np.uint8]
Answer = npt.NDArray[np.uint8] | npt.NDArray[np.float16] | npt.NDArray[np.float32]


class RecordInfo(BaseModel):
    """Where a record comes from. Stored beside its pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = Field(pattern="^[0-9a-f_]{1,64}$")
    """Unique in the cache's view; `[0-9a-f_]+`."""
    view: View
    image: str
    """Path of the HR image below the images' folder."""
    image_sha256: str
    crop: Count
    """Which of the image's crops of this view."""
    x: Count
    """Left edge, in pixels of LR, of HR for `zoom_in`."""
    y: Count
    fingerprint: str
    """Changes exactly when the teacher's answer could change."""


@dataclass(frozen=True)
class Record:
    """Pixels of one record; p is the input's side, q = scale × p."""

    info: RecordInfo
    input: U8
    """[p,p,3]"""
    teacher: Answer | None
    """[q,q,3]; floating point is in [0,1]. None in a cache of pairs."""
    truth: U8 | None
    """[q,q,3]. None in `zoom_in`."""


def fingerprint(input_pp3: U8, teacher: TeacherInfo | None) -> str:
    """sha256 over all that the teacher's answer depends on; of a cache of pairs, over the input alone."""
    asked = f"{teacher.fingerprint}/{teacher.precision}/{teacher.window}" if teacher else ""
    heading = f"{FORMAT_VERSION}/{asked}/{input_pp3.shape}/"
    return hashlib.sha256(heading.encode() + input_pp3.tobytes()).hexdigest()
