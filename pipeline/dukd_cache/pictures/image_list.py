"""Images as columns, about 100 bytes each, so that many millions fit; an image is an object only when asked for."""

import os
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from dukd_cache.pictures.sources import NO_STAMP, SourceImage, Stamp
from dukd_cache.system.arrays import U32

FILE = np.dtype([("sha256", "u1", 32), ("size", "<u8"), ("mtime_ns", "<i8")])
"""What is known of a file but its name. All zero: there is none."""

_ROW, _SIDES, _NUMBER = struct.Struct("<32sQq"), struct.Struct("<II"), struct.Struct("<I")
_AT_ONCE = 4096


@dataclass(frozen=True)
class Folders:
    """Where images lie, and their LR files."""

    hr: Path
    prefix: str = ""
    """Before the names of the images."""
    lr: Path | None = None


@dataclass(frozen=True, eq=False)
class Files:
    """Files and their names below their folder, as columns."""

    rows: npt.NDArray[np.void]
    """[N] of type `FILE`."""
    names: bytes
    """A zero byte ends each."""
    ends: npt.NDArray[np.int64]
    """[N], where those lie."""

    @classmethod
    def of(cls, rows: bytes, names: bytes) -> "Files":
        """From the bytes of their columns."""
        return cls(np.frombuffer(rows, FILE), names, np.flatnonzero(np.frombuffer(names, np.uint8) == 0))

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, number: int) -> str:
        """Empty where there is no file."""
        return os.fsdecode(self.names[self._start(number) : self.ends[number]])

    def sha256(self, number: int) -> str:
        """All zero where there is no file."""
        return bytes(self.rows["sha256"][number]).hex()

    def stamp(self, number: int) -> Stamp:
        """When it was identified."""
        return int(self.rows["size"][number]), int(self.rows["mtime_ns"][number])

    def part(self, first: int, last: int) -> "Files":
        """Those from `first` to `last`; none of no files."""
        first, last = min(first, len(self)), min(last, len(self))
        start = self._start(first)
        return Files(self.rows[first:last], self.names[start : self._start(last)], self.ends[first:last] - start)

    def all_names(self) -> list[str]:
        """Of a part, or of few."""
        return os.fsdecode(self.names).split("\0")[:-1]

    def all_sha256(self) -> list[str]:
        """Likewise."""
        digits = self.rows["sha256"].tobytes().hex()
        return [digits[start : start + 64] for start in range(0, len(digits), 64)]

    def _start(self, number: int) -> int:
        return int(self.ends[number - 1]) + 1 if number else 0


