"""How far a student's answers are from what they are compared with. Loads no torch, as settings are made of this.

Outputs are [N,C,H,W] in [0,1], not clamped; targets u8 in 0…255 or floating point in [0,1]. All is computed in
float32, as half precision would round the loss. All but `lpips` are the same where output and target are flipped,
transposed, inverted (x → 1 − x) or their channels reordered alike: what is measured of augmented records holds for the
plain ones.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

CHARBONNIER_EPSILON = 1e-3
"""Of values in [0,1]; that of LapSRN (Lai et al., CVPR 2017, arXiv 1704.03915)."""

_LEAST_SLOPE = 1e-6
"""Squared, so that √ has a derivative where a picture is flat; that of SPSR's released code."""


def l1(output: "Tensor", target: "Tensor") -> "Tensor":
    """Mean absolute difference."""
    return _difference(output, target).abs().mean()


def mse(output: "Tensor", target: "Tensor") -> "Tensor":
    """Mean squared difference."""
    return _difference(output, target).square().mean()


def charbonnier(output: "Tensor", target: "Tensor") -> "Tensor":
    """Mean of √(d² + ε²): |d| without its corner at 0."""
    return (_difference(output, target).square() + CHARBONNIER_EPSILON**2).sqrt().mean()


def fft(output: "Tensor", target: "Tensor") -> "Tensor":
    """Mean distance, in the complex plane, of the 2-D Fourier transforms of each channel, over all H·W frequencies.

    With amplitudes a, b and phases φ apart it is √((a − b)² + 4·a·b·sin²(φ/2)): a phase counts by its amplitude, none
    where there is nothing. The transform is the plain sum over the pixels, divided by nothing. After MIMO-UNet (Cho et
    al., ICCV 2021, arXiv 2108.05054), whose code adds |Re| and |Im|, which change where a picture is flipped.
    """
    import torch

    distance: Tensor = torch.fft.fft2(_difference(output, target)).abs()
    return distance.mean()


def amplitude(output: "Tensor", target: "Tensor") -> "Tensor":
    """Mean absolute difference of the amplitudes of the 2-D Fourier transforms of each channel, wherever things are.

    The first half of the Fourier space loss of Fuoli et al. (ICCV 2021, arXiv 2106.00783), without its Hann window.
    """
    import torch

    apart: Tensor = torch.fft.fft2(real(output)).abs() - torch.fft.fft2(real(target)).abs()
    return apart.abs().mean()


def gradient(output: "Tensor", target: "Tensor") -> "Tensor":
    """Mean absolute difference of how steep the pictures are: √(gx² + gy²), of differences of the neighbours two apart.

    The gradient loss of SPSR (Ma et al., CVPR 2020, arXiv 2003.13081), over the pixels that have all four neighbours.
    """
    return (_slope(real(output)) - _slope(real(target))).abs().mean()


def lpips(output: "Tensor", target: "Tensor") -> "Tensor":
    """Mean LPIPS (Zhang et al., CVPR 2018, on AlexNet). It looks at pictures as they are given to it.

    Raises:
        SettingError: torchmetrics or AlexNet's weights are missing.
    """
    from dukd_train.scoring.perceptual import lpips_network

    found: Tensor = lpips_network(output.device)(real(output), real(target), normalize=True)
    return found.mean()


def real(image: "Tensor") -> "Tensor":
    """In [0,1] and float32."""
    return image.float() if image.dtype.is_floating_point else image.float().div(255)


def _difference(output: "Tensor", target: "Tensor") -> "Tensor":
    return output.float() - real(target)


def _slope(image: "Tensor") -> "Tensor":
    across = image[..., 1:-1, 2:] - image[..., 1:-1, :-2]
    down = image[..., 2:, 1:-1] - image[..., :-2, 1:-1]
    return (across.square() + down.square() + _LEAST_SLOPE).sqrt()


Measure = Callable[["Tensor", "Tensor"], "Tensor"]

MEASURES: dict[str, Measure] = {
    "l1": l1,
    "mse": mse,
    "charbonnier": charbonnier,
    "fft": fft,
    "amplitude": amplitude,
    "gradient": gradient,
    "lpips": lpips,
}
"""By name: a student's output and its target → a scalar."""

SMALLEST = {"gradient": 3, "lpips": 31, "gan": 8}
"""Sides of the smallest pictures that some of them can look at; others take a pixel."""

OF_PLAIN_PICTURES = ("lpips",)
"""Those that learned from photographs, and say nothing of inverted colours or reordered channels."""
