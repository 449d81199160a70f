"""RCAN weights that spandrel does not know: BasicSR's key names, and images in [0,1] instead of [0,255].

Structure: Zhang et al., "Image Super-Resolution Using Very Deep Residual Channel Attention Networks", ECCV 2018. The
official names (`head`, `body`, `tail`, `sub_mean`, `add_mean`), which spandrel's RCAN has, hold the mean colour in two
layers; BasicSR's RCAN has it as a constant. Values of 0…255 are the rule; neosr's RCAN goes without them.
"""

from collections.abc import Mapping

import torch
from spandrel import (  # type: ignore[import-untyped]
    MAIN_REGISTRY,
    ArchId,
    Architecture,
    ArchSupport,
    ImageModelDescriptor,
    StateDict,
)
from spandrel.architectures.RCAN import RCAN, RCANArch  # type: ignore[import-untyped]
from spandrel.util import KeyCondition, get_seq_len  # type: ignore[import-untyped]
from torch import Tensor

from dukd_cache.networks.edsr import RGB_MEAN
from dukd_cache.networks.network import described

_RANGE = 255


class RCANOfOthers(Architecture[RCAN]):  # type: ignore[misc]
    """Detects and loads RCAN where spandrel's own detection would not, or would take its values for 0…255."""

    def __init__(self) -> None:
        self._basicsr = KeyCondition.has_all(
            "conv_first.weight",
            "body.0.residual_group.0.rcab.0.weight",
            "body.0.residual_group.0.rcab.3.attention.1.weight",
            "body.0.conv.weight",
            "conv_after_body.weight",
            "conv_last.weight",
        )
        super().__init__(id="RCAN-of-others", detect=self._detects)

    def load(self, state_dict: StateDict) -> ImageModelDescriptor[RCAN]:
        """The network that holds `state_dict`, which stays as it is."""
        if self._basicsr(state_dict):
            return RCANArch().load(_rename_basicsr(state_dict))
        descriptor = RCANArch().load(state_dict)
        model = RCAN(**descriptor.model.hyperparameters | {"rgb_range": 1})
        model.load_state_dict(descriptor.model.state_dict())
        return described(model, descriptor)

    def _detects(self, state_dict: StateDict) -> bool:
        official = RCANArch().detect(state_dict) and "sub_mean.bias" in state_dict
        return self._basicsr(state_dict) or (official and bool(state_dict["sub_mean.bias"].abs().max() <= 1))


def _rename_basicsr(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """BasicSR's names to the official ones, with the mean layers."""
    groups, blocks = get_seq_len(state_dict, "body"), get_seq_len(state_dict, "body.0.residual_group")
    renamed = {}
    for key, tensor in state_dict.items():
        name, _, kind = key.rpartition(".")
        match name.split("."):
            case ["conv_first"]:
                name = "head.0"
            case ["body", group, "residual_group", block, "rcab", layer]:
                name = f"body.{group}.body.{block}.body.{layer}"
            case ["body", group, "residual_group", block, "rcab", "3", "attention", layer]:
                name = f"body.{group}.body.{block}.body.3.conv_du.{int(layer) - 1}"  # the pooling counts in BasicSR
            case ["body", group, "conv"]:
                name = f"body.{group}.body.{blocks}"
            case ["conv_after_body"]:
                name = f"body.{groups}"
            case ["upsample", stage]:
                name = f"tail.0.{stage}"
            case ["conv_last"]:
                name = "tail.1"
        renamed[f"{name}.{kind}"] = tensor
    for layer, sign in (("sub_mean", -1), ("add_mean", 1)):
        renamed[f"{layer}.weight"] = torch.eye(3).view(3, 3, 1, 1)
        renamed[f"{layer}.bias"] = sign * _RANGE * torch.tensor(RGB_MEAN)
    return renamed


def basicsr_names(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The official names to BasicSR's, which has the mean colour as a constant."""
    renamed = {}
    for key, tensor in state_dict.items():
        name, _, kind = key.rpartition(".")
        match name.split("."):
            case ["sub_mean" | "add_mean"]:
                continue
            case ["head", "0"]:
                name = "conv_first"
            case ["body", group, "body", block, "body", layer]:
                name = f"body.{group}.residual_group.{block}.rcab.{layer}"
            case ["body", group, "body", block, "body", "3", "conv_du", layer]:
                name = f"body.{group}.residual_group.{block}.rcab.3.attention.{int(layer) + 1}"
            case ["body", group, "body", _]:
                name = f"body.{group}.conv"
            case ["body", _]:
                name = "conv_after_body"
            case ["tail", "0", stage]:
                name = f"upsample.{stage}"
            case ["tail", "1"]:
                name = "conv_last"
        renamed[f"{name}.{kind}"] = tensor
    return renamed


def register() -> None:
    """Let spandrel detect and load these weights, before its own RCAN. Repeatable."""
    MAIN_REGISTRY.add(ArchSupport.from_architecture(RCANOfOthers(), before=(ArchId("RCAN"),)), ignore_duplicates=True)
