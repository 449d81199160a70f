"""Degradations that come with the program, and the type of the setting."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from dukd_cache.pictures.degradation.steps import Step
from dukd_cache.settings.choices import DegradationName

_KERNELS = {
    "isotropic": 0.45,
    "anisotropic": 0.25,
    "generalised": 0.12,
    "generalised_anisotropic": 0.03,
    "plateau": 0.12,
    "plateau_anisotropic": 0.03,
}


def _with_sinc(chance: float) -> dict[str, float]:
    return {name: weight * (1 - chance) for name, weight in _KERNELS.items()} | {"sinc": chance}


PRESETS: dict[str, list[dict[str, Any]]] = {
    "bicubic": [],
    "light": [
        {"blur": {"kernels": {"isotropic": 0.5, "anisotropic": 0.5}, "sigma": [0.2, 2.0]}},
        {"shrink": {}},
        {"noise": {"sigma": [0.0, 10.0], "scale": [0.05, 1.0]}},
        {"jpeg": [60, 95]},
    ],
    # Real-ESRGAN, options/train_realesrgan_x4plus.yml
    "real": [
        {"blur": {"kernels": _with_sinc(0.1), "sigma": [0.2, 3.0]}},
        {"resize": {"up": 0.2, "down": 0.7, "keep": 0.1, "factor": [0.15, 1.5]}},
        {"noise": {"gaussian": 0.5, "poisson": 0.5, "sigma": [1, 30], "scale": [0.05, 3], "grey": 0.4}},
        {"jpeg": [30, 95]},
        {"blur": {"probability": 0.8, "kernels": _with_sinc(0.1), "sigma": [0.2, 1.5]}},
        {"resize": {"up": 0.3, "down": 0.4, "keep": 0.3, "factor": [0.3, 1.2], "of": "lr"}},
        {"noise": {"gaussian": 0.5, "poisson": 0.5, "sigma": [1, 25], "scale": [0.05, 2.5], "grey": 0.4}},
        {"jpeg": {"quality": [30, 95], "late": 0.5}},
        {"shrink": {}},
        {"blur": {"probability": 0.8, "kernels": {"sinc": 1}, "cutoff": [1.0471975511965976, 3.141592653589793]}},
    ],
}
"""By name. bicubic: nothing is drawn, LR is made as benchmarks make it."""


def preset(name: DegradationName) -> tuple[Step, ...]:
    """The steps of that name."""
    return tuple(Step.model_validate(step) for step in PRESETS[name])


def _named(given: object) -> object:
    if isinstance(given, str) and given not in PRESETS:
        raise PydanticCustomError("literal_error", "no such degradation")
    return PRESETS.get(given, given) if isinstance(given, str) else given


class _Words:
    """The names of the presets, for those who read the schema."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(core), {"enum": [*PRESETS], "type": "string"}]}


Steps = Annotated[tuple[Step, ...], Field(max_length=32), BeforeValidator(_named), _Words()]
"""A preset's name, or steps; none: bicubic."""
