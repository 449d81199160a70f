"""(images, spec) → crops. Pure: crop i of a view depends on (seed, view, image content, i) and on nothing else.

So adding an image moves no other crop, and a larger count extends the smaller one.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from dukd_cache.format.header import AnswerInfo, ViewInfo
from dukd_cache.pictures.degradation.recipe import Recipe
from dukd_cache.pictures.degradation.steps import Step
from dukd_cache.pictures.image_list import Images
from dukd_cache.pictures.sources import Scene, SourceImage
from dukd_cache.plan.degraded import recipe_of
from dukd_cache.plan.philox import key_of, uniform
from dukd_cache.plan.views import VIEWS, Square, View
from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import ImageError

_IMAGES_AT_ONCE = 256


@dataclass(frozen=True)
class CropSpec:
    """Which crops are cut from each image."""

    scale: int
    """The SR factor s."""
    patch: int
    """Side p of an LR patch, in pixels."""
    seed: int
    """Moves every crop."""
    views: tuple[ViewInfo, ...]
    degradation: tuple[Step, ...] = ()
    """What LR is made by; none: bicubic, or LR files."""

    def view(self, name: str) -> ViewInfo:
        """The view of that name; KeyError where there is none."""
        return {view.name: view for view in self.views}[name]


@dataclass(frozen=True)
class Crop:
    """A square of one image."""

    view: ViewInfo
    image: SourceImage
    index: int
    """Which of the image's crops of this view: 0 ≤ index < view.crops."""
    x: int
    """Left edge, in pixels of the view's source."""
    y: int

    def __str__(self) -> str:
        """For people."""
        return f"{self.image.path}: crop {self.index} of {self.view.name} at ({self.x}, {self.y})"


@dataclass(frozen=True)
class Cut:
    """A crop's pixels: `input`, and `clean` and `truth` where there are such."""

    crop: Crop
    arrays: dict[str, U8]
    grown: Mapping[tuple[str, int], U8] = field(default_factory=dict)
    """Arrays with their surroundings in the image, by their name and the pixels on each side."""
    drawn: Mapping[str, float] = field(default_factory=dict)
    """What was drawn for a degraded input, by the names of columns."""

    @property
    def input(self) -> U8:
        """What a student is given, u8 [p,p,3]."""
        return self.arrays["input"]

    def question(self, info: AnswerInfo) -> U8:
        """What the teacher is asked about whose answers `info` describes."""
        return self.grown[info.of, info.context] if info.context else self.arrays[info.of]


def cut(crop: Crop, spec: CropSpec, scene: Scene, answers: Collection[AnswerInfo] = ()) -> Cut:
    """Take `crop` out of its scene, with what teachers are asked about for `answers`."""
    view, square = VIEWS[crop.view.name], Square(scene, crop.x, crop.y, crop.view.box, spec.scale)

    def clean(around: int) -> U8:
        return view.clean(square.grown(view.margin(around, spec.scale)))

    seen: dict[str, Callable[[int], U8]] = {"input": clean}
    drawn: Mapping[str, float] = {}
    if spec.degradation:
        recipe = recipe_of(spec.degradation, f"{spec.seed}/{view.name}/{crop.image.sha256}/{crop.index}")
        context = max((info.context for info in answers), default=0)
        seen = {"input": _degraded(recipe, view, square, crop.view.input_side, context), "clean": clean}
        drawn = recipe.columns
    arrays = {name: of(0) for name, of in seen.items() if name in crop.view.arrays}
    grown = {(info.of, info.context): seen[info.of](info.context) for info in answers if info.context}
    return Cut(crop, arrays | ({"truth": view.fine(square)} if view.has_truth else {}), grown, drawn)


def _degraded(recipe: Recipe, view: View, square: Square, side: int, context: int) -> Callable[[int], U8]:
    """Pixels around an input of `side` pixels, up to `context` on each side → both, degraded.

    They are so together with what reaches into them.
    """
    margin = context + recipe.margin(square.scale)
    whole = recipe.applied(view.fine(square.grown(view.margin(margin, square.scale))), square.scale)

    def middle(around: int) -> U8:
        inner = slice(margin - around, margin + side + around)
        return np.ascontiguousarray(whole[inner, inner])

    return middle


