"""(images, spec) → crops. Pure: crop i of a view depends on (seed, view, image content, i) and on nothing else.

So adding an image moves no other crop, and a larger count extends the smaller one.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dukd_cache.errors import ImageError
from dukd_cache.images import SourceImage
from dukd_cache.manifest import CropSpec, View


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
        position = start
        while position < stop:
            number, first = divmod(position, count)
            last = min(count, first + stop - position)
            yield from _crops_of(self.images[number], view, self.spec, first, last)
            position += last - first


def box_side(spec: CropSpec, view: View) -> int:
    """Side of the square that a crop of `view` cuts, in pixels of the image it is cut from."""
    return spec.output_side("zoom_out") if view == "zoom_out" else spec.patch


def smallest_image(spec: CropSpec, view: View) -> int:
    """Shortest side that an HR image needs for `view`, in pixels."""
    side = box_side(spec, view)
    return -(-side // spec.scale) * spec.scale if view == "zoom_in" else side * spec.scale


def _crops_of(image: SourceImage, view: View, spec: CropSpec, first: int, last: int) -> Iterator[Crop]:
    unit = spec.scale if view == "zoom_in" else 1
    free_x = image.width // spec.scale * unit - box_side(spec, view)
    free_y = image.height // spec.scale * unit - box_side(spec, view)
    draws = _uniform(f"{spec.seed}/{view}/{image.sha256}", 2 * last)
    for index in range(first, last):
        x, y = draws[2 * index] * (free_x + 1), draws[2 * index + 1] * (free_y + 1)
        yield Crop(view, image, index, int(x), int(y))


def _uniform(key: str, count: int) -> list[float]:
    """The first `count` numbers in [0,1) of the stream named `key`."""
    words = np.frombuffer(hashlib.blake2b(key.encode(), digest_size=16).digest(), np.uint64)
    return list(np.random.Generator(np.random.Philox(key=words)).random(count))


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
