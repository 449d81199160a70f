"""LPIPS and DISTS, as torchmetrics computes them. Smaller is better; 0 for equal images.

Both compare features of ImageNet classifiers, whose weights torch looks for in its hub folder and downloads where it
can. The metrics' own weights come with torchmetrics.

Sources: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018 (version
0.1 on AlexNet, as most tables have it); Ding et al., "Image Quality Assessment: Unifying Structure and Texture
Similarity", TPAMI 2022 (VGG16).
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import SettingError
from dukd_cache.system.extras import needs
from dukd_train.scoring.metrics import inner_pair

LearnedName = Literal["lpips", "dists"]


class _Learned(NamedTuple):
    backbone: str
    """Name of the weights file in torch's hub folder."""
    smallest: int
    """Side of the smallest image that the backbone can look at."""


_LEARNED: dict[str, _Learned] = {
    "lpips": _Learned("alexnet-owt-7be5be79.pth", 31),
    "dists": _Learned("vgg16-397923af.pth", 1),
}


def load(name: LearnedName, device: torch.device | str) -> Callable[[U8, U8, int], float]:
    """The metric as a function of (image, truth, border), both images u8 [H,W,3]; it computes on `device`.

    `border` pixels along each side are left out, as for the other metrics. The function raises ImageError
    where the sizes differ or too little is left.

    Raises:
        SettingError: torchmetrics or the backbone's weights are missing.
    """
    network, smallest = _network(name).to(device), _LEARNED[name].smallest

    def measure(image: U8, truth: U8, border: int) -> float:
        pair = [_tensor(inner).to(device) for inner in inner_pair(image, truth, border, smallest)]
        with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            return float(network(*pair))

    return measure


@cache
def lpips_network(device: torch.device) -> nn.Module:
    """What LPIPS makes of two batches float32 [N,3,H,W] around [0,1], with gradients; called with `normalize=True`.

    Raises:
        SettingError: torchmetrics or the backbone's weights are missing.
    """
    network: nn.Module = _network("lpips").to(device).net  # type: ignore[assignment]
    return network


def weights_folder() -> Path:
    """Where torch looks for the backbones; the environment variable TORCH_HOME moves it."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def _network(name: LearnedName) -> nn.Module:
    """The metric on a pair of images float32 [1,3,H,W] in [0,1]."""
    file = weights_folder() / _LEARNED[name].backbone
    try:
        from torchmetrics.functional.image.dists import DISTSNetwork
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
    except ModuleNotFoundError as error:
        raise SettingError(needs("torchmetrics"), f"metric {name}") from error
    try:
        with torch.random.fork_rng(devices=[]):  # it is initialised randomly before it gets its tensors
            if name == "lpips":
                return LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True)
            return DISTSNetwork()  # torchmetrics' own metric would read its weights again for every image
    except Exception as error:  # no network, no permission, a damaged file: each fails in a way of its own
        problem = "damaged" if file.is_file() else "missing and cannot be downloaded"
        raise SettingError(
            f"{file.name} is {problem} ({' '.join(str(error).split())[:120]}); "
            f"torch looks for it in {file.parent} (TORCH_HOME moves that)",
            f"metric {name}",
        ) from error


def _tensor(image: U8) -> Tensor:
    return torch.tensor(image).permute(2, 0, 1)[None].float() / 255.0
