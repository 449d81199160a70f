"""Weights files as the programs of the field write them."""

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dukd_cache import networks
from dukd_cache.errors import WeightsError

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def network() -> networks.Network:
    torch.manual_seed(0)
    return networks.build("EDSR", 2, {"channels": 8, "blocks": 2})


def prefixed(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def other(state: State) -> State:
    return {name: tensor + 1 for name, tensor in state.items()}


LIGHTNING = {
    "epoch": 3,
    "global_step": 100,
    "pytorch-lightning_version": "2.5.0",
    "hyper_parameters": {"lr": 1e-4},
    "lr_schedulers": [{"milestones": Counter([3, 4]), "_last_lr": [1e-4]}],
    "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(3.0)}},
}

LAYOUTS: dict[str, Callable[[State], object]] = {
    "plain": lambda state: state,
    "BasicSR": lambda state: {"params": state},
    "BasicSR with averaged weights": lambda state: {"params": other(state), "params_ema": state},
    "several GPUs": lambda state: {"params_ema": prefixed("module.", state)},
    "compiled": lambda state: prefixed("_orig_mod.", state),
    "compiled on several GPUs": lambda state: {"params": prefixed("module._orig_mod.", state)},
    "Lightning": lambda state: LIGHTNING | {"state_dict": prefixed("model.", state)},
    "Lightning with a loss": lambda state: (
        LIGHTNING | {"state_dict": prefixed("net_g.", state) | {"loss.vgg.weight": torch.zeros(3)}}
    ),
    "Lightning, compiled": lambda state: LIGHTNING | {"state_dict": prefixed("net._orig_mod.", state)},
    "parameters": lambda state: {name: nn.Parameter(tensor) for name, tensor in state.items()},
}


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_wrapping_comes_off(layout: str, suffix: str, network: networks.Network, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    torch.save(LAYOUTS[layout](dict(network.module.state_dict())), path)
    assert networks.fingerprint(networks.load(path)) == networks.fingerprint(network)


@pytest.mark.parametrize("prefix", ["", "params.", "params_ema.", "module.", "model."])
def test_safetensors_of_others(prefix: str, network: networks.Network, tmp_path: Path) -> None:
    state = dict(network.module.state_dict())
    content = prefixed(prefix, state) | (prefixed("params.", other(state)) if prefix == "params_ema." else {})
    save_file(content, tmp_path / "net.safetensors", metadata={"format": "pt"})
    loaded = networks.load(tmp_path / "net.safetensors")
    assert networks.fingerprint(loaded) == networks.fingerprint(network)
    assert loaded.metadata == {"format": "pt"}


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript(network: networks.Network, tmp_path: Path) -> None:
    traced = torch.jit.trace(network.module, torch.rand(1, 3, 8, 8))  # type: ignore[no-untyped-call]
    torch.jit.save(traced, tmp_path / "net.pt")  # type: ignore[no-untyped-call]
    assert networks.fingerprint(networks.load(tmp_path / "net.pt")) == networks.fingerprint(network)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (lambda network: {"state_dict": network.module.state_dict(), "hyper_parameters": argparse.Namespace(lr=1)},
         "argparse.Namespace"),
        (lambda network: {"params": network.module.state_dict(), "path": Path("x")}, "pathlib.PosixPath"),
        (lambda network: network.module, "dukd_cache.edsr.EDSR"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_more_than_tensors_is_refused_by_name(
    content: Callable[[networks.Network], object], found: str, suffix: str, network: networks.Network, tmp_path: Path
) -> None:
    path = tmp_path / f"net{suffix}"
    torch.save(content(network), path)
    with pytest.raises(WeightsError) as caught:
        networks.load(path)
    message = "only tensors and plain values are read: save the network's state_dict alone"
    assert str(caught.value) == f"{path}: it holds {found}, and {message}"


SWINIR = {"embed_dim": 12, "depths": [2, 2], "num_heads": [2, 2], "window_size": 8, "img_size": 16, "mlp_ratio": 2.0}


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    "settings",
    [
        {"upsampler": "pixelshuffledirect", "resi_connection": "1conv"},
        {"upsampler": "pixelshuffle", "resi_connection": "1conv"},
        {"upsampler": "pixelshuffle", "resi_connection": "3conv"},
    ],
    ids=["light", "classical", "large"],
)
def test_swinir_as_its_authors_save_it(settings: dict[str, Any], scale: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    swinir = networks.build("SwinIR", scale, SWINIR | settings)
    torch.save({"params": swinir.module.state_dict()}, tmp_path / "swinir.pth")
    loaded = networks.load(tmp_path / "swinir.pth")
    image = torch.rand(1, 3, 16, 24)
    assert (loaded.architecture, loaded.scale) == ("SwinIR", scale)
    assert settings.items() <= loaded.settings.items()
    torch.testing.assert_close(loaded(image), swinir(image))


PLAIN_SPANDREL = """
import sys
from pathlib import Path
from safetensors.torch import load_file, save_file
from spandrel import ModelLoader
for folder in map(Path, sys.argv[1:]):
    network = ModelLoader().load_from_file(folder / "student.safetensors").eval()
    image = load_file(folder / "image.safetensors")["image"]
    save_file({"answer": network(image)}, folder / "answer.safetensors")
    print(network.architecture.name, network.scale)
assert not [name for name in sys.modules if name.startswith("dukd")]
"""

STUDENTS = {
    "RCAN": (3, {"n_resgroups": 2, "n_resblocks": 1, "n_feats": 16, "reduction": 4}),
    "SwinIR": (2, SWINIR | {"upsampler": "pixelshuffledirect"}),
    "SPAN": (4, {"feature_channels": 8}),
}


def test_software_without_dukd_reads_what_we_save(tmp_path: Path) -> None:
    image = torch.rand(1, 3, 16, 16)
    expected = {}
    for name, (scale, settings) in STUDENTS.items():
        torch.manual_seed(0)
        student = networks.build(name, scale, settings)
        (tmp_path / name).mkdir()
        networks.save(student, tmp_path / name / "student.safetensors", {"method": "dukd"})
        save_file({"image": image}, tmp_path / name / "image.safetensors")
        expected[name] = student(image)
    command = [sys.executable, "-c", PLAIN_SPANDREL, *(str(tmp_path / name) for name in STUDENTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{name} {scale}" for name, (scale, _) in STUDENTS.items()]
    for name, answer in expected.items():
        torch.testing.assert_close(load_file(tmp_path / name / "answer.safetensors")["answer"], answer)
