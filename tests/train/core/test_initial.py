"""Starting weights: which tensors a student takes from another scale or its own, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dukd_cache import networks
from dukd_cache.networks import Network
from dukd_cache.system.errors import DukdError, SettingError
from dukd_train.core.initial import start_from
from dukd_train.core.run import run
from dukd_train.errors import RunError
from dukd_train.settings import TrainConfig

EDSR = {"channels": 8, "blocks": 2}
SWINIR = {"embed_dim": 12, "depths": [1, 1], "num_heads": [2, 2], "img_size": 16}
LIGHT = {"upsampler": "pixelshuffledirect"}


def build(architecture: str, scale: int, settings: dict[str, Any], seed: int = 1) -> Network:
    torch.manual_seed(seed)
    return networks.build(architecture, scale, settings)


def saved(network: Network, folder: Path) -> Path:
    path = folder / "weights.safetensors"
    networks.save(network, path, {})
    return path


def tensors(network: Network) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.module.state_dict().items()}


@pytest.mark.parametrize(
    ("architecture", "settings", "source", "target", "new"),
    [
        ("EDSR", EDSR, 2, 4, {"upsample.2"}),  # the first stage of ×4 is that of ×2
        ("EDSR", EDSR, 2, 3, {"upsample.0"}),
        ("EDSR", EDSR, 4, 2, set()),
        ("EDSR", EDSR, 3, 3, set()),
        ("RCAN", {"n_resgroups": 2, "n_resblocks": 1, "n_feats": 8, "reduction": 2}, 2, 4, {"tail.0.2"}),
        ("RCAN", {"n_resgroups": 2, "n_resblocks": 1, "n_feats": 8, "reduction": 2}, 2, 3, {"tail.0.0"}),
        ("SwinIR", SWINIR, 2, 4, {"upsample.2"}),
        ("SwinIR", SWINIR | LIGHT, 2, 3, {"upsample.0"}),
        ("Compact", {"num_feat": 8, "num_conv": 2}, 2, 4, {"body.6"}),
        ("SPAN", {"feature_channels": 8}, 4, 3, {"upsampler.0"}),
        ("SAFMN", {"dim": 8, "n_blocks": 1}, 2, 3, {"to_img.0"}),
    ],
)
def test_all_tensors_but_the_upsamplers_are_taken(
    architecture: str, settings: dict[str, Any], source: int, target: int, new: set[str], tmp_path: Path
) -> None:
    origin, student = build(architecture, source, settings), build(architecture, target, settings, seed=2)
    given, before = tensors(origin), tensors(student)
    start = start_from(saved(origin, tmp_path), student)
    after = tensors(student)
    assert {name.rpartition(".")[0] for name in start.new} == new
    assert set(start.taken) | set(start.new) == set(after)
    assert not set(start.taken) & set(start.new)
    assert all(torch.equal(after[name], given[name]) for name in start.taken)
    assert all(torch.equal(after[name], before[name]) for name in start.new)
    assert (start.scale, start.fingerprint) == (source, networks.fingerprint(origin))
    if source == target:
        assert networks.fingerprint(student) == start.fingerprint


def test_the_features_are_those_of_the_origin(tmp_path: Path) -> None:
    """The body of a ×4 student answers as that of its ×2 origin does: what both do before the upsampler."""
    origin, student = build("EDSR", 2, EDSR), build("EDSR", 4, EDSR, seed=2)
    seen: list[Tensor] = []
    for network in (origin, student):
        network.module.get_submodule("conv_after_body").register_forward_hook(lambda *call: seen.append(call[2]))
    image = torch.rand(1, 3, 8, 8)
    start_from(saved(origin, tmp_path), student)
    origin(image)
    student(image)
    assert torch.equal(*seen)


def test_weights_of_others_in_half_precision_and_with_other_traceless_settings(tmp_path: Path) -> None:
    origin = build("EDSR", 2, EDSR)
    torch.save({"params": {name: tensor.half() for name, tensor in tensors(origin).items()}}, tmp_path / "x2.pth")
    student = build("EDSR", 4, EDSR | {"res_scale": 0.5}, seed=2)
    start = start_from(tmp_path / "x2.pth", student)
    weight = student.module.get_parameter("conv_first.weight")
    assert weight.dtype == torch.float32
    assert torch.equal(weight, origin.module.get_parameter("conv_first.weight").half().float())
    assert str(start) == (
        f"student.init: {tmp_path / 'x2.pth'} (×2): 16 tensors taken; 2 new: upsample.2.weight, upsample.2.bias; "
        "the student has res_scale 0.5 (1.0 there)"
    )


def test_no_random_numbers_are_drawn(tmp_path: Path) -> None:
    path, student = saved(build("EDSR", 2, EDSR), tmp_path), build("EDSR", 4, EDSR)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    start_from(path, student)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("architecture", "settings", "message"),
    [
        ("RCAN", {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 8, "reduction": 2},
         "expected weights of EDSR, the student, found RCAN"),
        ("EDSR", EDSR | {"blocks": 1},
         "not of the student's settings: it lacks body.1.conv1.bias, body.1.conv1.weight, body.1.conv2.bias, "
         "body.1.conv2.weight"),
        ("EDSR", EDSR | {"blocks": 5},
         "not of the student's settings: it also has body.2.conv1.bias, body.2.conv1.weight, "
         "body.2.conv2.bias, body.2.conv2.weight and 8 more"),
        ("EDSR", EDSR | {"channels": 4},
         "not of the student's settings: conv_first.weight is 4×3×3×3, the student's 8×3×3×3, likewise "
         "conv_first.bias, body.0.conv1.weight, body.0.conv1.bias, body.0.conv2.weight and 10 more"),
    ],
)  # fmt: skip
def test_other_networks_are_refused(architecture: str, settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    path, student = saved(build(architecture, 2, settings), tmp_path), build("EDSR", 4, EDSR)
    before = tensors(student)
    with pytest.raises(SettingError) as caught:
        start_from(path, student)
    assert str(caught.value) == f"student.init: {path}: {message}"
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors(student).items())


# in a run


def test_a_run_starts_there_and_says_so(
    settings_of: Callable[..., TrainConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origin = build("EDSR", 4, {"channels": 8, "blocks": 1})
    path = saved(origin, tmp_path)
    settings = settings_of(steps=1, method="scratch", optimizer={"lr": 1e-12})
    student = settings.student.model_copy(update={"init": path})
    facts = run(settings.model_copy(update={"student": student}), tmp_path / "run")
    trained = networks.load(tmp_path / "run" / "student.safetensors")
    given = tensors(origin)
    for name, tensor in tensors(trained).items():
        torch.testing.assert_close(tensor, given[name], rtol=0, atol=1e-6)
    expected = {
        "init": str(path),
        "init_fingerprint": networks.fingerprint(origin),
        "init_scale": 4,
        "init_tensors": len(tensors(trained)),
    }
    assert expected.items() <= facts.items()
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == facts
    assert trained.metadata["init_fingerprint"] == expected["init_fingerprint"]
    printed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("student.init")]
    assert printed == [f"student.init: {path} (×4): {len(tensors(trained))} tensors taken"]


@pytest.mark.parametrize("done", [1, 2])
def test_a_run_is_not_resumed_on_another_start(
    done: int, settings_of: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    def asked(steps: int) -> TrainConfig:
        student = {"architecture": "EDSR", "settings": {"channels": 8, "blocks": 1}, "init": path}
        return settings_of(steps=steps, schedule={"kind": "constant"}, student=student)

    path, out = saved(build("EDSR", 4, {"channels": 8, "blocks": 1}), tmp_path), tmp_path / "run"
    before = run(asked(1), out)
    saved(build("EDSR", 4, {"channels": 8, "blocks": 1}, seed=2), tmp_path)
    with pytest.raises(RunError) as caught:
        run(asked(done), out)
    assert str(caught.value) == f"{out}: trained from other weights than {path} holds now; choose another `out`"
    after = run(asked(done), out, allow_changes=True)
    assert after["init_fingerprint"] == before["init_fingerprint"]
    assert run(asked(done), out, allow_changes=True) == after
    path.unlink()
    assert run(asked(done), out) == after


def test_a_bad_file_makes_no_run(settings_of: Callable[..., TrainConfig], tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_bytes(b"nothing")
    settings = settings_of(steps=1)
    for name in ("none.safetensors", "bad.pth"):
        student = settings.student.model_copy(update={"init": tmp_path / name})
        with pytest.raises(DukdError, match=name):
            run(settings.model_copy(update={"student": student}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
