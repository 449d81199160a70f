"""Ranges as settings: [least, most], where one number stands for both; and values drawn from them.

What is drawn follows from numbers u in [0,1).
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from dukd_cache.settings.model import Number

_Range = TypeVar("_Range", bound=tuple[Any, Any])


def _both(given: object) -> object:
    return (given, given) if isinstance(given, int | float) and not isinstance(given, bool) else given


def _in_order(given: _Range) -> _Range:
    if given[0] > given[1]:
        raise ValueError(f"expected the lower bound first, got [{given[0]}, {given[1]}]")
    return given


def _odd(given: _Range) -> _Range:
    if not all(bound % 2 for bound in given):
        raise ValueError(f"expected odd numbers, got [{given[0]}, {given[1]}]")
    return given


class _OrOne:
    """For those who read the schema."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        both = handler(core)
        return {"anyOf": [both, both["prefixItems"][0]]}


_BOTH, _IN_ORDER, _OR_ONE = BeforeValidator(_both), AfterValidator(_in_order), _OrOne()
_Side = Annotated[int, Field(ge=1, le=63), Number]
_Sigma = Annotated[float, Field(gt=0, le=32), Number]
_Shape = Annotated[float, Field(gt=0, le=16), Number]
_Cutoff = Annotated[float, Field(ge=0.1, le=math.pi), Number]
_Factor = Annotated[float, Field(ge=0.05, le=2), Number]
_Level = Annotated[float, Field(ge=0, le=255), Number]
_Light = Annotated[float, Field(ge=0, le=16), Number]
_Quality = Annotated[int, Field(ge=1, le=100), Number]
Sides = Annotated[tuple[_Side, _Side], _BOTH, _IN_ORDER, AfterValidator(_odd), _OR_ONE]
Sigmas = Annotated[tuple[_Sigma, _Sigma], _BOTH, _IN_ORDER, _OR_ONE]
Shapes = Annotated[tuple[_Shape, _Shape], _BOTH, _IN_ORDER, _OR_ONE]
Cutoffs = Annotated[tuple[_Cutoff, _Cutoff], _BOTH, _IN_ORDER, _OR_ONE]
Factors = Annotated[tuple[_Factor, _Factor], _BOTH, _IN_ORDER, _OR_ONE]
Levels = Annotated[tuple[_Level, _Level], _BOTH, _IN_ORDER, _OR_ONE]
Lights = Annotated[tuple[_Light, _Light], _BOTH, _IN_ORDER, _OR_ONE]
Qualities = Annotated[tuple[_Quality, _Quality], _BOTH, _IN_ORDER, _OR_ONE]


def between(u: float, bounds: tuple[float, float]) -> float:
    """Any value, each as likely."""
    return bounds[0] + (bounds[1] - bounds[0]) * u


def around_1(side: float, u: float, bounds: tuple[float, float]) -> float:
    """The same; where 1 lies within, half are below it, by the number `side`."""
    if not bounds[0] <= 1 <= bounds[1]:
        return between(u, bounds)
    return between(u, (bounds[0], 1.0) if side < 0.5 else (1.0, bounds[1]))


def chosen(u: float, chances: Sequence[float]) -> int:
    """A place, from 1."""
    total, reached = sum(chances), 0.0
    for place, chance in enumerate(chances, 1):
        reached += chance
        if chance and u * total < reached:
            return place
    return max(place for place, chance in enumerate(chances, 1) if chance)
