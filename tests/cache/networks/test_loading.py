"""EDSR against a forward pass written from its key names; files of all kinds; every mistake a user can make."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from spandrel import MAIN_REGISTRY, ModelLoader  # type: ignore[import-untyped]
from spandrel.architectures.NAFNet import NAFNet  # type: ignore[import-untyped]
from spandrel.architectures.RCAN import RCAN  # type: ignore[import-untyped]
from torch import Tensor

from dukd_cache import networks
from dukd_cache.networks.edsr import EDSR, EDSRArch
from dukd_cache.system.errors import SettingError, WeightsError

State = dict[str, Tensor]

MEAN = torch.tensor([0.4488, 0.4371, 0.4040])
SMALL = {"channels": 8, "blocks": 2}
STAGES = {2: (2,), 3: (3,), 4: (2, 2)}
HAT = {"embed_dim": 12, "depths": [1], "num_heads": [2], "squeeze_factor": 4}
SWINIR = {"embed_dim": 12, "depths": [1, 1], "num_heads": [2, 2], "upsampler": "pixelshuffledirect"}

BASICSR = {
    "first": "conv_first",
    "conv1": "body.{}.conv1",
    "conv2": "body.{}.conv2",
    "after": "conv_after_body",
    "up": "upsample.{}",
    "last": "conv_last",
}
OFFICIAL = {
    "first": "head.0",
    "conv1": "body.{}.body.0",
    "conv2": "body.{}.body.2",
    "after": "body.2",
    "up": "tail.0.{}",
    "last": "tail.1",
}


def edsr_state(names: dict[str, str], scale: int, channels: int = 8, blocks: int = 2) -> State:
    """Random tensors under the names of a layout; in the official one the mean layers as well."""
    shapes = {names["first"]: (channels, 3), names["after"]: (channels, channels), names["last"]: (3, channels)}
    for block in range(blocks):
        shapes |= {names[conv].format(block): (channels, channels) for conv in ("conv1", "conv2")}
    for stage, factor in enumerate(STAGES[scale]):
        shapes[names["up"].format(2 * stage)] = (factor**2 * channels, channels)
    generator = torch.Generator().manual_seed(scale)
    state = {}
    for name, (outputs, inputs) in shapes.items():
        spread = 0.15 * (8 / inputs) ** 0.5
        state[f"{name}.weight"] = spread * torch.randn(outputs, inputs, 3, 3, generator=generator)
        state[f"{name}.bias"] = torch.randn(outputs, generator=generator)
    if names["first"] == OFFICIAL["first"]:
        for layer, sign in (("sub_mean", -1), ("add_mean", 1)):
            state |= {f"{layer}.weight": torch.eye(3).view(3, 3, 1, 1), f"{layer}.bias": sign * 255 * MEAN}
    return state


def edsr_reference(
    names: dict[str, str], state: State, scale: int, image: Tensor, res_scale: float = 1.0, blocks: int = 2
) -> Tensor:
    """EDSR's answer by functional calls on the tensors alone."""

    def conv(name: str, features: Tensor) -> Tensor:
        return F.conv2d(features, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)

    mean = 255 * MEAN.view(1, 3, 1, 1)
    shallow = features = conv(names["first"], 255 * image - mean)
    for block in range(blocks):
        inner = F.relu(conv(names["conv1"].format(block), features))
        features = features + res_scale * conv(names["conv2"].format(block), inner)
    features = conv(names["after"], features) + shallow
    for stage, factor in enumerate(STAGES[scale]):
        features = F.pixel_shuffle(conv(names["up"].format(2 * stage), features), factor)
    return (conv(names["last"], features) + mean) / 255


def write(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


@pytest.fixture
def image() -> Tensor:
    return torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(1))


def edsr(scale: int = 2, **settings: object) -> networks.Network:
    torch.manual_seed(0)
    return networks.build("EDSR", scale, SMALL | settings)


