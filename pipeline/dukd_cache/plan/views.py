"""Views: what is cut from a scene to ask a teacher about. The data upcycling of DUKD (arXiv 2309.14162, section 3).

Each is declared once, in `VIEWS`. The manifest repeats what readers need; nothing else knows a view by its name.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from dukd_cache.format.record import Array, Dtype
from dukd_cache.system.arrays import U8

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from dukd_cache.format.header import ViewInfo
    from dukd_cache.pictures.sources import Scene


@dataclass(frozen=True)
class Square:
    """Of the source of a view: `side` pixels from (x, y) on, in a scene of scale `scale`."""

    scene: "Scene"
    x: int
    y: int
    side: int
    scale: int

    def grown(self, by: int) -> "Square":
        """The same with `by` pixels of the source on each side, some of which may lie outside of it."""
        return replace(self, x=self.x - by, y=self.y - by, side=self.side + 2 * by)

    def of(self, image: U8, factor: int = 1) -> U8:
        """Its pixels in `image`, which is `factor` times as large as the source: mirrored where they lie outside."""
        import numpy as np  # as all that is heavy here: the words of a command need the names alone

        x, y, side = self.x * factor, self.y * factor, self.side * factor
        height, width = image.shape[:2]
        if min(x, y) >= 0 and x + side <= width and y + side <= height:
            return np.ascontiguousarray(image[y : y + side, x : x + side])
        return np.ascontiguousarray(image[np.ix_(_mirrored(y, side, height), _mirrored(x, side, width))])


def _mirrored(start: int, count: int, length: int) -> "npt.NDArray[np.int64]":
    """Which of `length` pixels are seen from `start` on: as `numpy.pad` has it with "reflect", the edge not twice."""
    import numpy as np

    around = max(1, 2 * (length - 1))
    places = np.arange(start, start + count) % around
    return np.minimum(places, around - places)


@dataclass(frozen=True)
class View:
    """Where inputs, and truths, come from."""

    name: str
    source: Literal["lr", "hr"]
    """The image of a scene that squares are cut from."""
    stream: int
    """Names the random numbers that training draws for it; another for each view."""
    clean: Callable[[Square], U8]
    """A square → the input, where nothing is drawn for it."""
    fine: Callable[[Square], U8]
    """A square → what the input shows, `scale` times as large: what is degraded, where that is drawn."""
    has_truth: bool
    """That `fine` is what an answer should be."""
    smaller: bool = False
    """Its input is the square made smaller by the scale."""
    crops: int = 0
    """Records an image, unless asked for."""
    upcycled: bool = False
    """Made for a teacher: as many records as of `base` unless asked for, and none in a cache of pairs."""

    def box(self, side: int, scale: int) -> int:
        """Side of the square that gives an input of `side` pixels."""
        return side * scale if self.smaller else side

    def margin(self, context: int, scale: int) -> int:
        """Pixels of the source on each side of a square that give `context` pixels on each side of an input."""
        return self.box(context, scale)

    def usual_side(self, patch: int, scale: int) -> int:
        """Of its input, unless another is asked for: as much of the scene as an LR patch shows."""
        return max(1, patch // scale) if self.smaller else patch

    def info(
        self, crops: int, side: int, scale: int, answers: Mapping[str, Dtype], of: Iterable[str] = ("input",)
    ) -> "ViewInfo":
        """What a manifest says of it: `crops` records an image, inputs of `side` pixels, answers of these types.

        Args:
            of: arrays that teachers can be asked about: `clean` is then kept beside `input`.
        """
        from dukd_cache.format.header import MAX_SHARD_RECORDS, ViewInfo

        arrays = {name: Array(side=side, dtype="uint8") for name in {"input": None, **dict.fromkeys(of)}}
        arrays |= {name: Array(side=side * scale, dtype=dtype) for name, dtype in answers.items()}
        if self.has_truth:
            arrays["truth"] = Array(side=side * scale, dtype="uint8")
        return ViewInfo(
            name=self.name,
            source=self.source,
            box=self.box(side, scale),
            crops=crops,
            shard_records=MAX_SHARD_RECORDS,
            stream=self.stream,
            arrays=arrays,
        )


def _lr(square: Square) -> U8:
    return square.of(square.scene.lr)


def _hr(square: Square) -> U8:
    return square.of(square.scene.hr)


def _hr_of_lr(square: Square) -> U8:
    return square.of(square.scene.hr, square.scale)


def _smaller_lr(square: Square) -> U8:
    from dukd_cache.pictures.bicubic import downscale

    return downscale(_lr(square), square.scale)


def _larger_hr(square: Square) -> U8:
    from dukd_cache.pictures.bicubic import REACH, upscale

    inner = slice(REACH * square.scale, -REACH * square.scale)
    return upscale(_hr(square.grown(REACH)), square.scale)[inner, inner]


VIEWS: dict[str, View] = {
    view.name: view
    for view in (
        View("base", "lr", 0, _lr, _hr_of_lr, has_truth=True, crops=8),  # a patch of LR; the HR patch that it shows
        # a patch of HR: nothing sharper exists, so that what is degraded is the patch enlarged
        View("zoom_in", "hr", 1, _hr, _larger_hr, has_truth=False, upcycled=True),
        # a patch of LR, made smaller once more
        View("zoom_out", "lr", 2, _smaller_lr, _lr, has_truth=True, smaller=True, upcycled=True),
    )
}
"""In the order in which they are written."""
