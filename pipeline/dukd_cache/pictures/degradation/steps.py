"""What may be done to HR on its way to LR, as settings: a list of steps, each with ranges to draw its values from.

A step draws from a row of numbers in [0,1), the same place for the same value: a changed range changes that alone.
What was drawn are numbers by name; those of a step that is left out are 0, and NaN where 0 would be the most of it: a
quality, and a kernel's shape.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from dukd_cache.pictures.degradation.ranges import (
    Cutoffs,
    Factors,
    Levels,
    Lights,
    Qualities,
    Shapes,
    Sides,
    Sigmas,
    around_1,
    between,
    chosen,
)
from dukd_cache.settings.model import Probability, Settings, Weight, one_of

Uniform = Sequence[float]
"""Numbers in [0,1)."""
Values = dict[str, float]

NUMBERS = 12
"""That a step draws from, at most."""
KERNELS = (
    "isotropic",
    "anisotropic",
    "generalised",
    "generalised_anisotropic",
    "plateau",
    "plateau_anisotropic",
    "sinc",
)
NOISES = ("gaussian", "poisson")
METHODS = ("area", "bilinear", "bicubic")
"""Of all three: what was drawn is told by its place, from 1."""

Kernel = Annotated[str, one_of(KERNELS)]
Method = Annotated[str, one_of(METHODS)]

_SMALL_SIDE = 13
"""Kernels of fewer pixels cannot hold a sinc as low as others."""


Methods = Annotated[tuple[Method, ...], Field(min_length=1)]


class Blur(Settings):
    """A kernel of a drawn kind, size and shape."""

    names: ClassVar = ("kernel", "side", "sigma_x", "sigma_y", "angle", "shape")

    probability: Probability = 1.0
    """That it is done at all."""
    kernels: dict[Kernel, Weight] = Field(default={"isotropic": 1.0}, min_length=1)
    """Kinds and their chances, of any sum."""
    side: Sides = (7, 21)
    """Of the kernel, in pixels: odd."""
    sigma: Sigmas = (0.2, 3.0)
    """Width along each axis, in pixels."""
    generalised: Shapes = (0.5, 4.0)
    """β of generalised kernels. Where 1 lies within, half are below it."""
    plateau: Shapes = (1.0, 2.0)
    """β of plateau kernels, likewise."""
    cutoff: Cutoffs | None = None
    """Of sinc, in radians a pixel. Default: π/3 to π, from a side of 13 on π/5 to π."""

    @model_validator(mode="after")
    def _one_is_possible(self) -> Self:
        if not sum(self.kernels.values()):
            raise ValueError("one of the kernels must be above 0")
        return self

    def draw(self, u: Uniform) -> Values:
        """One kernel."""
        if u[0] >= self.probability:
            return dict.fromkeys(self.names, 0.0) | {"shape": math.nan}
        number = chosen(u[1], [self.kernels.get(name, 0.0) for name in KERNELS])
        kind, side = KERNELS[number - 1], self.side[0] + 2 * int(u[2] * ((self.side[1] - self.side[0]) // 2 + 1))
        found: Values = {"kernel": number, "side": side}
        if kind == "sinc":
            cutoff = self.cutoff or (math.pi / (3 if side < _SMALL_SIDE else 5), math.pi)
            return found | {"sigma_x": 0.0, "sigma_y": 0.0, "angle": 0.0, "shape": between(u[3], cutoff)}
        turned = kind.endswith("anisotropic")
        sigma_x = between(u[4], self.sigma)
        shapes = {"g": self.generalised, "p": self.plateau}.get(kind[0], (1.0, 1.0))
        return found | {
            "sigma_x": sigma_x,
            "sigma_y": between(u[5], self.sigma) if turned else sigma_x,
            "angle": math.pi * (2 * u[6] - 1) if turned else 0.0,
            "shape": around_1(u[7], u[8], shapes),
        }


class Resize(Settings):
    """To another size, by a drawn factor and method."""

    names: ClassVar = ("factor", "method")

    up: Weight = 0.2
    """Chance that it becomes larger. The three may have any sum."""
    down: Weight = 0.7
    """That it becomes smaller."""
    keep: Weight = 0.1
    """That the factor is 1."""
    factor: Factors = (0.15, 1.5)
    """The smallest and the largest."""
    of: Literal["picture", "lr"] = "picture"
    """What the factor is of: the picture as it is at that step, or LR."""
    methods: Methods = METHODS
    """One of these, each as likely."""

    @model_validator(mode="after")
    def _factors_are_there(self) -> Self:
        if not self.up + self.down + self.keep:
            raise ValueError("one of up, down and keep must be above 0")
        if (self.up and self.factor[1] < 1) or (self.down and self.factor[0] > 1):
            raise ValueError(f"factor {list(self.factor)} holds none for {'up' if self.factor[1] < 1 else 'down'}")
        return self

    def draw(self, u: Uniform) -> Values:
        """One size."""
        way = chosen(u[0], [self.up, self.down, self.keep])
        low, high = self.factor
        bounds = {1: (max(1.0, low), high), 2: (low, min(1.0, high)), 3: (1.0, 1.0)}[way]
        return {"factor": between(u[1], bounds), "method": _method(u[2], self.methods)}


class Noise(Settings):
    """Of a drawn kind and strength."""

    names: ClassVar = ("kind", "strength", "grey")

    probability: Probability = 1.0
    """That it is done at all."""
    gaussian: Weight = 0.5
    """Chance of Gaussian noise. Both may have any sum."""
    poisson: Weight = 0.5
    """Chance of a light sensor's."""
    sigma: Levels = (1.0, 30.0)
    """Standard deviation of Gaussian noise, in levels of 255."""
    scale: Lights = (0.05, 3.0)
    """Of Poisson noise: 1 is that of a sensor that counts one photon a level."""
    grey: Probability = 0.4
    """That all channels get the same."""

    @model_validator(mode="after")
    def _one_is_possible(self) -> Self:
        if not self.gaussian + self.poisson:
            raise ValueError("one of gaussian and poisson must be above 0")
        return self

    def draw(self, u: Uniform) -> Values:
        """One noise."""
        if u[0] >= self.probability:
            return dict.fromkeys(self.names, 0.0)
        kind = chosen(u[1], [self.gaussian, self.poisson])
        strength = between(u[2], self.sigma if kind == 1 else self.scale)
        return {"kind": kind, "strength": strength, "grey": float(u[3] < self.grey)}