# EDSR


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("names", [BASICSR, OFFICIAL], ids=["basicsr", "official"])
def test_edsr_of_either_layout_is_its_functional_forward(
    names: dict[str, str], scale: int, image: Tensor, tmp_path: Path
) -> None:
    state = edsr_state(names, scale)
    network = networks.load(write(tmp_path / "edsr.pth", state))
    expected = edsr_reference(names, state, scale, image)
    assert (network.architecture, network.scale) == ("EDSR", scale)
    assert expected.std() > 0.01  # the reference is not merely the mean
    torch.testing.assert_close(network.forward(image), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network(image), expected.clamp(0, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "blocks", "res_scale"),
    [
        (64, 16, 1.0),
        (256, 4, 0.1),
        pytest.param(256, 32, 0.1, marks=pytest.mark.slow),
    ],
    ids=["baseline", "large but short", "large"],
)
@pytest.mark.parametrize(("scale", "layout"), [(2, "basicsr"), (3, "official"), (4, "official")])
def test_edsr_of_the_papers_sizes(
    layout: str, scale: int, channels: int, blocks: int, res_scale: float, image: Tensor, tmp_path: Path
) -> None:
    names = BASICSR if layout == "basicsr" else OFFICIAL | {"after": f"body.{blocks}"}
    state = edsr_state(names, scale, channels, blocks)
    network = networks.load(write(tmp_path / "edsr.pt", state))
    expected = edsr_reference(names, state, scale, image, res_scale, blocks)
    torch.testing.assert_close(network.forward(image), expected, rtol=1e-3, atol=1e-3 * float(expected.std()))


def test_edsr_applies_res_scale_and_img_range(image: Tensor) -> None:
    network = edsr(2, res_scale=0.3)
    state = network.module.state_dict()
    torch.testing.assert_close(
        network.forward(image), edsr_reference(BASICSR, state, 2, image, res_scale=0.3), rtol=1e-4, atol=1e-5
    )
    other = EDSR(scale=2, img_range=1.0, res_scale=0.3, **SMALL)
    other.load_state_dict(state)
    assert not torch.allclose(other(image), network.forward(image))


@pytest.mark.parametrize(("channels", "res_scale"), [(8, 1.0), (255, 1.0), (256, 0.1)])
def test_res_scale_is_the_papers_where_keys_cannot_tell(channels: int, res_scale: float, tmp_path: Path) -> None:
    state = edsr_state(OFFICIAL | {"after": "body.1"}, 2, channels, blocks=1)
    network = networks.load(write(tmp_path / "edsr.pt", state))
    assert network.settings == {"channels": channels, "blocks": 1, "res_scale": res_scale, "img_range": 255.0}


def test_official_layout_without_mean_layers_and_of_range_1(tmp_path: Path) -> None:
    state = edsr_state(OFFICIAL, 2)
    for layer in ("sub_mean", "add_mean"):
        state[f"{layer}.bias"] /= 255
    assert networks.load(write(tmp_path / "range1.pth", state)).settings["img_range"] == 1.0
    bare = {key: tensor for key, tensor in state.items() if "mean" not in key}
    assert networks.load(write(tmp_path / "bare.pth", bare)).settings["img_range"] == 255.0


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("sub_mean.bias", lambda bias: bias + torch.tensor([0.0, 3.0, 0.0]), "sub_mean.bias must be a multiple"),
        ("add_mean.bias", lambda bias: -bias, "add_mean.bias must be a multiple"),
        ("add_mean.bias", lambda bias: bias / 255, "differ in value range"),
        ("sub_mean.weight", lambda weight: 2 * weight, "sub_mean.weight must be the identity"),
    ],
)
def test_another_mean_than_the_usual_is_refused(
    key: str, change: Callable[[Tensor], Tensor], message: str, tmp_path: Path
) -> None:
    state = edsr_state(OFFICIAL, 2)
    state[key] = change(state[key])
    with pytest.raises(WeightsError, match=message):
        networks.load(write(tmp_path / "edsr.pth", state))


def test_loading_leaves_the_state_dict_as_it_was() -> None:
    state = edsr_state(OFFICIAL, 4)
    before = {key: tensor.clone() for key, tensor in state.items()}
    MAIN_REGISTRY.load(state)
    assert state.keys() == before.keys()
    assert all(torch.equal(state[key], before[key]) for key in before)


