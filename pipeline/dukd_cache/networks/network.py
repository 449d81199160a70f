"""An SR network: a module with what spandrel knows of it, called as every architecture wants to be called.

Shapes: N images, H×W input sides, s scale.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from spandrel import ImageModelDescriptor, ModelDescriptor, SizeRequirements  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn.functional import pad

from dukd_cache.settings.choices import Precision
from dukd_cache.settings.takes import USUAL, Takes
from dukd_cache.system.errors import AnswerError

SCALES = (2, 3, 4)
"""The SR factors that dukd knows."""

PROGRAMS = ("TorchScript", "pt2", "ONNX", "python")
"""What stands for the architecture of a network that can only be asked (see `programs`)."""

_ONE_BY_ONE = ("SeemoRe",)
"""Architectures that in eval mode take only one image at a time."""


_CURES: dict[Precision, str] = {
    "fp32": "its weights are damaged, or the training that made them had diverged",
    "bf16": "try fp32",
    "fp16": "numbers inside it outgrow fp16, use bf16 or fp32",
}


@dataclass(frozen=True, eq=False)
class Network:
    """An SR network with what is needed to call, name and rebuild it."""

    descriptor: ImageModelDescriptor[nn.Module]
    """The module with what spandrel knows of it: scale, size requirements, how to call it."""
    architecture: str
    """A name of `architectures()`; spandrel's id where only its own detection can make the network."""
    settings: Mapping[str, Any]
    """Complete constructor settings, JSON-able; the scale is not among them."""
    metadata: Mapping[str, str]
    """What the weights file says of itself beside the settings; {} if nothing."""
    takes: Takes = USUAL
    """What its inputs and answers are, where that is not RGB in [0,1]."""

    @property
    def scale(self) -> int:
        """SR factor: 2, 3 or 4."""
        return int(self.descriptor.scale)

    @property
    def module(self) -> nn.Module:
        """The bare network, which may refuse inputs of sides that `forward` pads."""
        module: nn.Module = self.descriptor.model
        return module

    @property
    def is_program(self) -> bool:
        """Whether it can only be asked: there is no class of it that could be trained, or written as weights."""
        return self.architecture in PROGRAMS

    @property
    def parameters_count(self) -> int:
        """Number of scalar parameters, trainable or not."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    def __call__(self, image_NCHW: Tensor) -> Tensor:
        """[N,3,H,W] float in [0,1] to [N,3,sH,sW] in [0,1], without gradients, for any H and W.

        Puts the module into eval mode and leaves it there.

        Raises:
            AnswerError: the network answers with numbers that are not finite.
        """
        answer_NCHW = self.unclamped(image_NCHW)
        refuse_unless_finite(finite(answer_NCHW).tolist(), self.architecture)
        return answer_NCHW.clamp(0, 1)

    def unclamped(self, image_NCHW: Tensor) -> Tensor:
        """The same, but not clamped and not looked at: clamping makes white of infinity, and leaves NaN what it is."""
        self.module.eval()
        with torch.no_grad():
            return self.forward(image_NCHW)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """[N,3,H,W] float in [0,1] to [N,3,sH,sW], not clamped, with gradients, in the module's current mode.

        Any H and W: padded right and below to the network's size requirements, the answer cropped back.
        """
        height, width = image_NCHW.shape[-2:]
        padded_NCHW = self.taken(_pad(image_NCHW, *self.descriptor.size_requirements.get_padding(width, height)))
        # Private, but the only way to call any network with gradients: some return more than the image.
        call = self.descriptor._call_fn
        if self.architecture in _ONE_BY_ONE and not self.module.training:
            answers = [call(self.module, padded_NCHW[n : n + 1]) for n in range(len(padded_NCHW))]
            answer_NCHW = torch.cat(answers)
        else:
            answer_NCHW = call(self.module, padded_NCHW)
        return self.given(answer_NCHW[..., : self.scale * height, : self.scale * width])

    def taken(self, image_NCHW: Tensor) -> Tensor:
        """RGB in [0,1] as the network takes it."""
        turned_NCHW = image_NCHW.flip(1) if self.takes.channels == "bgr" else image_NCHW
        return turned_NCHW if self.takes.values == 1 else turned_NCHW * self.takes.values

    def given(self, answer_NCHW: Tensor) -> Tensor:
        """What it answers as RGB in [0,1]."""
        turned_NCHW = answer_NCHW.flip(1) if self.takes.channels == "bgr" else answer_NCHW
        return turned_NCHW if self.takes.values == 1 else turned_NCHW / self.takes.values

    @property
    def window(self) -> int:
        """LR pixels after which the network's windows repeat; 1 where it has none that settings or modules name.

        What it is said to take counts most.

        Of DCTLSA, whose windows no setting tells, as of SwinIR, HAT, OmniSR, …; of DAT and CRAFT, whose windows are
        rectangles, the side that holds all of them.
        """
        if self.takes.window is not None:
            return self.takes.window
        named = [self.settings, *map(vars, self.module.modules())]
        sizes = {
            size
            for values in named
            for name, value in values.items()
            if name.endswith(("window_size", "split_size"))
            for size in (value if isinstance(value, list | tuple) else [value])
            if isinstance(size, int) and size > 0
        }
        return math.lcm(int(self.descriptor.size_requirements.multiple_of), *sizes)

    def in_whole_windows(self) -> "Network":
        """This network, whose inputs are mirrored to a multiple of its window before it sees them.

        Many mirror their features instead, or an input only as far as the whole of one window: their answers to sides
        between are worse, below bicubic at times (docs/method.md has figures).
        """
        required = replace(self.descriptor.size_requirements, multiple_of=self.window)
        return replace(self, descriptor=described(self.module, self.descriptor, required))

    def to(self, device: torch.device | str) -> "Network":
        """This network, its module moved (in place) to `device`."""
        self.module.to(device)
        return self

    def with_module(self, module: nn.Module) -> "Network":
        """The same network around another module of its kind, for example an averaged copy."""
        return replace(self, descriptor=described(module, self.descriptor))


def finite(answer_NCHW: Tensor) -> Tensor:
    """Which of N answers are finite numbers throughout: bool [N], on the answers' device.

    One sum an answer tells, as it is finite only if all numbers are: 0.13 ms for 16 answers of 192×192 on a core, a
    hundredth of what looking at each number takes, and nothing beside the second that a small network needs for them.
    """
    return answer_NCHW.sum((1, 2, 3), dtype=torch.float32).isfinite()


def refuse_unless_finite(finite_N: Sequence[bool], who: str, precision: Precision = "fp32") -> None:
    """End where not all of N answers, computed in `precision`, are `finite`: say of which network, and what to try.

    Raises:
        AnswerError: some are not.
    """
    indices = [index for index, is_finite in enumerate(finite_N) if not is_finite]
    if indices:
        raise AnswerError(
            f"{who} answers in {precision} with numbers that are not finite (NaN or infinite): {_CURES[precision]}",
            indices=indices,
        )


def unfit_for_sr(descriptor: ModelDescriptor) -> str | None:
    """Why a network cannot serve as an SR network for RGB images; None if it can."""
    if not isinstance(descriptor, ImageModelDescriptor) or descriptor.purpose not in ("SR", "Restoration"):
        return f"an SR network expected, found one for {descriptor.purpose}"
    if descriptor.scale not in SCALES:
        return f"scale 2, 3 or 4 expected, found {descriptor.scale}"
    channels = (descriptor.input_channels, descriptor.output_channels)
    return f"3 channels in and out expected, found {channels}" if channels != (3, 3) else None


def described(
    module: nn.Module, like: ImageModelDescriptor[nn.Module], required: SizeRequirements | None = None
) -> ImageModelDescriptor[nn.Module]:
    """`module` with another descriptor's properties, whose own module may be of other settings.

    Args:
        required: in place of its size requirements.
    """
    return ImageModelDescriptor(
        module,
        module.state_dict(),
        like.architecture,
        like.purpose,
        like.tags,
        supports_half=like.supports_half,
        supports_bfloat16=like.supports_bfloat16,
        scale=like.scale,
        input_channels=like.input_channels,
        output_channels=like.output_channels,
        size_requirements=required or like.size_requirements,
        tiling=like.tiling,
        call_fn=like._call_fn,
    )


def _pad(image_NCHW: Tensor, right: int, below: int) -> Tensor:
    """A copy, padded: mirrored as far as that goes, then the border repeated (as spandrel's descriptor does)."""
    if not right and not below:
        return image_NCHW.clone()  # some networks (RCAN) overwrite their input
    height, width = image_NCHW.shape[-2:]
    mirrored_right, mirrored_below = min(right, width - 1), min(below, height - 1)
    mirrored = pad(image_NCHW, (0, mirrored_right, 0, mirrored_below), mode="reflect")
    return pad(mirrored, (0, right - mirrored_right, 0, below - mirrored_below), mode="replicate")