@dataclass(frozen=True, eq=False)
class Images(Sequence[SourceImage]):
    """A list of images."""

    folders: tuple[Folders, ...]
    hr: Files
    lr: Files
    """As many as `hr`, or none where no image has one."""
    sides: U32
    """Width and height [N,2]."""
    among: U32
    """Which of the folders each lies in [N]."""

    @classmethod
    def of(cls, images: Iterable[SourceImage]) -> "Images":
        """The same images as columns."""
        if isinstance(images, cls):
            return images
        numbers: dict[Folders, int] = {}
        growing = GrowingImages()
        for image in images:
            folders = _folders_of(image)
            growing.add(image, folders, numbers.setdefault(folders, len(numbers)))
        return growing.images(numbers)

    def __len__(self) -> int:
        return len(self.hr)

    @overload
    def __getitem__(self, index: int) -> SourceImage: ...
    @overload
    def __getitem__(self, index: slice) -> "Images": ...
    def __getitem__(self, index: int | slice) -> "SourceImage | Images":
        """One, or those that follow one another."""
        if isinstance(index, slice):
            first, last, step = index.indices(len(self))
            last = max(first, last)
            if step != 1:
                raise ValueError(f"images that follow one another, not in steps of {step}")
            hr, lr = self.hr.part(first, last), self.lr.part(first, last)
            return Images(self.folders, hr, lr, self.sides[first:last], self.among[first:last])
        number = range(len(self))[index]
        folders, name = self.folders[self.among[number]], self.hr.name(number)
        lr_name = self.lr.name(number) if len(self.lr) else ""
        return SourceImage(
            name=folders.prefix + name,
            path=folders.hr / name,
            sha256=self.hr.sha256(number),
            width=int(self.sides[number, 0]),
            height=int(self.sides[number, 1]),
            lr=folders.lr / lr_name if folders.lr and lr_name else None,
            lr_sha256=self.lr.sha256(number) if lr_name else "",
            stamp=self.hr.stamp(number),
            lr_stamp=self.lr.stamp(number) if lr_name else NO_STAMP,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Images) and self.folders == other.folders and self.columns == other.columns

    @property
    def columns(self) -> tuple[bytes, ...]:
        """All but the folders, as `from_columns` takes them."""
        files = (self.hr.rows.tobytes(), self.hr.names, self.lr.rows.tobytes(), self.lr.names)
        return (*files, self.sides.tobytes(), self.among.tobytes())

    @classmethod
    def from_columns(cls, folders: Iterable[Folders], columns: Sequence[bytes]) -> "Images":
        """Images that lie in these folders."""
        hr, hr_names, lr, lr_names, sides, among = columns
        both = (Files.of(hr, hr_names), Files.of(lr, lr_names))
        return cls(tuple(folders), *both, np.frombuffer(sides, "<u4").reshape(-1, 2), np.frombuffer(among, "<u4"))

    def parts(self) -> Iterator["Images"]:
        """All of them, some thousands at a time."""
        return (self[first : first + _AT_ONCE] for first in range(0, len(self), _AT_ONCE))

    def identities(self) -> Iterator[tuple[str, str, str]]:
        """Name and hash of each, and the hash of its LR file, empty where there is none."""
        for part in self.parts():
            names = [self.folders[at].prefix + name for at, name in zip(part.among, part.hr.all_names(), strict=True)]
            lr = [
                sha256 if name else "" for name, sha256 in zip(part.lr.all_names(), part.lr.all_sha256(), strict=True)
            ]
            yield from zip(names, part.hr.all_sha256(), lr or repeat(""), strict=False)

    def sharing_lr(self) -> list[int]:
        """Numbers of all images whose LR file is also another's; hardly ever of others, too."""
        lr = (
            (self.folders[at].lr, name)
            for part in self.parts()
            for at, name in zip(part.among, part.lr.all_names(), strict=False)
        )
        hashes = np.fromiter((hash(each) if each[1] else 0 for each in lr), np.int64)
        found, counts = np.unique(hashes, return_counts=True)
        return np.flatnonzero(np.isin(hashes, found[(counts > 1) & (found != 0)])).tolist()

    def without(self, numbers: Collection[int]) -> "Images":
        """All but these."""
        growing = GrowingImages()
        for number, image in enumerate(self):
            if number not in numbers:
                growing.add(image, self.folders[self.among[number]], self.among[number])
        return growing.images(self.folders)


class GrowingImages:
    """Images as columns while they are found."""

    def __init__(self) -> None:
        self._columns = [bytearray() for _ in range(6)]

    def add(self, image: SourceImage, folders: Folders, number: int) -> None:
        """The next image, which lies in these folders, by their number."""
        hr, hr_names, lr, lr_names, sides, among = self._columns
        hr += _ROW.pack(bytes.fromhex(image.sha256), *image.stamp)
        hr_names += os.fsencode(image.name.removeprefix(folders.prefix)) + b"\0"
        lr += _ROW.pack(bytes.fromhex(image.lr_sha256), *image.lr_stamp)
        lr_names += os.fsencode(str(image.lr or "").removeprefix(f"{folders.lr}{os.sep}")) + b"\0"
        sides += _SIDES.pack(image.width, image.height)
        among += _NUMBER.pack(number)

    def images(self, folders: Iterable[Folders]) -> Images:
        """All that were added, once. `folders` are those that the numbers are of."""
        hr, hr_names, lr, lr_names, sides, among = (bytes(self._columns.pop(0)) for _ in range(6))  # never all twice
        any_lr = bool(lr_names.strip(b"\0"))
        return Images.from_columns(folders, (hr, hr_names, lr * any_lr, lr_names * any_lr, sides, among))


def _folders_of(image: SourceImage) -> Folders:
    """Such that the image has its name and path again, whatever they are."""
    root = str(image.path).removesuffix(image.name)
    lr = image.lr.parent if image.lr else None
    if f"{root}{image.name}" == str(image.path) and (not root or root.endswith(os.sep)):
        return Folders(Path(root), "", lr)
    return Folders(image.path, image.name, lr)