def test_edsr_is_asked_last_and_rcan_stays_rcan(image: Tensor, tmp_path: Path) -> None:
    assert MAIN_REGISTRY.architectures("detection")[-1].architecture.id == "EDSR"
    rcan = RCAN(scale=2, n_resgroups=2, n_resblocks=1, n_feats=8, reduction=2)
    assert not EDSRArch().detect(rcan.state_dict())
    network = networks.load(write(tmp_path / "rcan.pth", rcan.state_dict()))
    assert network.architecture == "RCAN"
    torch.testing.assert_close(network.forward(image), rcan(image.clone()))


# weights files


def test_fingerprint_is_of_the_content_alone(tmp_path: Path) -> None:
    state = edsr_state(OFFICIAL, 2)
    save_file(state, tmp_path / "a.safetensors")
    first = networks.fingerprint(networks.load(write(tmp_path / "a.pth", state)))
    assert len(first) == 64
    assert networks.fingerprint(networks.load(tmp_path / "a.safetensors")) == first
    network = networks.load(write(tmp_path / "a.ckpt", {"state_dict": dict(reversed(state.items()))}))
    network(torch.rand(1, 3, 4, 4))
    assert networks.fingerprint(network) == first
    networks.save(network, tmp_path / "ours.safetensors", {"seed": "1"})
    assert networks.fingerprint(networks.load(tmp_path / "ours.safetensors")) == first


def test_fingerprint_changes_with_a_tensor_a_setting_the_scale_and_a_name() -> None:
    network = edsr()
    seen = {networks.fingerprint(network)}
    assert networks.fingerprint(edsr(img_range=255)) in seen  # 255 and 255.0 are one setting
    for setting, value in (("res_scale", 0.3), ("img_range", 1.0)):
        other = edsr(2, **{setting: value})
        other.module.load_state_dict(network.module.state_dict())
        seen.add(networks.fingerprint(other))
    with torch.no_grad():
        network.module.get_parameter("body.1.conv2.bias")[3] += 1e-6
    seen.add(networks.fingerprint(network))
    seen.add(networks.fingerprint(network.with_module(EDSR(scale=2, **SMALL).double())))
    seen.add(networks.fingerprint(edsr(3)))
    assert len(seen) == 6


def test_spans_fingerprint_outlives_the_convolutions_it_merges_at_each_call() -> None:
    network = networks.build("SPAN", 2, {"feature_channels": 8})
    before = networks.fingerprint(network)
    with torch.no_grad():
        for name, parameter in network.module.named_parameters():
            if ".eval_conv." in name:
                parameter.zero_()
    assert networks.fingerprint(network) == before
    with torch.no_grad():
        network.module.get_parameter("conv_1.sk.bias")[0] += 1
    assert networks.fingerprint(network) != before


@pytest.mark.parametrize(
    ("architecture", "scale", "settings"),
    [
        ("EDSR", 3, {**SMALL, "res_scale": 0.3}),
        ("SAFMN", 4, {"dim": 8, "n_blocks": 1}),
        ("SPAN", 2, {"feature_channels": 8}),
        ("SwinIR", 3, {**SWINIR, "img_range": 255.0, "drop_path_rate": 0.9}),
        ("RealPLKSR", 2, {"dim": 8, "n_blocks": 1, "norm_groups": 2}),
    ],
)
def test_saved_networks_come_back_with_settings_that_tensors_do_not_show(
    architecture: str, scale: int, settings: dict[str, Any], image: Tensor, tmp_path: Path
) -> None:
    path = tmp_path / "student.safetensors"
    network = networks.build(architecture, scale, settings)
    networks.save(network, path, {"method": "dukd"})
    loaded = networks.load(path)
    assert (loaded.architecture, loaded.scale, loaded.metadata) == (architecture, scale, {"method": "dukd"})
    assert loaded.settings == network.settings
    assert settings.items() <= loaded.settings.items()
    assert torch.equal(loaded(image), network(image))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(("architecture", "settings"), [("EDSR", SMALL), ("SwinIR", SWINIR), ("SPAN", {})])
def test_plain_spandrel_reads_what_we_save(
    architecture: str, settings: dict[str, Any], image: Tensor, tmp_path: Path
) -> None:
    network = networks.build(architecture, 2, settings)
    networks.save(network, tmp_path / "a.safetensors", {})
    descriptor = ModelLoader().load_from_file(tmp_path / "a.safetensors")
    torch.testing.assert_close(descriptor.eval()(image), network(image))