@dataclass(frozen=True)
class Plan:
    """All crops of all images, by view and position, computed when asked for.

    Raises:
        ImageError: an image is too small for a view.
    """

    images: Sequence[SourceImage]
    spec: CropSpec
    first: int = 0
    """Number of the first of them in the whole plan."""

    def __post_init__(self) -> None:
        if self.images:  # what the smallest image accepts, all do: one remedy serves for all
            _check_size(self.images[int(self.columns.sides.min(axis=1).argmin())], self.spec)

    @cached_property
    def columns(self) -> Images:
        """The images."""
        return Images.of(self.images)

    def total(self, view: ViewInfo) -> int:
        """Number of records of `view`."""
        return len(self.images) * view.crops

    def part(self, view: ViewInfo, start: int, stop: int) -> "Plan":
        """The same plan with no other images than those that records `start` to `stop` of `view` are cut from.

        What it says of those is what the whole plan says. Small enough to be sent to a process.
        """
        first, last = self._numbers(view, start, stop)
        return Plan(self.columns[first - self.first : last - self.first], self.spec, first)

    def crops(self, view: ViewInfo, start: int, stop: int) -> Iterator[Crop]:
        """Crops `start` to `stop` of the stream of `view`, image by image.

        Raises:
            ValueError: some are cut from images that this part of a plan lacks.
        """
        count = view.crops
        begin, end = self._numbers(view, start, stop)
        for first in range(begin, end, _IMAGES_AT_ONCE):
            last = min(first + _IMAGES_AT_ONCE, end)
            corners = self.corners(view, first, last).tolist()
            for number in range(first, last):
                image = self.images[number - self.first]
                for index in range(max(start - number * count, 0), min(stop - number * count, count)):
                    yield Crop(view, image, index, *corners[number - first][index])

    def corners(self, view: ViewInfo, first: int, last: int) -> npt.NDArray[np.int64]:
        """x and y of every crop of images `first` to `last`: [images, crops an image, 2]. For whole sets at once."""
        images, spec = self.columns[first - self.first : last - self.first], self.spec
        digests = [key_of(f"{spec.seed}/{view.name}/{sha256}") for sha256 in images.hr.all_sha256()]
        drawn = uniform(np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2), 0, 2 * view.crops)
        free = images.sides.astype(np.int64) // spec.scale * _unit(view, spec.scale) - view.box
        corners: npt.NDArray[np.int64] = (drawn.reshape(-1, view.crops, 2) * (free[:, None] + 1)).astype(np.int64)
        return corners

    def _numbers(self, view: ViewInfo, start: int, stop: int) -> tuple[int, int]:
        """Numbers of the first image that records `start` to `stop` of `view` are cut from, and of the one after."""
        if start >= stop:
            return self.first, self.first
        first, last = start // view.crops, -(-stop // view.crops)
        there = self.first + len(self.images)
        if first < self.first or last > there:
            raise ValueError(
                f"{view.name} {start} to {stop}: images {first} to {last}, here are {self.first} to {there}"
            )
        return first, last


def _unit(view: ViewInfo, scale: int) -> int:
    """Pixels of the view's source in a pixel of LR."""
    return scale if view.source == "hr" else 1


def smallest_image(view: ViewInfo, scale: int) -> int:
    """Shortest side that an HR image needs for `view`, in pixels."""
    return -(-view.box // _unit(view, scale)) * scale


def too_small_for(width: int, height: int, spec: CropSpec) -> ViewInfo | None:
    """The first view of `spec` that an HR image of this size is too small for, or None."""
    side = min(width, height)
    return next((view for view in spec.views if side < smallest_image(view, spec.scale)), None)


def shortfall(width: int, height: int, scale: int, view: ViewInfo) -> str:
    """What an HR image of this size lacks for `view`, for people."""
    needed = smallest_image(view, scale)
    return (
        f"{width}×{height} pixels, but view {view.name} needs {needed}×{needed} "
        f"(patch {view.input_side}, scale {scale})"
    )


def _check_size(image: SourceImage, spec: CropSpec) -> None:
    view = too_small_for(image.width, image.height, spec)
    if view is None:
        return
    fits = min(image.width, image.height) // spec.scale * _unit(view, spec.scale) * view.input_side // view.box
    patch = "patch" if view.input_side == view.box == spec.patch else f"views.{view.name}.patch"
    without = "a larger image" if view.input_side == view.box else f"`views.{view.name}=0`"
    remedy = f"`{patch}={fits}` or less" if fits else without
    lacks = shortfall(image.width, image.height, spec.scale, view)
    raise ImageError(f"{lacks}: use {remedy}, or take the image out (`on_bad_image=skip` does)", image.path)
