"""Which of the images found can be used, decided before the teacher starts.

`fail` reads headers only, and stops at the first image that cannot be used; what shows only while decoding (a
truncated file, say) stops the build when it comes to it. `skip` decodes every image once, so that the set of images is
fixed before anything is planned: the same files give the same plan, the same shards and the same list of what was
left out, however often the build is stopped and started.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from dukd_cache.format.manifest import SkippedImage
from dukd_cache.pictures.decode import read_rgb
from dukd_cache.pictures.finding import ImageFiles
from dukd_cache.pictures.sources import (
    FileFacts,
    LrFolder,
    SourceImage,
    identify,
    read_facts,
    refuse_shared_lr,
    scene_of,
)
from dukd_cache.plan.crops import CropSpec, shortfall, too_small_for
from dukd_cache.system.errors import ImageError, printable

T = TypeVar("T")

OnBadImage = Literal["fail", "skip"]

_AT_ONCE = 256
"""Images handed to the threads at a time: a million of them must not wait in memory."""


@dataclass(frozen=True)
class HrSet:
    """Images of one folder or list."""

    files: ImageFiles
    lr: LrFolder | None = None
    """Where their LR images lie; None: they are made."""
    prefix: str = ""
    """Before the names of its images, where there are other sets."""


@dataclass(frozen=True)
class Screened:
    """Images that can be used, and those that cannot, both in the order they were found."""

    images: tuple[SourceImage, ...]
    skipped: tuple[SkippedImage, ...]


def screen(
    sets: Sequence[HrSet],
    spec: CropSpec,
    on_bad_image: OnBadImage,
    on_images: Callable[[int], None] = lambda _count: None,
    facts_of: Callable[[Path], FileFacts] = read_facts,
) -> Screened:
    """Identify the images of `sets`.

    Args:
        on_images: told how many images were looked at since it was last told.
        facts_of: `fail` only: reads a file, or remembers what it held.

    Raises:
        ImageError: `fail`, and the header of an image or of its LR file cannot be used, or two images have one LR
            file (their sizes are left to the plan); `skip`, and no image is left.
        SettingError: there is no such LR folder.
    """
    candidates = [_Candidate(path, of) for of in sets for path in of.files.paths]
    if on_bad_image == "fail":
        return Screened(tuple(_identified(candidates, spec, on_images, facts_of)), ())
    judged = [*_told(_judged(candidates, spec), on_images)]
    uses = Counter(image.lr for image in judged if isinstance(image, SourceImage))
    images: list[SourceImage] = []
    skipped: list[SkippedImage] = []
    for candidate, image in zip(candidates, judged, strict=True):
        if isinstance(image, SkippedImage):
            skipped.append(image)
        elif image.lr and uses[image.lr] > 1:
            shared = ImageError(f"would be the LR image of {uses[image.lr]} images", image.lr)
            skipped.append(candidate.skipped(shared))
        else:
            images.append(image)
    if not images:
        first = skipped[0]
        raise ImageError(f"none of {len(skipped)} images can be used; {first.name}: {first.reason}", sets[0].files.root)
    return Screened(tuple(images), tuple(skipped))


@dataclass(frozen=True)
class _Candidate:
    path: Path
    of: HrSet

    def identified(self, spec: CropSpec, facts_of: Callable[[Path], FileFacts] = read_facts) -> SourceImage:
        image = identify(self.of.files.root, self.path, spec.scale, self.of.lr, facts_of)
        return replace(image, name=self.of.prefix + image.name)

    def skipped(self, error: ImageError) -> SkippedImage:
        """Its reason is the same wherever the folders lie: equal images give an equal manifest."""
        where = f"{error.subject}: " if error.subject not in (None, str(self.path)) else ""
        where = where.removeprefix(f"{self.of.lr.root}{os.sep}") if self.of.lr else where
        name = self.of.prefix + self.path.relative_to(self.of.files.root).as_posix()
        return SkippedImage(name=printable(name), reason=where + error.reason)


def _identified(
    candidates: Sequence[_Candidate],
    spec: CropSpec,
    on_images: Callable[[int], None],
    facts_of: Callable[[Path], FileFacts],
) -> list[SourceImage]:
    images: list[SourceImage] = []
    for candidate in candidates:
        try:
            images.append(candidate.identified(spec, facts_of))
        except ImageError as error:
            cure = "(`on_bad_image=skip` leaves such images out)"
            raise ImageError(f"{error.reason} {cure}", error.subject) from error
        on_images(1)
    refuse_shared_lr((image.name, image.lr) for image in images)
    return images


def _judged(candidates: Sequence[_Candidate], spec: CropSpec) -> Iterator[SourceImage | SkippedImage]:
    """Each image decoded to its end, on all cores; in the order of `candidates`."""

    def judge(candidate: _Candidate) -> SourceImage | SkippedImage:
        try:
            image = candidate.identified(spec)
            if view := too_small_for(image.width, image.height, spec):
                raise ImageError(shortfall(image.width, image.height, spec.scale, view))
            if image.lr:
                scene_of(image, spec.scale)
            else:
                read_rgb(image.path, image.sha256)
        except ImageError as error:
            return candidate.skipped(error)
        return image

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(candidates), _AT_ONCE):
            yield from pool.map(judge, candidates[start : start + _AT_ONCE])


def _told(judged: Iterator[T], on_images: Callable[[int], None]) -> Iterator[T]:
    for one in judged:
        yield one
        on_images(1)