def test_tensors_that_share_memory_or_are_strided_are_saved(image: Tensor, tmp_path: Path) -> None:
    network = edsr()
    first, second = (network.module.get_submodule(f"body.{block}.conv1") for block in (0, 1))
    second.weight = first.weight
    strided = network.module.get_parameter("conv_after_body.weight")
    strided.data = strided.data.transpose(0, 1)
    networks.save(network, tmp_path / "a.safetensors", {})
    assert torch.equal(networks.load(tmp_path / "a.safetensors")(image), network(image))


def test_loading_draws_no_random_numbers(tmp_path: Path) -> None:
    networks.save(edsr(), tmp_path / "a.safetensors", {})
    path = write(tmp_path / "a.pth", edsr_state(BASICSR, 2))
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    networks.load(path)
    networks.load(tmp_path / "a.safetensors")
    assert torch.equal(torch.rand(1), expected)


def test_released_transformer_takes_inputs_below_its_window(data_dir: Path) -> None:
    teacher = networks.load(data_dir / "teachers" / "DCTLSA_X4.pt")
    assert (teacher.architecture, teacher.scale) == ("DCTLSA", 4)
    assert 0.8e6 < teacher.parameters_count < 1e6
    small = torch.rand(2, 3, 12, 12)
    answer = teacher(small)
    assert answer.shape == (2, 3, 48, 48)
    torch.testing.assert_close(answer[1:], teacher.descriptor(small[1:]))


# what a user can get wrong


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt"])
@pytest.mark.parametrize("container", ["zip", "legacy", "bare"])
def test_pickled_code_does_not_run(container: str, suffix: str, tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / f"evil{suffix}"
    content = {"params": edsr_state(BASICSR, 2), "extra": Evil(marker)}
    if container == "bare":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=container == "zip")
    with pytest.raises(WeightsError):
        networks.load(path)
    assert not marker.exists()
    torch.load(path, weights_only=False) if container != "bare" else pickle.loads(path.read_bytes())
    assert marker.exists()  # the bait works where it is trusted


def with_recipe(path: Path, recipe: object, tensors: State | None = None) -> Path:
    text = recipe if isinstance(recipe, str) else json.dumps(recipe)
    save_file(tensors or edsr_state(BASICSR, 2), path, metadata={"dukd": text})
    return path


RECIPE = {"architecture": "EDSR", "scale": 2, "settings": SMALL}

MISTAKES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda folder: folder / "none.pth", "no such file"),
    "folder": (lambda folder: folder, "a folder, not a weights file, and without a student.safetensors in it"),
    "nothing in it": (lambda folder: write(folder / "a.pth", {}), "fit no architecture .*: it is empty"),
    "empty": (lambda folder: _bytes(folder / "a.pth", b""), "an empty file"),
    "text": (lambda folder: _bytes(folder / "a.safetensors", b"hello, I am no weights"), "not the weights"),
    "text as pt": (lambda folder: _bytes(folder / "a.pt", b"hello, I am no weights"), "not the weights"),
    "truncated pth": (lambda folder: _cut(write(folder / "a.pth", edsr_state(BASICSR, 2))), "cut short or damaged"),
    "truncated safetensors": (lambda folder: _cut(with_recipe(folder / "a.safetensors", RECIPE)),
                              r"safetensors cut short: \d+ of \d+ bytes: fetch it again"),
    "a list": (lambda folder: write(folder / "a.pth", [1, 2]), "holds a list, not tensors by name"),
    "unknown": (lambda folder: write(folder / "a.pth", {"weight": torch.zeros(2)}), "fit no architecture"),
    "restoration": (lambda folder: write(folder / "a.pth", NAFNet(enc_blk_nums=[1], dec_blk_nums=[1]).state_dict()),
                    "scale 2, 3 or 4 expected, found 1"),
    "scale 8": (lambda folder: write(folder / "a.pth", _compact(8, 3)), "scale 2, 3 or 4 expected, found 8"),
    "grey": (lambda folder: write(folder / "a.pth", _compact(2, 1)), r"3 channels in and out .* \(1, 1\)"),
    "grey EDSR": (lambda folder: write(folder / "a.pth", edsr_state(BASICSR, 2) | _grey()), "3 channels to 3, found 1"),
    "missing tensor": (lambda folder: write(folder / "a.pth", _without(edsr_state(BASICSR, 2), "conv_last.bias")),
                       "its names are those of EDSR, but .*conv_last.bias"),
    "bad JSON": (lambda folder: with_recipe(folder / "a.safetensors", "{"), "are damaged"),
    "JSON list": (lambda folder: with_recipe(folder / "a.safetensors", [1]), "are damaged"),
    "no settings": (lambda folder: with_recipe(folder / "a.safetensors", {"architecture": "EDSR", "scale": 2}),
                    "are damaged"),
    "lies of architecture": (lambda folder: with_recipe(folder / "a.safetensors", RECIPE | {"architecture": "EDRS"}),
                             "did you mean 'EDSR'"),
    "lies of settings": (lambda folder: with_recipe(folder / "a.safetensors", RECIPE | {"settings": {"blocks": 3}}),
                         "tensors do not fit"),
    "lies of scale": (lambda folder: with_recipe(folder / "a.safetensors", RECIPE | {"scale": 4}),
                      "tensors do not fit"),
    "scale is text": (lambda folder: with_recipe(folder / "a.safetensors", RECIPE | {"scale": "2"}), "scale must be"),
    "one tensor too many": (lambda folder: with_recipe(folder / "a.safetensors", RECIPE,
                                                       edsr_state(BASICSR, 2) | {"more": torch.zeros(1)}),
                            "tensors do not fit"),
}  # fmt: skip


