"""Which SR networks can be built by name: spandrel's and EDSR, with the settings that their constructors take."""

import inspect
import json
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from spandrel import MAIN_REGISTRY, ArchId  # type: ignore[import-untyped]
from torch import nn

from dukd_cache.networks import edsr

_SCALE_KEYWORDS = ("scale", "upscale", "up_scale", "upscale_factor", "upscaling_factor")

REQUIRED = inspect.Parameter.empty
"""Stands for the default of a setting that has none."""

_SR_DEFAULTS = {
    ("num_in_ch", REQUIRED): 3,
    ("num_out_ch", REQUIRED): 3,
    ("upsampler", ""): "pixelshuffle",
    ("window_size", 7): 8,  # 7 does not divide the default img_size, 64
}
"""What replaces a (setting, constructor's default) with which there is no SR network."""

_NOT_SR = ("SAFMNBCIE",)
"""Architectures whose constructor takes a scale, but which spandrel offers for restoration only (scale 1)."""


def constructors() -> dict[str, tuple[ArchId, type[nn.Module]]]:
    """By name: every module class whose constructor takes a scale."""
    found: dict[str, tuple[ArchId, type[nn.Module]]] = {"EDSR": (ArchId("EDSR"), edsr.EDSR)}
    for support in MAIN_REGISTRY:
        package = f"spandrel.architectures.{support.architecture.id}"
        if find_spec(package) is None:  # registered by other software
            continue
        module = import_module(package)
        for name in module.__all__:
            kind = getattr(module, name)
            is_module = inspect.isclass(kind) and issubclass(kind, nn.Module)
            if is_module and scale_keyword(kind) and name not in _NOT_SR:
                found[name] = (support.architecture.id, kind)
    return found


def scale_keyword(constructor: type[nn.Module]) -> str:
    """What the constructor calls the scale; empty where it has no such keyword (an int)."""
    defaults = {key: p.default for key, p in inspect.signature(constructor).parameters.items()}
    return next((key for key in _SCALE_KEYWORDS if isinstance(defaults.get(key), int)), "")


def defaults(constructor: type[nn.Module]) -> dict[str, Any]:
    """All settings that JSON can express, less the scale, with their defaults (`REQUIRED` where there is none)."""
    parameters = inspect.signature(constructor).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is REQUIRED or _is_json(p.default)}
    for (key, default), better in _SR_DEFAULTS.items():
        if key in defaults and defaults[key] == default:
            defaults[key] = better
    defaults.pop(scale_keyword(constructor), None)
    return defaults


def settings_of(module: nn.Module) -> dict[str, Any]:
    """What a module was constructed with, as JSON gives it back, less the scale."""
    used: Mapping[str, Any] = module.hyperparameters  # type: ignore[assignment]
    scale_key = scale_keyword(type(module))
    kept = {key: value for key, value in used.items() if key != scale_key and _is_json(value)}
    settings: dict[str, Any] = json.loads(json.dumps(kept))
    return settings


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True
