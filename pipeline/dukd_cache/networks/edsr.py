"""EDSR, which spandrel lacks, and its entry in spandrel's registry.

Structure: Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR workshops
2017, figures 2 and 3. Key names: those of BasicSR's EDSR; weights in the official layout (`head`, `body`,
`tail`) are renamed to them.

Shapes: N images, C channels, H×W input sides, s scale.
"""

from collections.abc import Mapping
from typing import Any

import torch
from spandrel import (  # type: ignore[import-untyped]
    MAIN_REGISTRY,
    Architecture,
    ArchSupport,
    ImageModelDescriptor,
    StateDict,
)
from spandrel.util import (  # type: ignore[import-untyped]
    KeyCondition,
    get_pixelshuffle_params,
    get_seq_len,
    store_hyperparameters,
)
from torch import Tensor, nn

from dukd_cache.system.errors import WeightsError

RGB_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean colour of DIV2K's training images in [0,1]; R, G, B."""

_STAGES = {2: (2,), 3: (3,), 4: (2, 2)}
"""Factors of the pixel-shuffle stages by scale."""

_EDSR_L_CHANNELS = 256
"""From this width on, the paper scales the residuals by 0.1 (section 3.3)."""


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, times `res_scale`, plus the input; no batch normalisation."""

    def __init__(self, channels: int, res_scale: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.res_scale = res_scale

    def forward(self, features_NCHW: Tensor) -> Tensor:
        residual_NCHW: Tensor = self.conv2(torch.relu(self.conv1(features_NCHW)))
        return features_NCHW + self.res_scale * residual_NCHW


@store_hyperparameters()
class EDSR(nn.Module):
    """EDSR of any width and depth, randomly initialised (PyTorch's default for convolutions).

    The paper's baseline has 64 channels and 16 blocks; its large network 256 channels, 32 blocks and
    `res_scale` 0.1.

    Args:
        scale: 2, 3 or 4.
        channels: width of all hidden layers.
        blocks: number of residual blocks.
        res_scale: factor on each block's residual.
        img_range: the network computes on (image − mean) · `img_range`; 255 in the official code and BasicSR.

    Raises:
        ValueError: a scale other than 2, 3 and 4, or a number that is not positive.
    """

    hyperparameters: dict[str, Any] = {}  # noqa: RUF012  (set per instance by the decorator)
    rgb_mean: Tensor

    def __init__(
        self,
        *,
        scale: int = 4,
        channels: int = 64,
        blocks: int = 16,
        res_scale: float = 1.0,
        img_range: float = 255.0,
    ) -> None:
        super().__init__()
        if scale not in _STAGES:
            raise ValueError(f"scale must be 2, 3 or 4, got {scale}")
        if channels < 1 or blocks < 1:
            raise ValueError(f"channels and blocks must be positive, got {channels} and {blocks}")
        if not img_range > 0:
            raise ValueError(f"img_range must be positive, got {img_range}")
        self.img_range = img_range
        self.register_buffer("rgb_mean", torch.tensor(RGB_MEAN).view(3, 1, 1), persistent=False)
        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(channels, res_scale) for _ in range(blocks)))
        self.conv_after_body = nn.Conv2d(channels, channels, 3, padding=1)
        stages: list[nn.Module] = []
        for factor in _STAGES[scale]:
            stages += [nn.Conv2d(channels, factor**2 * channels, 3, padding=1), nn.PixelShuffle(factor)]
        self.upsample = nn.Sequential(*stages)
        self.conv_last = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """[N,3,H,W] in [0,1] to [N,3,sH,sW], not clamped."""
        shallow_NCHW = self.conv_first((image_NCHW - self.rgb_mean) * self.img_range)
        deep_NCHW = shallow_NCHW + self.conv_after_body(self.body(shallow_NCHW))
        output_NCHW: Tensor = self.conv_last(self.upsample(deep_NCHW))
        return output_NCHW / self.img_range + self.rgb_mean


class EDSRArch(Architecture[EDSR]):  # type: ignore[misc]
    """Detects and loads EDSR weights in BasicSR's and in the official layout.

    What keys cannot tell is taken to be the paper's: `res_scale` is 0.1 from 256 channels on, else 1.
    """

    def __init__(self) -> None:
        super().__init__(
            id="EDSR",
            detect=KeyCondition.has_any(
                KeyCondition.has_all(
                    "conv_first.weight",
                    "body.0.conv1.weight",
                    "body.0.conv2.weight",
                    "conv_after_body.weight",
                    "upsample.0.weight",
                    "conv_last.weight",
                ),
                # RCAN's official keys begin alike, but have a deeper body: body.0.body.0.body.0.weight
                KeyCondition.has_all(
                    "head.0.weight",
                    "body.0.body.0.weight",
                    "body.0.body.2.weight",
                    "tail.0.0.weight",
                    "tail.1.weight",
                ),
            ),
        )

    def load(self, state_dict: StateDict) -> ImageModelDescriptor[EDSR]:
        """The network that holds `state_dict`, which stays as it is.

        Raises:
            WeightsError: not RGB, another mean colour than the usual one, or an unknown scale.
        """
        img_range = 255.0
        if "head.0.weight" in state_dict:
            img_range = _official_range(state_dict)
            state_dict = _rename_official(state_dict)
        # TorchScript writes out what modules keep for themselves.
        state_dict = {name: tensor for name, tensor in state_dict.items() if name != "rgb_mean"}
        scale, channels = get_pixelshuffle_params(state_dict, "upsample")
        input_channels = state_dict["conv_first.weight"].shape[1]
        output_channels = state_dict["conv_last.weight"].shape[0]
        if (input_channels, output_channels) != (3, 3):
            raise WeightsError(f"EDSR maps 3 channels to 3, found {input_channels} to {output_channels}")
        if scale not in _STAGES:
            raise WeightsError(f"EDSR has scale 2, 3 or 4, found {scale}")
        blocks = get_seq_len(state_dict, "body")
        model = EDSR(
            scale=scale,
            channels=channels,
            blocks=blocks,
            res_scale=0.1 if channels >= _EDSR_L_CHANNELS else 1.0,
            img_range=img_range,
        )
        return ImageModelDescriptor(
            model,
            state_dict,
            architecture=self,
            purpose="SR",
            tags=[f"{channels}nf", f"{blocks}nb"],
            supports_half=False,  # with values up to 255 times a gain, float16 may overflow
            supports_bfloat16=True,
            scale=scale,
            input_channels=input_channels,
            output_channels=output_channels,
        )


def _rename_official(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Official names to BasicSR's; the mean layers are dropped, the module has them as a constant."""
    blocks = get_seq_len(state_dict, "body") - 1
    renamed = {}
    for key, tensor in state_dict.items():
        name, _, kind = key.rpartition(".")
        match name.split("."):
            case ["sub_mean" | "add_mean"]:
                continue
            case ["head", "0"]:
                name = "conv_first"
            case ["body", index, "body", "0"]:
                name = f"body.{index}.conv1"
            case ["body", index, "body", "2"]:
                name = f"body.{index}.conv2"
            case ["body", index] if int(index) == blocks:
                name = "conv_after_body"
            case ["tail", "0", stage]:
                name = f"upsample.{stage}"
            case ["tail", "1"]:
                name = "conv_last"
        renamed[f"{name}.{kind}"] = tensor
    return renamed


def _official_range(state_dict: Mapping[str, Tensor]) -> float:
    """The value range of the mean layers, which subtract and add range · mean; 255 where there are none."""
    ranges = []
    for layer, sign in (("sub_mean", -1), ("add_mean", 1)):
        if f"{layer}.bias" not in state_dict:
            continue
        weight, bias = state_dict[f"{layer}.weight"].double(), state_dict[f"{layer}.bias"].double()
        if weight.shape != (3, 3, 1, 1) or not torch.allclose(weight[..., 0, 0], torch.eye(3).to(weight)):
            raise WeightsError(f"{layer}.weight must be the identity, found another colour transform")
        range_C = sign * bias / torch.tensor(RGB_MEAN).to(bias)
        if not (range_C[0] > 0 and torch.allclose(range_C, range_C[0], rtol=1e-3)):
            found = ", ".join(f"{value:.4g}" for value in bias.tolist())
            raise WeightsError(f"{layer}.bias must be a multiple of the mean {RGB_MEAN}, found ({found})")
        ranges.append(round(float(range_C[0]), 2))
    if len(set(ranges)) > 1:
        raise WeightsError(f"sub_mean and add_mean differ in value range: {ranges[0]} and {ranges[1]}")
    return ranges[0] if ranges else 255.0


def register() -> None:
    """Let spandrel detect and load EDSR; asked last, so every other detection stays as it was. Repeatable."""
    MAIN_REGISTRY.add(ArchSupport.from_architecture(EDSRArch()), ignore_duplicates=True)
