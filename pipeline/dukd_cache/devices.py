"""Which device to compute on."""

import torch

from dukd_cache.errors import SettingError


def choose_device(name: str) -> torch.device:
    """`cpu`, `cuda`, or `auto`: the GPU where there is one.

    Raises:
        SettingError: `cuda` was asked for and there is none, or the name is another.
    """
    available = torch.cuda.is_available()
    if name not in ("auto", "cpu", "cuda"):
        raise SettingError(f"device {name!r}: expected auto, cpu or cuda")
    if name == "cuda" and not available:
        raise SettingError("device cuda: torch finds no GPU here (use auto or cpu)")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
