"""Which of the images found can be used, decided before the teacher starts.

`fail` reads headers only, and stops at the first image that cannot be used; what shows only while decoding (a
truncated file, say) stops the build when it comes to it. `skip` decodes every image once, so that the set of images is
fixed before anything is planned: the same files give the same plan, the same shards and the same list of what was
left out, however often the build is stopped and started.
"""

import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Literal

from dukd_cache.format.header import SkippedImage
from dukd_cache.pictures.decode import read_rgb
from dukd_cache.pictures.image_list import GrowingImages
from dukd_cache.pictures.sources import (
    FileFacts,
    SourceImage,
    identify,
    read_facts,
    refuse_shared_lr,
    scene_of,
)
from dukd_cache.plan.crops import CropSpec, shortfall, too_small_for
from dukd_cache.plan.screened import HrSet, Screened
from dukd_cache.system.errors import ImageError, printable
from dukd_cache.system.threads import in_threads

OnBadImage = Literal["fail", "skip"]

_AT_ONCE = 256
"""Images handed to the threads at a time: a million of them must not wait in memory."""


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
    candidates = (_Candidate(path, each, number) for number, each in enumerate(sets) for path in each.files.paths)
    judged = _identified(candidates, spec, facts_of) if on_bad_image == "fail" else _judged(candidates, spec)
    growing, positions = GrowingImages(), array("Q")
    skipped: list[tuple[int, SkippedImage]] = []
    for position, (candidate, image) in enumerate(judged):
        on_images(1)
        if isinstance(image, SkippedImage):
            skipped.append((position, image))
        else:
            growing.add(image, candidate.of.folders, candidate.number)
            positions.append(position)
    images = growing.images(each.folders for each in sets)
    sharing = {number: images[number] for number in images.sharing_lr()}
    if on_bad_image == "fail":
        refuse_shared_lr((image.name, image.lr) for image in sharing.values())
        return Screened(images, ())
    uses = Counter(image.lr for image in sharing.values())
    shared = [number for number, image in sharing.items() if uses[image.lr] > 1]
    for number in shared:
        image, of = sharing[number], int(images.among[number])
        error = ImageError(f"would be the LR image of {uses[image.lr]} images", image.lr)
        skipped.append((positions[number], _Candidate(image.path, sets[of], of).skipped(error)))
    left_out = tuple(image for _, image in sorted(skipped, key=itemgetter(0)))
    if len(shared) == len(images):
        first = left_out[0]
        raise ImageError(f"none of {len(skipped)} images can be used; {first.name}: {first.reason}", sets[0].files.root)
    return Screened(images.without({*shared}) if shared else images, left_out)


def left_out_as_before(found: Screened, sets: Sequence[HrSet], spec: CropSpec) -> bool:
    """Whether each image that `found` leaves out still cannot be used, for the same reason."""
    names = {each.name for each in found.skipped}
    candidates = (_Candidate(path, each, number) for number, each in enumerate(sets) for path in each.files.paths)
    judged = _judged((candidate for candidate in candidates if printable(candidate.name) in names), spec)
    return tuple(image for _, image in judged) == found.skipped


@dataclass(frozen=True)
class _Candidate:
    path: Path
    of: HrSet
    number: int
    """Of the set."""

    @property
    def name(self) -> str:
        return self.of.prefix + self.path.relative_to(self.of.files.root).as_posix()

    def identified(self, spec: CropSpec, facts_of: Callable[[Path], FileFacts] = read_facts) -> SourceImage:
        image = identify(self.of.files.root, self.path, spec.scale, self.of.lr, facts_of)
        return replace(image, name=self.of.prefix + image.name)

    def skipped(self, error: ImageError) -> SkippedImage:
        """Its reason is the same wherever the folders lie: equal images give an equal manifest."""
        where = f"{error.subject}: " if error.subject not in (None, str(self.path)) else ""
        where = where.removeprefix(f"{self.of.lr.root}{os.sep}") if self.of.lr else where
        return SkippedImage(name=printable(self.name), reason=where + error.reason)


_Judged = tuple[_Candidate, SourceImage | SkippedImage]


def _identified(
    candidates: Iterable[_Candidate], spec: CropSpec, facts_of: Callable[[Path], FileFacts]
) -> Iterator[_Judged]:
    for candidate in candidates:
        try:
            yield candidate, candidate.identified(spec, facts_of)
        except ImageError as error:
            cure = "(`on_bad_image=skip` leaves such images out)"
            raise ImageError(f"{error.reason} {cure}", error.subject) from error


def _judged(candidates: Iterable[_Candidate], spec: CropSpec) -> Iterator[_Judged]:
    """Each image decoded to its end, on all cores; in the order of `candidates`."""

    def judge(candidate: _Candidate) -> _Judged:
        try:
            image = candidate.identified(spec)
            if view := too_small_for(image.width, image.height, spec):
                raise ImageError(shortfall(image.width, image.height, spec.scale, view))
            if image.lr:
                scene_of(image, spec.scale)
            else:
                read_rgb(image.path, image.sha256)
        except ImageError as error:
            return candidate, candidate.skipped(error)
        return candidate, image

    return in_threads(judge, candidates)
