"""RCAN of every layout against a forward pass written from its key names."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from spandrel import MAIN_REGISTRY  # type: ignore[import-untyped]
from torch import Tensor

from dukd_cache import networks

State = dict[str, Tensor]

MEAN = torch.tensor([0.4488, 0.4371, 0.4040])
STAGES = {2: (2,), 3: (3,), 4: (2, 2)}

OFFICIAL = {
    "first": "head.0",
    "conv1": "body.{g}.body.{b}.body.0",
    "conv2": "body.{g}.body.{b}.body.2",
    "squeeze": "body.{g}.body.{b}.body.3.conv_du.0",
    "excite": "body.{g}.body.{b}.body.3.conv_du.2",
    "group": "body.{g}.body.{blocks}",
    "after": "body.{groups}",
    "up": "tail.0.{stage}",
    "last": "tail.1",
}
BASICSR = {
    "first": "conv_first",
    "conv1": "body.{g}.residual_group.{b}.rcab.0",
    "conv2": "body.{g}.residual_group.{b}.rcab.2",
    "squeeze": "body.{g}.residual_group.{b}.rcab.3.attention.1",
    "excite": "body.{g}.residual_group.{b}.rcab.3.attention.3",
    "group": "body.{g}.conv",
    "after": "conv_after_body",
    "up": "upsample.{stage}",
    "last": "conv_last",
}
LAYOUTS = pytest.mark.parametrize("names", [OFFICIAL, BASICSR], ids=["official", "basicsr"])


class Reference:
    """RCAN's tensors under the names of a layout, and its answer by functional calls on them alone."""

    def __init__(
        self, names: dict[str, str], scale: int, groups: int, blocks: int, channels: int, value_range: float = 255
    ) -> None:
        self.names, self.scale, self.groups, self.blocks = names, scale, groups, blocks
        self.value_range = value_range
        self.state: State = {}
        self._random = torch.Generator().manual_seed(scale)
        self._add("first", channels, 3)
        for group in range(groups):
            for block in range(blocks):
                self._add("conv1", channels, channels, g=group, b=block)
                self._add("conv2", channels, channels, g=group, b=block)
                self._add("squeeze", channels // 4, channels, 1, g=group, b=block)
                self._add("excite", channels, channels // 4, 1, g=group, b=block)
            self._add("group", channels, channels, g=group)
        self._add("after", channels, channels)
        for stage, factor in enumerate(STAGES[scale]):
            self._add("up", factor**2 * channels, channels, stage=2 * stage)
        self._add("last", 3, channels)
        if names is OFFICIAL:
            for layer, sign in (("sub_mean", -1), ("add_mean", 1)):
                self.state[f"{layer}.weight"] = torch.eye(3).view(3, 3, 1, 1)
                self.state[f"{layer}.bias"] = sign * value_range * MEAN

    def __call__(self, image: Tensor) -> Tensor:
        mean = self.value_range * MEAN.view(1, 3, 1, 1)
        shallow = features = self._conv("first", self.value_range * image - mean)
        for group in range(self.groups):
            entered = features
            for block in range(self.blocks):
                place = {"g": group, "b": block}
                inner = self._conv("conv2", F.relu(self._conv("conv1", features, **place)), **place)
                pooled = inner.mean(dim=(2, 3), keepdim=True)
                attention = self._conv("excite", F.relu(self._conv("squeeze", pooled, **place)), **place)
                features = features + inner * torch.sigmoid(attention)
            features = self._conv("group", features, g=group) + entered
        features = self._conv("after", features) + shallow
        for stage, factor in enumerate(STAGES[self.scale]):
            features = F.pixel_shuffle(self._conv("up", features, stage=2 * stage), factor)
        return (self._conv("last", features) + mean) / self.value_range

    def _name(self, layer: str, **place: int) -> str:
        return self.names[layer].format(groups=self.groups, blocks=self.blocks, **place)

    def _add(self, layer: str, outputs: int, inputs: int, kernel: int = 3, **place: int) -> None:
        name, spread = self._name(layer, **place), 1 / (inputs * kernel**2) ** 0.5
        self.state[f"{name}.weight"] = spread * torch.randn(outputs, inputs, kernel, kernel, generator=self._random)
        self.state[f"{name}.bias"] = 0.1 * torch.randn(outputs, generator=self._random)

    def _conv(self, layer: str, features: Tensor, **place: int) -> Tensor:
        name = self._name(layer, **place)
        weight = self.state[f"{name}.weight"]
        return F.conv2d(features, weight, self.state[f"{name}.bias"], padding=weight.shape[-1] // 2)


def loaded(state: object, folder: Path) -> networks.Network:
    torch.save(state, folder / "rcan.pth")
    return networks.load(folder / "rcan.pth")


@pytest.fixture
def image() -> Tensor:
    return torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(1))


@LAYOUTS
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("groups", "blocks", "channels"), [(2, 1, 8), (1, 3, 16), (3, 2, 64)])
def test_every_layout_is_its_functional_forward(
    names: dict[str, str], scale: int, groups: int, blocks: int, channels: int, image: Tensor, tmp_path: Path
) -> None:
    reference = Reference(names, scale, groups, blocks, channels)
    network = loaded({"params": reference.state}, tmp_path)
    expected = reference(image)
    assert (network.architecture, network.scale) == ("RCAN", scale)
    assert expected.std() > 0.01  # the reference is not merely the mean
    torch.testing.assert_close(network.forward(image), expected, rtol=1e-4, atol=1e-5)
    assert {"n_resgroups": groups, "n_resblocks": blocks, "n_feats": channels, "reduction": 4, "rgb_range": 255}.items(
    ) <= network.settings.items()  # fmt: skip


def test_the_papers_teacher(image: Tensor, tmp_path: Path) -> None:
    """10 groups of 20 blocks of 64 channels."""
    reference = Reference(OFFICIAL, 4, 10, 20, 64)
    network = loaded({"params_ema": reference.state}, tmp_path)
    torch.testing.assert_close(network.forward(image), reference(image), rtol=1e-3, atol=1e-4)


def test_both_layouts_are_one_network(tmp_path: Path) -> None:
    official, basicsr = Reference(OFFICIAL, 3, 2, 2, 8), Reference(BASICSR, 3, 2, 2, 8)
    assert networks.fingerprint(loaded(official.state, tmp_path)) == networks.fingerprint(
        loaded(basicsr.state, tmp_path)
    )


def test_a_network_on_values_up_to_1(image: Tensor, tmp_path: Path) -> None:
    reference = Reference(OFFICIAL, 2, 2, 1, 8, value_range=1)
    network = loaded(reference.state, tmp_path)
    torch.testing.assert_close(network.forward(image), reference(image), rtol=1e-4, atol=1e-5)
    networks.save(network, tmp_path / "again.safetensors", {})
    assert networks.load(tmp_path / "again.safetensors").settings["rgb_range"] == 1


def test_detection_leaves_other_networks_and_the_state_alone() -> None:
    state = Reference(BASICSR, 2, 1, 1, 8).state
    before = dict(state)
    MAIN_REGISTRY.load(state)
    assert state == before
    others = [support for support in MAIN_REGISTRY.architectures("detection") if support.detect(state)]
    assert [support.architecture.id for support in others] == ["RCAN-of-others"]
    official = Reference(OFFICIAL, 2, 1, 1, 8).state
    assert [support.architecture.id for support in MAIN_REGISTRY if support.detect(official)] == ["RCAN"]
