"""What is done to one picture: steps with the values that were drawn for them, and where they get their noise from."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np

from dukd_cache.pictures.degradation import effects, kernels
from dukd_cache.pictures.degradation.effects import Method
from dukd_cache.pictures.degradation.steps import KERNELS, METHODS, NOISES, Resize, Shrink, Step, Uniform, Values
from dukd_cache.system.arrays import F32, F64, U8


@dataclass(frozen=True)
class Drawn:
    """A step, and what was drawn for it."""

    label: str
    """Its name and which of that name it is: `blur2`."""
    step: Step
    values: Values
    random: Callable[[], np.random.Generator]
    """Of its noise: always the same."""


@dataclass(frozen=True)
class Recipe:
    """All that is done to one picture, in its order."""

    drawn: tuple[Drawn, ...]

    @property
    def columns(self) -> Values:
        """What was drawn, by the names of columns."""
        return {f"{each.label}_{name}": float(value) for each in self.drawn for name, value in each.values.items()}

    def margin(self, scale: int) -> int:
        """LR pixels around a part of LR on which it depends: with these it is what it is in the whole picture.

        Without noise and compression, whose blocks begin anywhere: they would nearly double what is to be degraded.
        """
        pixel, reach = 1.0, 0.0  # both in pixels of HR
        for each in self.drawn:
            values, before = each.values, pixel
            match each.step.kind:
                case "blur":
                    reach += values["side"] // 2 * pixel
                case "resize" | "shrink":
                    pixel = _pixel(each, pixel, scale)
                    reach += {"area": before + pixel, "bilinear": before, "bicubic": 2 * before}[method_of(values)]
        return math.ceil(reach / scale)

    def applied(self, hr: U8, scale: int) -> U8:
        """`hr` u8 [s·h,s·w,3], degraded → LR u8 [h,w,3]."""
        height, width = hr.shape[0] // scale, hr.shape[1] // scale
        image = hr.astype(np.float32)
        for each in self.drawn:
            image = _done(each, image, height, width)
        return effects.rounded(image)


def with_shrink(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The same, with the step to LR's size that must come after all others that resize."""
    sizes = [step.kind for step in steps if step.kind in ("resize", "shrink")]
    return tuple(steps) if sizes[-1:] == ["shrink"] else (*steps, Step(shrink=Shrink()))


def columns_of(steps: Sequence[Step]) -> list[str]:
    """Names of the columns that keep what was drawn."""
    return [f"{label}_{name}" for label, step in labelled(with_shrink(steps)) for name in step.what.names]


def drawn_from(steps: Sequence[Step], rows: Iterable[Uniform], noise: Callable[[int], np.random.Generator]) -> Recipe:
    """What `steps`, with the one to LR's size, draw from a row of `NUMBERS` each; `noise` is of a step's number."""
    drawn = [
        Drawn(label, step, step.what.draw(row), partial(noise, number))
        for number, ((label, step), row) in enumerate(zip(labelled(steps), rows, strict=True))
    ]
    return Recipe(tuple(sorted(drawn, key=lambda each: each.values.get("late", 0))))


def labelled(steps: Sequence[Step]) -> Iterator[tuple[str, Step]]:
    """Each with its name and which of that name it is: `blur2`."""
    counts: dict[str, int] = {}
    for step in steps:
        counts[step.kind] = counts.get(step.kind, 0) + 1
        yield f"{step.kind}{counts[step.kind]}", step


def method_of(values: Values) -> Method:
    """How a picture was resized."""
    return cast(Method, METHODS[int(values["method"]) - 1])


def _pixel(each: Drawn, before: float, scale: int) -> float:
    """Side of a pixel after a step, in pixels of HR."""
    if not isinstance(each.step.what, Resize):
        return scale
    return (scale if each.step.what.of == "lr" else before) / each.values["factor"]


def _done(each: Drawn, image: F32, height: int, width: int) -> F32:
    """`height` and `width` are LR's."""
    values = each.values
    match each.step.kind:
        case "blur" if values["kernel"]:
            return effects.blurred(image, _kernel(values))
        case "noise" if values["kind"]:
            add = {"gaussian": effects.with_gaussian_noise, "poisson": effects.with_poisson_noise}
            return add[NOISES[int(values["kind"]) - 1]](image, values["strength"], bool(values["grey"]), each.random())
        case "jpeg" | "webp" as how if values["quality"] > 0:
            return effects.compressed(image, int(values["quality"]), how, int(values["x"]), int(values["y"]))
        case "shrink":
            return effects.resized(image, height, width, method_of(values))
        case "resize":
            what = cast(Resize, each.step.what)
            sides = (height, width) if what.of == "lr" else image.shape[:2]
            new_height, new_width = (max(1, round(side * values["factor"])) for side in sides)
            return effects.resized(image, new_height, new_width, method_of(values))
    return image


def _kernel(values: Values) -> F64:
    kind, side = KERNELS[int(values["kernel"]) - 1], int(values["side"])
    if kind == "sinc":
        return kernels.sinc(side, values["shape"])
    make = kernels.plateau if kind.startswith("plateau") else kernels.generalised_gaussian
    return make(side, values["sigma_x"], values["sigma_y"], values["angle"], values["shape"])