def _bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _cut(path: Path) -> Path:
    return _bytes(path, path.read_bytes()[:-500])


def _grey() -> State:
    return {"conv_first.weight": torch.zeros(8, 1, 3, 3)}


def _without(state: State, key: str) -> State:
    return {name: tensor for name, tensor in state.items() if name != key}


def _compact(scale: int, channels: int) -> State:
    shapes = {0: (8, channels), 1: (8,), 2: (8, 8), 3: (8,), 4: (channels * scale**2, 8)}
    state = {
        f"body.{n}.weight": torch.zeros(*shape, *([3, 3] if len(shape) > 1 else [])) for n, shape in shapes.items()
    }
    return state | {f"body.{n}.bias": torch.zeros(shapes[n][0]) for n in (0, 2, 4)}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_bad_file_is_one_line_that_names_it(mistake: str, tmp_path: Path) -> None:
    make, message = MISTAKES[mistake]
    path = make(tmp_path)
    with pytest.raises(WeightsError, match=message) as error:
        networks.load(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 500


@pytest.mark.parametrize(
    ("architecture", "scale", "settings", "message"),
    [
        ("EDRS", 2, {}, "unknown architecture 'EDRS': did you mean 'EDSR'"),
        ("NAFNet", 2, {}, "unknown architecture 'NAFNet'"),
        ("EDSR", 5, {}, "scale must be 2, 3 or 4, got 5"),
        ("EDSR", 1, {}, "scale must be 2, 3 or 4, got 1"),
        ("EDSR", 2, {"scale": 2}, "EDSR: 'scale' follows from the scale"),
        ("SAFMN", 2, {"dim": 8, "upscaling_factor": 2}, "SAFMN: 'upscaling_factor' follows from the scale"),
        ("EDSR", 2, {"chanels": 8}, "unknown setting of EDSR 'chanels': did you mean 'channels'"),
        ("EDSR", 2, {"channels": "many"}, "setting .channels. of EDSR: expected a whole number, got .many."),
        ("EDSR", 2, {"blocks": 0}, "EDSR cannot be built with these settings .channels and blocks must be positive"),
        ("SAFMN", 2, {}, "SAFMN: setting 'dim' has no default"),
        ("SwinIR", 2, SWINIR | {"in_chans": 1}, "SwinIR: 3 channels in and out expected"),
        ("SwinIR", 2, SWINIR | {"upsampler": ""}, "SwinIR: scale 2 expected, these settings make 1"),
        ("SwinIR", 2, SWINIR | {"norm_layer": None}, "unknown setting of SwinIR 'norm_layer'"),
        ("ESRGAN", 3, {"num_blocks": 2, "num_filters": 8}, "ESRGAN: scale 3 expected, these settings make 2"),
        ("HAT", 2, HAT | {"window_size": 7}, "HAT cannot be called with these settings"),
    ],
)
def test_settings_that_make_no_network_are_one_line(
    architecture: str, scale: int, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingError, match=message) as error:
        networks.build(architecture, scale, settings)
    assert "\n" not in str(error.value)


# building and calling


def test_every_architecture_has_its_scale_keyword_hidden_and_none_is_for_restoration() -> None:
    names = networks.architectures()
    assert names == sorted(names)
    assert {"EDSR", "RCAN", "SwinIR", "SAFMN", "SPAN", "HAT", "DAT"} <= set(names)
    assert not {"NAFNet", "SCUNet", "GFPGAN", "LaMa", "SAFMNBCIE", "IPT"} & set(names)


def test_names_match_in_any_case_and_settings_are_complete() -> None:
    network = networks.build("swinir", 2, SWINIR)
    assert network.architecture == "SwinIR"
    assert SWINIR.items() <= network.settings.items()
    assert network.settings["window_size"] == 8
    assert "upscale" not in network.settings
    json.dumps(network.settings)
    again = networks.build(network.architecture, network.scale, network.settings)
    assert again.settings == network.settings
    assert again.parameters_count == sum(p.numel() for p in network.module.parameters())


def test_the_seed_decides_the_weights() -> None:
    assert networks.fingerprint(edsr()) == networks.fingerprint(edsr())
    torch.manual_seed(1)
    assert networks.fingerprint(networks.build("EDSR", 2, SMALL)) != networks.fingerprint(edsr())


def test_pixel_unshuffle_counts_in_the_scale(image: Tensor) -> None:
    settings = {"in_nc": 12, "shuffle_factor": 2, "num_blocks": 2, "num_filters": 8}
    network = networks.build("ESRGAN", 2, settings)
    assert network(image).shape == (2, 3, 14, 18)
    assert networks.build("ESRGAN", 2, network.settings).settings == network.settings


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("RCAN", {"n_resgroups": 2, "n_resblocks": 1, "n_feats": 8, "reduction": 2}),
        ("SwinIR", SWINIR | {"drop_path_rate": 0.9}),
        ("SeemoRe", {"num_experts": 3, "num_layers": 1, "embedding_dim": 16}),
    ],
)
def test_calls_are_repeatable_independent_of_the_batch_and_leave_the_input(
    architecture: str, settings: dict[str, Any], image: Tensor
) -> None:
    network = networks.build(architecture, 2, settings)
    network.module.train()
    before = image.clone()
    answer = network(image)
    assert not network.module.training
    assert not answer.requires_grad
    assert torch.equal(image, before)
    assert answer.shape == (2, 3, 14, 18)
    assert 0 <= answer.min() <= answer.max() <= 1
    assert torch.equal(network(image), answer)
    torch.testing.assert_close(torch.cat([network(image[:1]), network(image[1:])]), answer)
    torch.testing.assert_close(network.descriptor(image[:1].clone()), answer[:1])


