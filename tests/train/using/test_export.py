"""`dukd-train export`: the files answer as the network does, or are not there."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from spandrel import ModelLoader  # type: ignore[import-untyped]
from torch import Tensor

from dukd_cache import networks
from dukd_cache.system.errors import SettingError
from dukd_train import cli
from dukd_train.using import export, export_formats
from dukd_train.using.export import TOLERANCE, target_of
from dukd_train.using.export_formats import FACTS_FILE, FORMATS, FormatName
from dukd_train.using.portable import Portable

OTHER_SHAPES = ((1, 3, 40, 9), (4, 3, 21, 22))
"""That the export itself did not try."""

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit")

TINY: dict[str, Mapping[str, Any]] = {
    "EDSR": {"channels": 8, "blocks": 1},
    "Compact": {"num_feat": 8, "num_conv": 2},
    "SPAN": {"feature_channels": 8},
    "SAFMN": {"dim": 8, "n_blocks": 1},
    "RCAN": {"n_feats": 8, "n_resblocks": 1, "n_resgroups": 1, "reduction": 4},
}

Export = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Export:
    """The command → exit code, and all that anything wrote to standard output and error."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dukd-train", "export", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        printed = capfd.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, printed.out, printed.err

    return call


def saved(folder: Path, architecture: str = "EDSR", scale: int = 2) -> Path:
    torch.manual_seed(3)
    path = folder / f"{architecture.lower()}.safetensors"
    networks.save(networks.build(architecture, scale, TINY[architecture]), path, {"method": "kd"})
    return path


def assert_answers_alike(weights: Path, format: FormatName, path: Path) -> None:
    network, answer = networks.load(weights), FORMATS[format].read(path.read_bytes())
    for shape in OTHER_SHAPES:
        image_NCHW = torch.rand(shape)
        with torch.no_grad():
            torch.testing.assert_close(answer(image_NCHW), network(image_NCHW), rtol=0, atol=TOLERANCE)
    teacher = networks.load_any(path).in_whole_windows()  # what was exported can be asked as its origin was
    assert (teacher.scale, teacher.window) == (network.scale, network.window)
    for shape in OTHER_SHAPES:
        image_NCHW = torch.rand(shape)
        expected_NCHW = network.in_whole_windows()(image_NCHW)
        allowed = 0 if format == "torchscript" else TOLERANCE
        torch.testing.assert_close(teacher(image_NCHW), expected_NCHW, rtol=0, atol=allowed)


def facts_in(format: FormatName, path: Path) -> Mapping[str, str]:
    if format == "onnx":
        import onnx

        return {each.key: each.value for each in onnx.load(path).metadata_props}
    if format in ("pth", "basicsr"):
        return dict(torch.load(path, weights_only=True)["dukd"])
    extra = {FACTS_FILE: ""}
    if format == "torchscript":
        torch.jit.load(path, _extra_files=extra)
    else:
        torch.export.load(path, extra_files=extra)
    found: Mapping[str, str] = json.loads(extra[FACTS_FILE])
    return found


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("architecture", ["EDSR", "Compact"])
def test_a_file_answers_as_the_network(command: Export, tmp_path: Path, architecture: str, format: FormatName) -> None:
    weights, out = saved(tmp_path, architecture), tmp_path / "new" / f"file{FORMATS[format].suffix}"
    code, printed, error = command(weights, "--to", format, "--out", out)
    assert (code, error) == (0, "")
    assert printed.startswith(f"{out}: differs from the network by ")
    assert printed.count("\n") == 1
    assert_answers_alike(weights, format, out)
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    network = networks.load(weights)
    if format == "safetensors":
        assert networks.load(out).metadata == {"method": "kd"}
        assert networks.fingerprint(networks.load(out)) == networks.fingerprint(network)
    else:
        facts = facts_in(format, out)
        assert (facts["architecture"], facts["scale"], facts["method"]) == (architecture, "2", "kd")
        assert facts["fingerprint"] == networks.fingerprint(network)


@pytest.mark.slow
@pytest.mark.parametrize("scale", networks.SCALES)
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("architecture", ["SPAN", "SAFMN", "RCAN"])
def test_more_architectures(command: Export, tmp_path: Path, architecture: str, format: FormatName, scale: int) -> None:
    weights, out = saved(tmp_path, architecture, scale), tmp_path / f"file{FORMATS[format].suffix}"
    if (architecture, format) == ("SAFMN", "pt2"):  # torch.export fixes the sides of its pooling
        code, printed, error = command(weights, "--to", format, "--out", out)
        assert (code, printed, error.count("\n"), out.exists()) == (2, "", 1, False)
        return
    assert command(weights, "--to", format, "--out", out)[::2] == (0, "")
    assert_answers_alike(weights, format, out)


