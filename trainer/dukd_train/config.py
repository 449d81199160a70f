"""The settings of a training run, validated: a YAML file, and `--set a.b=c` on top of it.

Defaults are the paper's (arXiv 2309.14162, section 4.1; DUKD's released EDSR configuration).
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dukd_cache.errors import SettingError, unknown_name

Method = Literal["scratch", "kd", "dukd"]
Probability = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Student(_Settings):
    """The network to train."""

    architecture: str = "EDSR"
    """EDSR, or any SR architecture of spandrel: SwinIR, RCAN, SPAN, SAFMN, …"""
    settings: dict[str, Any] = {}
    """The architecture's own: `channels` and `blocks` of EDSR, `embed_dim` of SwinIR, …"""


class Loss(_Settings):
    """Weights λ of the parts of the loss, each a mean absolute difference in [0,1]. 0 switches a part off."""

    rec: Weight = 1.0
    """base: student and truth. The paper has 5 for EDSR and SwinIR, 1 for RCAN."""
    kd: Weight = 1.0
    """base: student and teacher."""
    zoom_in: Weight = 1.0
    """zoom_in: student and teacher."""
    zoom_out_rec: Weight = 1.0
    """zoom_out: student and truth."""
    zoom_out_kd: Weight = 1.0
    """zoom_out: student and teacher."""


class Chances(_Settings):
    """How often each generator of the augmentation group is drawn. Defaults: the paper's, for the zoom views."""

    hflip: Probability = 0.3
    vflip: Probability = 0.3
    transpose: Probability = 0.3
    invert: Probability = 0.3
    """Colour inversion, x → 1 − x."""


class BaseChances(Chances):
    """The same for the base view. Defaults: the usual ones of SR training."""

    hflip: Probability = 0.5
    vflip: Probability = 0.5
    transpose: Probability = 0.5
    invert: Probability = 0.0


class Augment(_Settings):
    """Augmentation of inputs; the cached answers are mapped with them (label consistency)."""

    base: BaseChances = BaseChances()
    zoom: Chances = Chances()
    """Of zoom_in and zoom_out."""


class Optimizer(_Settings):
    """Adam."""

    lr: Annotated[float, Field(gt=0)] = 1e-4
    betas: tuple[Probability, Probability] = (0.9, 0.99)
    weight_decay: Weight = 0.0
    clip: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of all gradients together; none by default."""


class Schedule(_Settings):
    """How the learning rate falls."""

    kind: Literal["multistep", "cosine"] = "multistep"
    milestones: tuple[Positive, ...] = (100_000, 200_000)
    """multistep: the steps at which the rate is multiplied by `gamma`."""
    gamma: Probability = 0.1
    floor: Probability = 0.0
    """cosine: the last rate as a fraction of the first."""
    warmup: Annotated[int, Field(ge=0)] = 0
    """Steps over which the rate rises linearly from nothing."""


class ImageSet(_Settings):
    """A benchmark."""

    hr: Path
    """Folder of HR images."""
    lr: Path | None = None
    """Folder of LR images; made by the benchmarks' bicubic if not given."""


class Validation(_Settings):
    """Scores during training."""

    every: Annotated[int, Field(ge=0)] = 0
    """Steps between validations; 0: only at the end."""
    sets: dict[str, ImageSet] = {}
    """By name."""


class TrainConfig(_Settings):
    """All settings of a run."""

    method: Method = "dukd"
    """scratch: truth only. kd: truth and teacher on base. dukd: both, and the zoom views."""
    cache: Path
    """Folder of a finished cache."""
    student: Student = Student()
    steps: Positive = 250_000
    batch: Positive = 16
    """Records of each view a step."""
    patch: Positive | None = None
    """Side of a training patch cut at random out of the cached one; the whole of it if not given."""
    loss: Loss = Loss()
    augment: Augment = Augment()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    ema: Probability = 0.999
    """Decay of the averaged weights, which are what is scored and saved."""
    precision: Literal["fp32", "bf16"] = "fp32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Of weights, order, crops and augmentation."""
    log_every: Positive = 100
    checkpoint_every: Positive = 1000
    validation: Validation = Validation()


def load(path: Path, section: str | None, overrides: list[str]) -> TrainConfig:
    """Settings from the YAML file `path` (its part `section`, if given), changed by `overrides` (`a.b=c`).

    Raises:
        SettingError: one line that names the setting, what was given and what is allowed.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise SettingError(f"{path}: no such config file") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingError(f"{path}: not a YAML file ({' '.join(str(error).split())})") from error
    content = _group(content, str(path))
    if section is not None:
        if section not in content:
            raise SettingError(f"{path}: {unknown_name('section', section, map(str, content))}")
        content = _group(content[section], f"{path}: section {section}")
    for override in overrides:
        _set(content, override)
    return validated(content)


def validated(content: dict[str, Any]) -> TrainConfig:
    """`content` as settings.

    Raises:
        SettingError: one line for the first thing that is wrong.
    """
    try:
        return TrainConfig.model_validate(content)
    except ValidationError as error:
        raise SettingError(_explain(error)) from error


def dump(config: TrainConfig) -> str:
    """All settings as YAML; `load` reads them back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _group(content: object, where: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        found = "nothing" if content is None else type(content).__name__
        raise SettingError(f"{where}: expected settings by name, found {found}")
    return content


def _set(content: dict[str, Any], override: str) -> None:
    path, equals, value = override.partition("=")
    if not equals or not path:
        raise SettingError(f"--set {override}: expected key=value, like optimizer.lr=2e-4")
    *parents, last = path.split(".")
    for depth, parent in enumerate(parents, 1):
        child = content.get(parent, {})
        if not isinstance(child, dict):
            group = ".".join(parents[:depth])
            raise SettingError(f"--set {override}: {group} is a value, not a group of settings")
        content[parent] = dict(child)  # a copy, as YAML anchors share groups
        content = content[parent]
    try:
        content[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise SettingError(f"--set {override}: {value!r} is not a YAML value") from error


def _explain(error: ValidationError) -> str:
    errors = error.errors()
    # A misspelt name comes before the setting that is missing for it.
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    location = [str(part) for part in first["loc"]]
    path = ".".join(location)
    if first["type"] == "extra_forbidden":
        group = ".".join(location[:-1])
        return unknown_name(f"setting in {group}" if group else "setting", location[-1], _names_in(location[:-1]))
    if first["type"] == "missing":
        return f"setting {path} is missing"
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        valid = first["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return unknown_name(path, first["input"], valid)
    message = "should be a path" if first["type"] == "path_type" else first["msg"].replace("Input should", "should")
    return f"setting {path}: {message}, got {first['input']!r}"


def _names_in(path: list[str]) -> list[str]:
    model: Any = TrainConfig
    for part in path:
        fields = getattr(model, "model_fields", {})
        if part not in fields:  # a name chosen by the user, like that of a validation set
            return sorted(ImageSet.model_fields)
        model = fields[part].annotation
    return sorted(getattr(model, "model_fields", {}))