class Compression(Settings):
    """Of a drawn quality; its blocks begin anywhere. Two numbers alone are `quality`."""

    short: ClassVar = "quality"
    names: ClassVar = ("quality", "late", "x", "y")

    probability: Probability = 1.0
    """That it is done at all."""
    quality: Qualities = (30, 95)
    """1 to 100."""
    late: Probability = 0.0
    """That it comes after all other steps, and not in its place."""

    def draw(self, u: Uniform) -> Values:
        """One quality."""
        if u[0] >= self.probability:
            return dict.fromkeys(self.names, 0.0) | {"quality": math.nan}
        quality = self.quality[0] + int(u[1] * (self.quality[1] - self.quality[0] + 1))
        return {"quality": quality, "late": float(u[2] < self.late), "x": int(16 * u[3]), "y": int(16 * u[4])}


class Shrink(Settings):
    """To the size of LR. It is done last where no step is this, or one after it resizes."""

    names: ClassVar = ("method",)

    methods: Methods = METHODS
    """One of these, each as likely."""

    def draw(self, u: Uniform) -> Values:
        """One method."""
        return {"method": _method(u[0], self.methods)}


class Step(Settings):
    """One thing that is done, by its name. A name alone has the ranges of Real-ESRGAN's first round."""

    blur: Blur | None = None
    """A kernel."""
    resize: Resize | None = None
    """Another size."""
    noise: Noise | None = None
    """Added to each pixel."""
    jpeg: Compression | None = None
    """Written as JPEG."""
    webp: Compression | None = None
    """Written as WebP."""
    shrink: Shrink | None = None
    """LR's size."""

    @model_validator(mode="before")
    @classmethod
    def _a_name_alone(cls, given: object) -> object:
        if isinstance(given, str):
            return {given: {}}
        return {name: {} if of is None else of for name, of in given.items()} if isinstance(given, Mapping) else given

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        group, alone = handler(core), {"enum": [*cls.model_fields], "type": "string"}
        return {"anyOf": [group, alone], "description": group["description"]}

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(given := [name for name, _ in self if getattr(self, name) is not None]) != 1:
            raise ValueError(
                f"expected one of {', '.join(type(self).model_fields)}, got {' and '.join(given) or 'none'}"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_the_others(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: of for name, of in plain(self).items() if of is not None}

    @property
    def kind(self) -> str:
        """Its name."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)

    @property
    def what(self) -> Blur | Resize | Noise | Compression | Shrink:
        """What is drawn."""
        found: Blur | Resize | Noise | Compression | Shrink = getattr(self, self.kind)
        return found


def _method(u: float, methods: Sequence[str]) -> int:
    return METHODS.index(methods[int(u * len(methods))]) + 1
