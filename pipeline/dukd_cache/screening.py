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
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from dukd_cache.decode import read_rgb
from dukd_cache.errors import ImageError
from dukd_cache.images import FileFacts, LrFolder, SourceImage, identify, read_facts, read_scene, refuse_shared_lr
from dukd_cache.manifest import CropSpec, SkippedImage
from dukd_cache.plan import shortfall, too_small_for

T = TypeVar("T")

OnBadImage = Literal["fail", "skip"]

_AT_ONCE = 256
"""Images handed to the threads at a time: a million of them must not wait in memory."""


@dataclass(frozen=True)
class Screened:
    """Images that can be used, and those that cannot, both in the order they were found."""

    images: tuple[SourceImage, ...]
    skipped: tuple[SkippedImage, ...]


def screen(
    root: Path,
    paths: Sequence[Path],
    spec: CropSpec,
    lr: LrFolder | None,
    on_bad_image: OnBadImage,
    on_images: Callable[[int], None] = lambda _count: None,
    facts_of: Callable[[Path], FileFacts] = read_facts,
) -> Screened:
    """Identify the images at `paths` below `root`.

    Args:
        on_images: told how many images were looked at since it was last told.
        facts_of: `fail` only: reads a file, or remembers what it held.

    Raises:
        ImageError: `fail`, and the header of an image or of its LR file cannot be used, or two images have one LR
            file (their sizes are left to the plan); `skip`, and no image is left.
        SettingError: the template of `lr` is impossible.
    """
    if on_bad_image == "fail":
        return Screened(tuple(_identified(root, paths, spec, lr, on_images, facts_of)), ())
    judged = [*_told(_judged(root, paths, spec, lr), on_images)]
    uses = Counter(image.lr for image in judged if isinstance(image, SourceImage))
    images: list[SourceImage] = []
    skipped: list[SkippedImage] = []
    for image in judged:
        if isinstance(image, SkippedImage):
            skipped.append(image)
        elif lr and image.lr and uses[image.lr] > 1:
            shared = image.lr.relative_to(lr.root).as_posix()
            reason = f"{shared}: would be the LR image of {uses[image.lr]} images"
            skipped.append(SkippedImage(name=image.name, reason=reason))
        else:
            images.append(image)
    if not images:
        first = skipped[0]
        raise ImageError(f"{root}: none of {len(skipped)} images can be used; {first.name}: {first.reason}")
    return Screened(tuple(images), tuple(skipped))


def _identified(
    root: Path,
    paths: Sequence[Path],
    spec: CropSpec,
    lr: LrFolder | None,
    on_images: Callable[[int], None],
    facts_of: Callable[[Path], FileFacts],
) -> list[SourceImage]:
    images: list[SourceImage] = []
    for path in paths:
        try:
            images.append(identify(root, path, spec.scale, lr, facts_of))
        except ImageError as error:
            raise ImageError(f"{error} (--on-bad-image skip leaves such images out)") from error
        on_images(1)
    refuse_shared_lr((image.name, image.lr) for image in images)
    return images


def _judged(
    root: Path, paths: Sequence[Path], spec: CropSpec, lr: LrFolder | None
) -> Iterator[SourceImage | SkippedImage]:
    """Each image decoded to its end, on all cores; in the order of `paths`."""

    def judge(path: Path) -> SourceImage | SkippedImage:
        try:
            image = identify(root, path, spec.scale, lr)
            if view := too_small_for(image.width, image.height, spec):
                raise ImageError(shortfall(image.width, image.height, spec, view))
            if image.lr:
                read_scene(path, image.lr, spec.scale)
            else:
                read_rgb(path)
        except ImageError as error:
            return SkippedImage(name=_utf8(path.relative_to(root)), reason=_reason(error, path, lr))
        return image

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(paths), _AT_ONCE):
            yield from pool.map(judge, paths[start : start + _AT_ONCE])


def _told(judged: Iterator[T], on_images: Callable[[int], None]) -> Iterator[T]:
    for one in judged:
        yield one
        on_images(1)


def _reason(error: ImageError, path: Path, lr: LrFolder | None) -> str:
    """The same wherever the folders lie: equal images give an equal manifest."""
    reason = str(error).removeprefix(f"{path}: ")
    return reason.removeprefix(f"{lr.root}{os.sep}") if lr else reason


def _utf8(name: Path) -> str:
    return name.as_posix().encode(errors="backslashreplace").decode()
