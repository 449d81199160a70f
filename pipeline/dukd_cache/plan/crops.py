"""(images, spec) → crops. Pure: crop i of a view depends on (seed, view, image content, i) and on nothing else.

So adding an image moves no other crop, and a larger count extends the smaller one.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dukd_cache.format.manifest import CropSpec, View
from dukd_cache.pictures.sources import SourceImage
from dukd_cache.plan.philox import uniform
from dukd_cache.system.errors import ImageError

_IMAGES_AT_ONCE = 256


@dataclass(frozen=True)
class Crop:
    """A square of one image."""

    view: View
    image: SourceImage
    index: int
    """Which of the image's crops of this view: 0 ≤ index < spec.count(view)."""
    x: int
    """Left edge, in pixels of the image it is cut from: HR for `zoom_in`, else LR."""
    y: int

    def __str__(self) -> str:
        """For people."""
        return f"{self.image.path}: crop {self.index} of {self.view} at ({self.x}, {self.y})"


@dataclass(frozen=True)
class Plan:
    """All crops of all images, by view and position, computed when asked for.

    Raises:
        ImageError: an image is too small for a view.
    """

    images: tuple[SourceImage, ...]
    spec: CropSpec

    def __post_init__(self) -> None:
        if self.images:  # what the smallest image accepts, all do: one remedy serves for all
            _check_size(min(self.images, key=lambda image: min(image.width, image.height)), self.spec)

    def total(self, view: View) -> int:
        """Number of records of `view`."""
        return len(self.images) * self.spec.count(view)

    def crops(self, view: View, start: int, stop: int) -> Iterator[Crop]:
        """Crops `start` to `stop` of the stream of `view`, image by image."""
        count = self.spec.count(view)
        if start >= stop:
            return
        for first in range(start // count, -(-stop // count), _IMAGES_AT_ONCE):
            last = min(first + _IMAGES_AT_ONCE, -(-stop // count))
            corners = self.corners(view, first, last).tolist()
            for position in range(max(start, first * count), min(stop, last * count)):
                number, index = divmod(position, count)
                x, y = corners[number - first][index]
                yield Crop(view, self.images[number], index, x, y)

    def corners(self, view: View, first: int, last: int) -> npt.NDArray[np.int64]:
        """x and y of every crop of images `first` to `last`: [images, crops an image, 2]. For whole sets at once."""
        images, spec, count = self.images[first:last], self.spec, self.spec.count(view)
        digests = [_key(f"{spec.seed}/{view}/{image.sha256}") for image in images]
        drawn = uniform(np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2), 0, 2 * count)
        unit = spec.scale if view == "zoom_in" else 1
        sides = np.array([(image.width, image.height) for image in images])
        free = sides // spec.scale * unit - box_side(spec, view)
        corners: npt.NDArray[np.int64] = (drawn.reshape(-1, count, 2) * (free[:, None] + 1)).astype(np.int64)
        return corners


def box_side(spec: CropSpec, view: View) -> int:
    """Side of the square that a crop of `view` cuts, in pixels of the image it is cut from."""
    return spec.output_side("zoom_out") if view == "zoom_out" else spec.patch


def smallest_image(spec: CropSpec, view: View) -> int:
    """Shortest side that an HR image needs for `view`, in pixels."""
    side = box_side(spec, view)
    return -(-side // spec.scale) * spec.scale if view == "zoom_in" else side * spec.scale


def _key(name: str) -> bytes:
    """The key of the stream of random numbers called `name`."""
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def too_small_for(width: int, height: int, spec: CropSpec) -> View | None:
    """The first view of `spec` that an HR image of this size is too small for, or None."""
    side = min(width, height)
    return next((view for view in spec.views if side < smallest_image(spec, view)), None)


def shortfall(width: int, height: int, spec: CropSpec, view: View) -> str:
    """What an HR image of this size lacks for `view`, for people."""
    needed = smallest_image(spec, view)
    return (
        f"{width}×{height} pixels, but view {view} needs {needed}×{needed} "
        f"(patch {spec.input_side(view)}, scale {spec.scale})"
    )


def _check_size(image: SourceImage, spec: CropSpec) -> None:
    view = too_small_for(image.width, image.height, spec)
    if view is None:
        return
    side = min(image.width, image.height) // spec.scale
    fits = {"base": side, "zoom_in": side * spec.scale, "zoom_out": side}[view]
    remedy = f"--patch {fits} or less" if fits else "a larger image"
    if view == "zoom_out":
        remedy = f"--zoom-out-patch {side // spec.scale} or less" if side >= spec.scale else "--zoom-out 0"
    lacks = shortfall(image.width, image.height, spec, view)
    raise ImageError(f"{image.path}: {lacks}: use {remedy}, or take the image out (--on-bad-image skip does)")


def shard_ranges(total: int, per_shard: int) -> list[range]:
    """Positions 0 … total−1 cut into runs of `per_shard`; the last may be shorter."""
    return [range(start, min(start + per_shard, total)) for start in range(0, total, per_shard)]
