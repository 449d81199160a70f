"""What screening leaves, as one worker writes it down and all others take it: none of them reads the images again.

The bytes: a line of JSON (prefixes of the sets, images left out, lengths of what follows), the columns of the images,
and the SHA-256 of all before. Names are below their folders, which may lie elsewhere on each machine.
"""

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from dukd_cache.format.header import SkippedImage
from dukd_cache.pictures.finding import ImageFiles
from dukd_cache.pictures.image_list import Files, Folders, Images
from dukd_cache.pictures.sources import NO_STAMP, FileFacts, LrFolder, read_facts, stamp_of
from dukd_cache.system.errors import ImageError, printable

_FORMAT = "dukd-images 1"


@dataclass(frozen=True)
class HrSet:
    """Images of one folder or list."""

    files: ImageFiles
    lr: LrFolder | None = None
    """Where their LR images lie; None: they are made."""
    prefix: str = ""
    """Before the names of its images, where there are other sets."""

    @property
    def folders(self) -> Folders:
        """Where its files lie."""
        return Folders(self.files.root, self.prefix, self.lr.root if self.lr else None)


@dataclass(frozen=True)
class Screened:
    """Images that can be used, and those that cannot, both in the order they were found."""

    images: Images
    """Their folders are those of the sets."""
    skipped: tuple[SkippedImage, ...]

    def to_bytes(self) -> bytes:
        """For `screened_from`. Equal files give equal bytes, wherever they lie."""
        columns = self.images.columns
        head = {
            "format": _FORMAT,
            "sets": [[folders.prefix, folders.lr is not None] for folders in self.images.folders],
            "skipped": [each.model_dump() for each in self.skipped],
            "lengths": [*map(len, columns)],
        }
        content = b"".join((json.dumps(head).encode(), b"\n", *columns))
        return content + hashlib.sha256(content).digest()


def screened_from(
    content: bytes,
    sets: Sequence[HrSet],
    on_images: Callable[[int], None] = lambda _count: None,
    facts_of: Callable[[Path], FileFacts] = read_facts,
) -> Screened:
    """What another worker has screened, with the images where this one found them.

    A file is read only where its size or time of change is another than there: in a copied folder, say.

    Args:
        content: of `Screened.to_bytes`.
        on_images: told how many images were looked at since it was last told.
        facts_of: reads a file, or remembers what it held.

    Raises:
        ImageError: `content` is damaged, `sets` are other images than those, or a file holds other bytes.
    """
    head, columns = _unpacked(content)
    if len(sets) != len(head["sets"]):
        raise ImageError(f"expected {len(head['sets'])}, as where the build began, found {len(sets)}", "`hr`")
    if [of.lr is not None for of in sets] != [has_lr for _, has_lr in head["sets"]]:
        raise ImageError("expected LR images for the same folders as where the build began", "`lr`")
    folders = [replace(of.folders, prefix=prefix) for of, (prefix, _) in zip(sets, head["sets"], strict=True)]
    found = Screened(
        Images.from_columns(folders, columns), tuple(SkippedImage(**skipped) for skipped in head["skipped"])
    )
    listed, skipped = found.images.identities(), deque(each.name for each in found.skipped)
    number = 0
    for name, path, of in _named(sets, folders):
        if skipped and printable(name) == skipped[0]:
            skipped.popleft()
        elif next(listed, ("",))[0] == name:
            _check_file(found.images.hr, number, str(path), facts_of)
            if len(found.images.lr) and of.lr:
                _check_file(found.images.lr, number, os.path.join(of.lr, found.images.lr.name(number)), facts_of)
            number += 1
        else:
            raise _other_images(found, sets, folders)
        on_images(1)
    if skipped or number < len(found.images):
        raise _other_images(found, sets, folders)
    return found


def _unpacked(content: bytes) -> tuple[dict[str, Any], list[bytes]]:
    line, _, rest = content[:-32].partition(b"\n")
    if hashlib.sha256(content[:-32]).digest() != content[-32:] or not line.startswith(b'{"format": "dukd-images '):
        raise ImageError("the list of images that a worker left is damaged")
    head = json.loads(line)
    if head["format"] != _FORMAT:
        raise ImageError(
            f"expected the list of images as {_FORMAT}, found {head['format']}: of another version of dukd"
        )
    return head, [rest[start:stop] for start, stop in pairwise(accumulate(head["lengths"], initial=0))]


def _named(sets: Sequence[HrSet], folders: Sequence[Folders]) -> Iterable[tuple[str, Path, Folders]]:
    """Name, path and folders of each image that was found."""
    for of, there in zip(sets, folders, strict=True):
        for path in of.files.paths:
            yield there.prefix + path.relative_to(there.hr).as_posix(), path, there


def _check_file(files: Files, number: int, path: str, facts_of: Callable[[Path], FileFacts]) -> None:
    same = stamp_of(path) == files.stamp(number) != NO_STAMP
    if not same and facts_of(Path(path)).sha256 != files.sha256(number):
        raise ImageError("holds other bytes than where the build began", path)


def _other_images(found: Screened, sets: Sequence[HrSet], folders: Sequence[Folders]) -> ImageError:
    expected = {printable(name) for name, _, _ in found.images.identities()} | {each.name for each in found.skipped}
    here = {printable(name) for name, _, _ in _named(sets, folders)}
    differences = ((sorted(expected - here), "missing"), (sorted(here - expected), "new"))
    said = [f"{len(names)} {kind} ({names[0]}{', …' * (len(names) > 1)})" for names, kind in differences if names]
    return ImageError(
        f"expected the {len(expected)} images that the build began with, found {', '.join(said) or 'another order'}",
        sets[0].files.root,
    )
