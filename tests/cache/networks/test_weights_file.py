"""Weights files as the programs of the field write them."""

import argparse
import io
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dukd_cache import networks
from dukd_cache.build import teacher
from dukd_cache.system.errors import WeightsError

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def network() -> networks.Network:
    torch.manual_seed(0)
    return networks.build("EDSR", 2, {"channels": 8, "blocks": 2})


def prefixed(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def _fsdp(name: str) -> str:
    """As FSDP names it, with checkpointed activations, where each block is wrapped on its own."""
    inner = re.sub(r"^(body\.\d+\.)", r"\1_fsdp_wrapped_module._checkpoint_wrapped_module.", name)
    return f"_fsdp_wrapped_module.{inner}"


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
    "beside a discriminator": lambda state: {"generator": state, "discriminator": {"conv0.weight": torch.zeros(3)}},
    "beside a discriminator, by BasicSR's names": lambda state: {"net_d": {"c.weight": torch.zeros(3)}, "net_g": state},
    "beside an epoch": lambda state: {"weights": state, "epoch": 3},
    "deep": lambda state: {"checkpoint": {"nets": {"sr": {"state_dict": prefixed("net.", state)}}}},
    "a name of its own": lambda state: prefixed("my_network.", state),
    "FSDP": lambda state: {"model": {_fsdp(name): tensor for name, tensor in state.items()}},
    "DeepSpeed": lambda state: {"module": prefixed("module.", state), "ds_version": "0.16", "optimizer": None},
    "Lightning with DeepSpeed": lambda state: {"state_dict": prefixed("_forward_module.model.", state)},
    "averages alone": lambda state: prefixed("ema_model.module.", state) | {"ema_model.n_averaged": torch.tensor(3)},
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
    taken = {"taken": "params_ema"} if prefix == "params_ema." else {}
    assert loaded.metadata == {"format": "pt"} | taken


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
        (lambda network: network.module, "dukd_cache.networks.edsr.EDSR"),
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


AVERAGED: dict[str, tuple[str, Callable[[State], object]]] = {
    "BasicSR": ("params_ema", lambda state: {"params": other(state), "params_ema": state}),
    "a dash": ("params-ema", lambda state: {"params": other(state), "params-ema": state}),
    "model_ema": ("model_ema", lambda state: {"model": other(state), "model_ema": state, "epoch": 3}),
    "timm": ("state_dict_ema", lambda state: {"state_dict": other(state), "state_dict_ema": state}),
    "several networks": (
        "net_g_ema",
        lambda state: {"net_g": other(state), "net_d": {"conv0.weight": torch.zeros(3)}, "net_g_ema": state},
    ),
    "mmagic": (
        "state_dict.generator_ema",
        lambda state: {
            "meta": {"epoch": 1},
            "state_dict": prefixed("generator.", other(state))
            | prefixed("generator_ema.", state)
            | {"discriminator.conv0.weight": torch.zeros(3), "step_counter": torch.tensor(1)},
        },
    ),
    "mmengine puts the averages in place": (
        "state_dict.generator",
        lambda state: {
            "message_hub": {},
            "state_dict": prefixed("generator.", state),
            "ema_state_dict": {"steps": torch.tensor(5)} | prefixed("module.generator.", other(state)),
        },
    ),
    "Lightning puts the averages in place": (
        "state_dict.model",
        lambda state: (
            LIGHTNING
            | {
                "state_dict": prefixed("model.", state),
                "current_model_state": prefixed("model.", other(state)),
                "averaging_state": {"n_averaged": torch.tensor(5)},
            }
        ),
    ),
    "Lightning with torch's averages": (
        "state_dict.ema_model.module",
        lambda state: (
            LIGHTNING
            | {
                "state_dict": prefixed("model.", other(state))
                | prefixed("ema_model.module.", state)
                | {"ema_model.n_averaged": torch.tensor(5)},
            }
        ),
    ),
    "ema-pytorch": (
        "ema.ema_model",
        lambda state: {
            "model": other(state),
            "ema": prefixed("online_model.", other(state))
            | prefixed("ema_model.", state)
            | {"initted": torch.tensor(True), "step": torch.tensor(9)},
        },
    ),
}


@pytest.mark.parametrize("layout", AVERAGED)
def test_averages_are_taken_before_raw_weights_and_that_is_said_once(
    layout: str, network: networks.Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.pth"
    place, wrapped = AVERAGED[layout]
    torch.save(wrapped(dict(network.module.state_dict())), path)
    loaded = [networks.load(path), networks.load(path)][1]
    assert networks.fingerprint(loaded) == networks.fingerprint(network)
    assert loaded.metadata == {"taken": place}
    line = f"{path}: holds raw and averaged weights; took the averaged ones, {place}\n"
    assert capsys.readouterr() == ("", line)
    networks.save(loaded, tmp_path / "again.safetensors", loaded.metadata)
    assert networks.load(tmp_path / "again.safetensors").metadata == {}


def test_the_manifest_says_which_weights_of_the_file_are_the_teachers(
    network: networks.Network, tmp_path: Path
) -> None:
    state = dict(network.module.state_dict())
    torch.save({"params": other(state), "params_ema": state}, tmp_path / "net.pth")
    asked = teacher.load(tmp_path / "net.pth", torch.device("cpu"), "fp32")
    assert asked.info.file == "net.pth (params_ema)"


def test_several_networks_are_named(network: networks.Network, tmp_path: Path) -> None:
    state = dict(network.module.state_dict())
    torch.save({"teacher": state, "students": {"a": other(state)}}, tmp_path / "net.pth")
    with pytest.raises(WeightsError) as caught:
        networks.load(tmp_path / "net.pth")
    assert str(caught.value) == (
        f"{tmp_path / 'net.pth'}: holds several networks, teacher (EDSR), students.a (EDSR): "
        "save the one that is meant in a file of its own"
    )
    torch.save({"model": state, "best": dict(state)}, tmp_path / "net.pth")  # one network, twice
    assert networks.fingerprint(networks.load(tmp_path / "net.pth")) == networks.fingerprint(network)


def test_what_is_there_is_named_where_no_network_is(tmp_path: Path) -> None:
    content = {"epoch": 3, "optimizer": {"state": {}}, "conv.weight": torch.zeros(1), "conv.bias": torch.zeros(1)}
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"nor EDSR: it holds epoch, optimizer \(state, …\), conv\.…$"):
        networks.load(tmp_path / "net.pth")


def test_a_file_that_holds_itself(tmp_path: Path) -> None:
    content: dict[str, Any] = {"a": torch.zeros(1)}
    content["itself"] = content
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="fit no architecture"):
        networks.load(tmp_path / "net.pth")


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_numpys_numbers_beside_the_weights(module: str, network: networks.Network, tmp_path: Path) -> None:
    numbers = {"loss": np.float64(0.5), "best": np.float32(31.2), "epoch": np.int64(7), "done": np.bool_(True)}
    legacy = io.BytesIO()
    torch.save({"params": network.module.state_dict(), **numbers}, legacy, _use_new_zipfile_serialization=False)
    written = np.float64(0).__reduce__()[0].__module__
    (tmp_path / "net.pth").write_bytes(legacy.getvalue().replace(f"c{written}\n".encode(), f"c{module}\n".encode()))
    assert networks.fingerprint(networks.load(tmp_path / "net.pth")) == networks.fingerprint(network)