def test_forward_keeps_the_mode_and_gives_gradients(image: Tensor) -> None:
    network = networks.build("SwinIR", 2, SWINIR)
    network.module.train()
    answer = network.forward(image)
    assert network.module.training
    torch.autograd.backward(answer.mean())
    assert all(parameter.grad is not None for parameter in network.module.parameters())
    network.module.eval()
    network.forward(image)
    assert not network.module.training


def test_an_answer_can_be_a_target_of_training(image: Tensor) -> None:
    """Tensors made in torch's inference mode could not."""
    weight = torch.ones(1, requires_grad=True)
    torch.autograd.backward((edsr()(image) * weight).sum())
    assert weight.grad is not None


def test_autocast_and_another_module(image: Tensor) -> None:
    network = edsr()
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(image)
    torch.testing.assert_close(rough.float(), network(image), atol=0.05, rtol=0.1)
    other = EDSR(scale=2, **SMALL)
    swapped = network.with_module(other)
    assert swapped.module is other
    assert swapped.to(torch.device("cpu")).module is other
    assert torch.equal(swapped(image), other(image).clamp(0, 1))
    assert network.module is not other


def test_what_we_save_is_ordinary_safetensors(tmp_path: Path) -> None:
    network = edsr()
    networks.save(network, tmp_path / "a.safetensors", {})
    assert load_file(tmp_path / "a.safetensors").keys() == network.module.state_dict().keys()