def test_onnx_names_its_axes(tmp_path: Path) -> None:
    import onnx

    path = export.export_network(saved(tmp_path, scale=3), "onnx", None, overwrite=False).path
    assert path == tmp_path / "edsr.onnx"
    graph = onnx.load(path).graph
    sides = [side.dim_param or side.dim_value for side in graph.input[0].type.tensor_type.shape.dim]
    assert sides == ["batch", 3, "height", "width"]
    assert (graph.input[0].name, graph.output[0].name) == ("image", "upscaled")


@pytest.mark.parametrize(
    ("multiple", "minimum", "square"), [(1, 0, False), (8, 0, False), (1, 16, False), (4, 16, True), (3, 0, True)]
)
def test_padding_is_the_networks(tmp_path: Path, multiple: int, minimum: int, square: bool) -> None:
    network = networks.load(saved(tmp_path))
    required = network.descriptor.size_requirements
    required.multiple_of, required.minimum, required.square = multiple, minimum, square
    portable = Portable(network)
    for height, width in ((1, 1), (2, 31), (7, 8), (16, 16), (17, 40)):
        image_NCHW = torch.rand(2, 3, height, width)
        with torch.no_grad():
            assert torch.equal(portable(image_NCHW), network(image_NCHW)), (height, width)


def test_other_answers_leave_no_file(command: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def off(content: bytes) -> Callable[[Tensor], Tensor]:
        answer = FORMATS["pt2"].read(content)
        return lambda image_NCHW: answer(image_NCHW) + 2e-4

    weights = saved(tmp_path)
    changed = replace(FORMATS["pt2"], read=off)
    monkeypatch.setattr(export, "FORMATS", {"pt2": changed})
    code, printed, error = command(weights, "--to", "pt2")
    assert (code, printed) == (2, "")
    assert error == "dukd-train: EDSR as pt2: its answers differ from the network's by 2.0e-04, at most 0.0001\n"
    assert [path.name for path in tmp_path.iterdir()] == [weights.name]


def test_what_the_exporter_cannot_do_is_said_in_one_line(
    command: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def branching(_self: Portable, image_NCHW: Tensor) -> Tensor:
        return image_NCHW.repeat_interleave(2, -1).repeat_interleave(2, -2) * float(image_NCHW.mean())

    weights = saved(tmp_path)
    monkeypatch.setattr(Portable, "forward", branching)
    code, printed, error = command(weights, "--to", "pt2")
    assert (code, printed, error.count("\n")) == (2, "", 1)
    assert error.startswith("dukd-train: EDSR as pt2: cannot be exported for all sizes (")
    assert [path.name for path in tmp_path.iterdir()] == [weights.name]


def test_a_missing_library_is_named_with_its_cure(
    command: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    code, _, error = command(saved(tmp_path), "--to", "onnx")
    assert code == 2
    assert error == "dukd-train: export to onnx: needs onnxscript: pip install onnx onnxruntime onnxscript\n"


def test_existing_files_are_replaced_on_request_only(command: Export, tmp_path: Path) -> None:
    weights = saved(tmp_path)
    out = tmp_path / "edsr.torchscript.pt"
    out.write_bytes(b"mine")
    code, _, error = command(weights, "--to", "torchscript")
    assert (code, error) == (2, f"dukd-train: {out}: exists already; --overwrite makes it anew\n")
    assert out.read_bytes() == b"mine"
    assert command(weights, "--to", "torchscript", "--overwrite")[0] == 0
    assert_answers_alike(weights, "torchscript", out)


@pytest.mark.parametrize(
    ("format", "out", "message"),
    [
        ("safetensors", None, "is the weights file itself; choose another `out`"),
        ("pt2", "x.onnx", "expected a name that ends in .pt2, for pt2"),
        ("onnx", "folder.onnx", "expected a file, found a folder"),
    ],
)
def test_places_that_are_refused(tmp_path: Path, format: FormatName, out: str | None, message: str) -> None:
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "a.safetensors").touch()
    with pytest.raises(SettingError, match=message):
        target_of(tmp_path / "a.safetensors", format, tmp_path / out if out else None, overwrite=True)


def test_a_run_folder_stands_for_its_student(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    saved(tmp_path).rename(tmp_path / "run" / "student.safetensors")
    written = export.export_network(tmp_path / "run", "torchscript", None, overwrite=False).path
    assert written == tmp_path / "run" / "student.torchscript.pt"


def test_a_pth_is_what_plain_spandrel_and_basicsr_read(tmp_path: Path) -> None:
    weights = saved(tmp_path, "SPAN", scale=4)
    path = export.export_network(weights, "pth", None, overwrite=False).path
    content = torch.load(path, weights_only=True)
    assert content["params"].keys() == networks.load(weights).module.state_dict().keys()
    image_NCHW = torch.rand(1, 3, 20, 24)
    found = ModelLoader().load_from_file(path).eval()
    torch.testing.assert_close(found(image_NCHW), networks.load(weights)(image_NCHW))


@pytest.mark.parametrize("architecture", ["Compact", "SPAN", "RCAN", "SAFMN"])
def test_a_pth_is_a_whole_network_to_spandrel_and_strict_loaders(tmp_path: Path, architecture: str) -> None:
    network = networks.load(saved(tmp_path, architecture))
    path = export.export_network(tmp_path / f"{architecture.lower()}.safetensors", "pth", None, overwrite=False).path
    content = torch.load(path, weights_only=True)
    assert content.keys() == {"params", "dukd"}
    assert {(tensor.dtype, tensor.device.type) for tensor in content["params"].values()} == {(torch.float32, "cpu")}
    type(network.module)(**network.module.hyperparameters).load_state_dict(content["params"])  # type: ignore[arg-type]
    image_NCHW = torch.rand(1, 3, 16, 24)
    found = ModelLoader().load_from_file(path).eval()
    torch.testing.assert_close(found(image_NCHW.clone()), network(image_NCHW))  # RCAN overwrites its input
    merged = {name for name in content["params"] if ".eval_conv." in name}
    assert bool(merged) == (architecture == "SPAN")
    network(image_NCHW)  # a call merges SPAN's convolutions: the file has them merged, whoever called the network
    state = network.module.state_dict()
    assert all(torch.equal(content["params"][name], state[name]) for name in merged)


def test_basicsr_gets_its_own_names_of_rcan(command: Export, tmp_path: Path) -> None:
    weights = saved(tmp_path, "RCAN", scale=4)
    assert command(weights, "--to", "basicsr")[::2] == (0, "")
    tensors = torch.load(tmp_path / "rcan.basicsr.pth", weights_only=True)["params"]
    inside = "body.0.residual_group.0.rcab"
    layers = [
        "conv_first", f"{inside}.0", f"{inside}.2", f"{inside}.3.attention.1", f"{inside}.3.attention.3",
        "body.0.conv", "conv_after_body", "upsample.0", "upsample.2", "conv_last",
    ]  # fmt: skip
    assert {*tensors} == {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    assert networks.fingerprint(networks.load(tmp_path / "rcan.basicsr.pth")) == networks.fingerprint(
        networks.load(weights)
    )
    code, _, error = command(saved(tmp_path, "SPAN"), "--to", "basicsr")
    assert (code, error) == (
        2, "dukd-train: BasicSR has Compact, EDSR, RCAN, SwinIR only, not SPAN; try --to pth\n",
    )  # fmt: skip


def test_a_pth_is_refused_where_settings_would_be_guessed_wrongly(command: Export, tmp_path: Path) -> None:
    torch.manual_seed(3)
    weights = tmp_path / "edsr.safetensors"
    networks.save(networks.build("EDSR", 2, {**TINY["EDSR"], "img_range": 1.0}), weights, {})
    code, _, error = command(weights, "--to", "pth")
    assert (code, error.count("\n"), (tmp_path / "edsr.pth").exists()) == (2, 1, False)
    assert error.startswith("dukd-train: EDSR as pth: its answers differ from the network's by ")


def test_unknown_format(command: Export, tmp_path: Path) -> None:
    code, _, error = command(saved(tmp_path), "--to", "onx")
    assert code == 2
    assert error.startswith("dukd-train: unknown --to 'onx': did you mean 'onnx'?")


def test_every_format_has_its_suffix() -> None:
    assert len({each.suffix for each in export_formats.FORMATS.values()}) == 6