@pytest.mark.parametrize("name", ["net.pth", "net.bin", "net", "net.pth.tar", "net.safetensors"])
@pytest.mark.parametrize("container", ["safetensors", "zip", "legacy"])
def test_names_do_not_matter(name: str, container: str, network: networks.Network, tmp_path: Path) -> None:
    path, state = tmp_path / name, dict(network.module.state_dict())
    if container == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=container == "zip")
    assert networks.fingerprint(networks.load(path)) == networks.fingerprint(network)


def test_a_run_folder_stands_for_its_student(network: networks.Network, tmp_path: Path) -> None:
    networks.save(network, tmp_path / "student.safetensors", {})
    assert networks.fingerprint(networks.load(tmp_path)) == networks.fingerprint(network)
    assert networks.file_at(tmp_path) == tmp_path / "student.safetensors"


@pytest.mark.parametrize(
    ("files", "what"),
    [
        (["checkpoint-000150.pt", "student.safetensors"], "a training that has not ended: its student.safetensors is"),
        (["checkpoint-000150.pt"], "a training that has not ended: its student.safetensors is written at the end"),
        ([".metadata", "__0_0.distcp"], "a distributed checkpoint (FSDP): `python -m torch.distributed.checkpoint"),
        (["zero_to_fp32.py", "latest"], "a DeepSpeed checkpoint: `python "),
        (["net.onnx"], "a folder, not a weights file, and without a student.safetensors in it"),
    ],
)
def test_folders_are_said_to_be_what_they_are(files: list[str], what: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(WeightsError) as caught:
        networks.load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: {what}")


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
