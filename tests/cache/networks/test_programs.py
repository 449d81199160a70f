"""Networks that are only asked: known by content; scale and window are found by asking; a failure is one line."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from dukd_cache import networks
from dukd_cache.networks.devices import autocast
from dukd_cache.settings.takes import Takes
from dukd_cache.system.errors import SettingError, WeightsError

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit", "ignore::DeprecationWarning")

CODE = """
import torch
from torch import nn
from torch.nn.functional import interpolate

def larger(image):
    return interpolate(image, scale_factor=2, mode="bilinear")

def of_255_bgr(image):
    assert image.max() > 100, "values too small"
    return larger(image) + torch.tensor([9.0, 0, 0])[:, None, None]  # more blue

def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 27, 3, padding=1), nn.PixelShuffle(3))

def of_whole_fours(image):
    assert image.shape[2] % 4 == image.shape[3] % 4 == 0, "no multiple of 4"
    return larger(image)

def in_eights(image):
    down, across = (-(-side // 8) for side in image.shape[2:])
    mean = interpolate(torch.nn.functional.avg_pool2d(image, 8, ceil_mode=True), scale_factor=8)
    return larger(image - 0.2 * mean[..., :image.shape[2], :image.shape[3]])

def of_64(image):
    assert image.shape[2:] == (64, 64), "64 expected"
    return larger(image)

def one_by_one(image):
    assert len(image) == 1, "one at a time"
    return larger(image)

def beside_others(image):
    return larger(image - image.mean((0, 2, 3), keepdim=True)) + 0.5

def drawn(image):
    return larger(image) + 0.01 * torch.rand(1)

kept = [0]

def since_the_last(image):
    before, kept[0] = kept[0], image.std()
    return larger(image) + before

place = torch.empty(1, 3, 4096, 4096)

def in_one_place(image):
    assert len(image) == 1, "one at a time"
    answer = larger(image)
    return place[..., :answer.shape[2], :answer.shape[3]].copy_(answer)

def broken(image):
    raise ValueError("the moon\\nis full")

def of_words(image):
    return "seven"

def of_scale_1(image):
    return image

def of_grey(image):
    return larger(image)[:, :1]

def makes_a_list():
    return []

def cannot_be_made():
    raise OSError("no weights here")

number = 3
"""


class Enlarge(nn.Module):
    """A network that nobody knows, ×2."""

    def __init__(self) -> None:
        super().__init__()
        self.strange = nn.Conv2d(3, 12, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, image: Tensor) -> Tensor:
        answer: Tensor = self.shuffle(self.strange(image))
        return answer


@pytest.fixture
def code(tmp_path: Path) -> Callable[[str], Path]:
    file = tmp_path / "mine.py"
    file.write_text(CODE)
    return lambda function: Path(f"python:{file}:{function}")


@pytest.fixture(scope="module")
def unknown() -> Enlarge:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Enlarge().eval().requires_grad_(False)


def as_script(module: Enlarge, path: Path) -> Path:
    torch.jit.save(torch.jit.script(module), path)  # type: ignore[no-untyped-call]
    return path


def as_program(module: Enlarge, path: Path) -> Path:
    axes = (dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC),)
    torch.export.save(torch.export.export(module, (torch.rand(2, 3, 10, 12),), dynamic_shapes=axes), path)
    return path


def as_onnx(module: Enlarge, path: Path, side: int | str = "side") -> Path:
    weight, bias = (numpy_helper.from_array(each.numpy()) for each in module.strange.parameters())
    weight.name, bias.name = "weight", "bias"
    nodes = [
        helper.make_node("Conv", ["image", "weight", "bias"], ["features"], pads=[1, 1, 1, 1]),
        helper.make_node("DepthToSpace", ["features"], ["larger"], blocksize=2, mode="CRD"),
    ]
    shapes = [("image", ["n", 3, side, side if isinstance(side, int) else "wide"]), ("larger", ["n", 3, None, None])]
    image, larger = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes)
    graph = helper.make_graph([*nodes], "net", [image], [larger], [weight, bias])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


WRITTEN = {"TorchScript": as_script, "pt2": as_program, "ONNX": as_onnx}


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_program_is_known_by_its_content_and_answers_as_it_does_elsewhere(
    kind: str, unknown: Enlarge, tmp_path: Path
) -> None:
    path = WRITTEN[kind](unknown, tmp_path / "net.onnx")
    path = path.rename(tmp_path / "net.bin")
    found = networks.load_any(path)
    assert (found.architecture, found.scale, found.window, found.is_program) == (kind, 2, 1, True)
    image = torch.rand(3, 3, 11, 14)
    expected = unknown(image)
    torch.testing.assert_close(found.unclamped(image), expected, rtol=0, atol=0 if kind != "ONNX" else 1e-6)
    torch.testing.assert_close(found(image), expected.clamp(0, 1), rtol=0, atol=1e-6)
    copy = shutil.copy(path, tmp_path / "copy.pth")
    assert networks.fingerprint(networks.load_any(copy)) == networks.fingerprint(found)
    with pytest.raises(WeightsError):
        networks.load(path)  # where a network is to be trained or written as weights


def test_tensors_of_a_known_network_are_that_network_if_it_answers_alike(tmp_path: Path) -> None:
    for res_scale, kind in ((1.0, "EDSR"), (0.5, "TorchScript")):  # no tensor tells of 0.5
        network = networks.build("EDSR", 2, {"channels": 8, "blocks": 1, "res_scale": res_scale})
        network.module.eval()
        traced = torch.jit.trace(network.module, torch.rand(1, 3, 9, 9))  # type: ignore[no-untyped-call]
        torch.jit.save(traced, tmp_path / "net.pt")  # type: ignore[no-untyped-call]
        found = networks.load_any(tmp_path / "net.pt")
        assert found.architecture == kind
        image = torch.rand(2, 3, 8, 10)
        assert torch.equal(found(image), network(image))
        if kind == "EDSR":
            assert networks.fingerprint(found) == networks.fingerprint(network)


def test_the_users_own_code_is_a_function_or_makes_a_module(code: Callable[[str], Path]) -> None:
    function, module = networks.load_any(code("larger")), networks.load_any(code("network"))
    assert (function.scale, module.scale) == (2, 3)
    assert module.parameters_count == 27 * 27 + 27
    assert function(torch.full((2, 3, 5, 7), 0.25)).unique().tolist() == [0.25]
    prints = {networks.fingerprint(networks.load_any(code(name))) for name in ("larger", "network", "one_by_one")}
    assert len(prints) == 3
    file = Path(str(code("larger")).split(":")[1])
    file.write_text(CODE + "# changed\n")
    assert networks.fingerprint(networks.load_any(code("larger"))) not in prints


def test_code_beside_it_counts_and_is_no_others(tmp_path: Path) -> None:
    """Two files may import modules of one name, and one may be loaded again after a change."""
    image, found = torch.rand(1, 3, 8, 8), {}
    for name, scale in (("a", 2), ("b", 3)):
        (tmp_path / name / "parts").mkdir(parents=True)
        (tmp_path / name / "parts" / "sizes.py").write_text(f"scale = {scale}\n")
        (tmp_path / name / "larger.py").write_text("from parts.sizes import scale\n")
        (tmp_path / name / "mine.py").write_text(
            "from torch.nn.functional import interpolate\nfrom larger import scale\n\n"
            "def answer(image):\n    return interpolate(image, scale_factor=scale)\n"
        )
        found[name] = networks.load_any(Path(f"python:{tmp_path / name}/mine.py:answer"))
    assert [found[name](image).shape[-1] for name in "abab"] == [16, 24, 16, 24]
    again = networks.load_any(Path(f"python:{tmp_path}/a/mine.py:answer"))
    assert networks.fingerprint(again) == networks.fingerprint(found["a"])
    (tmp_path / "a" / "parts" / "sizes.py").write_text("scale = 4  # changed\n")
    changed = networks.load_any(Path(f"python:{tmp_path}/a/mine.py:answer"))
    assert changed(image).shape[-1] == 32
    (tmp_path / "a" / "parts" / "sizes.py").write_text("scale = 4  # changed twice\n")
    twice = networks.load_any(Path(f"python:{tmp_path}/a/mine.py:answer"))
    assert len({networks.fingerprint(each) for each in (again, changed, twice)}) == 3


def test_a_network_that_a_function_asks_counts_and_is_in_eval_mode(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom pathlib import Path\nfrom torch import nn\n\n"
        "net = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2), nn.BatchNorm2d(3), nn.Dropout(0.5))\n"
        "net.load_state_dict(torch.load(Path(__file__).with_name('net.pth')))\n\n"
        "def answer(image):\n    return net(image)\n"
    )
    found, images = [], torch.rand(2, 3, 8, 8)
    for _ in range(2):
        net = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2), nn.BatchNorm2d(3)).eval()
        torch.save(net.state_dict(), tmp_path / "net.pth")
        found.append(networks.load_any(Path(f"python:{tmp_path}/mine.py:answer")))
        torch.testing.assert_close(found[-1].unclamped(images), net(images), rtol=0, atol=1e-6)
    assert networks.fingerprint(found[0]) != networks.fingerprint(found[1])
    assert found[0].parameters_count == 27 * 12 + 12 + 6


@pytest.mark.parametrize("function", ["larger", "beside_others", "in_one_place"])
def test_answers_do_not_depend_on_the_rest_of_a_batch(function: str, code: Callable[[str], Path]) -> None:
    found, images = networks.load_any(code(function)), torch.rand(3, 3, 8, 8)
    assert found.module.one_by_one == (function != "larger")
    assert torch.equal(found(images), torch.cat([found(image[None]) for image in images]))
    assert len({tuple(answer.flatten().tolist()) for answer in found(images)}) == 3


def test_what_was_written_in_training_mode_answers_alike_each_time(unknown: Enlarge, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Dropout(0.5), unknown, nn.BatchNorm2d(3)).train()
    torch.jit.save(torch.jit.script(module), tmp_path / "net.pt")  # type: ignore[no-untyped-call]
    found, images = networks.load_any(tmp_path / "net.pt"), torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(found.unclamped(images), module.eval()(images), rtol=0, atol=1e-6)
    torch.jit.save(torch.jit.freeze(torch.jit.script(module)), tmp_path / "net.pt")  # type: ignore[no-untyped-call]
    torch.testing.assert_close(networks.load_any(tmp_path / "net.pt")(images), found(images), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "required", "window"),
    [("larger", 1, 1), ("of_whole_fours", 4, 4), ("in_eights", 1, 8), ("of_64", 64, 64), ("one_by_one", 1, 1)],
)
def test_the_window_is_found_by_asking(function: str, required: int, window: int, code: Callable[[str], Path]) -> None:
    found = networks.load_any(code(function))
    assert found.descriptor.size_requirements.multiple_of == required
    assert found.window == window
    assert found(torch.rand(2, 3, 10, 15)).shape == (2, 3, 20, 30)
    assert networks.load_any(code(function), Takes(window=64)).window == 64


def test_what_it_takes_is_given_to_it(code: Callable[[str], Path], unknown: Enlarge, tmp_path: Path) -> None:
    found = networks.load_any(code("of_255_bgr"), Takes(values=255, channels="bgr"))
    image = torch.rand(1, 3, 6, 6)
    image[:, :, 0, 0] = 0.9
    more = found(image) - networks.load_any(code("larger"))(image)
    torch.testing.assert_close(more.clamp(0, 1).amax((0, 2, 3)), torch.tensor([0, 0, 9 / 255]), atol=1e-6, rtol=0)
    path = as_onnx(unknown, tmp_path / "net.onnx")
    prints = [networks.fingerprint(networks.load_any(path, takes)) for takes in (Takes(), Takes(channels="bgr"))]
    assert prints[0] != prints[1]


FAILS = {
    "broken": "python fails on an input of 1×3×48×48 (the moon is full)",
    "of_words": "python answers an input of 1×3×48×48 with str, expected floating point [1, 3, scale × height, ",
    "of_scale_1": "scale 2, 3 or 4 of 3 channels expected, but 1×3×48×48 becomes 1×3×48×48",
    "of_grey": "scale 2, 3 or 4 of 3 channels expected, but 1×3×48×48 becomes 1×1×96×96",
    "drawn": "answers an input otherwise when it is asked again, by ",
    "since_the_last": "answers an input otherwise when it is asked again, by ",
    "makes_a_list": "makes_a_list makes a list, expected a torch.nn.Module",
    "cannot_be_made": "cannot_be_made fails (OSError: no weights here)",
    "number": "'number' is a int, not a function",
    "none": "mine.py has no function 'none'",
}


@pytest.mark.parametrize("function", FAILS)
def test_what_fails_is_one_line(function: str, code: Callable[[str], Path]) -> None:
    with pytest.raises(WeightsError) as caught:
        networks.load_any(code(function))
    assert str(caught.value).startswith(f"{code(function)}: {FAILS[function]}")
    assert "\n" not in str(caught.value)


def test_a_program_that_fails_later_names_the_inputs_shape(unknown: Enlarge, tmp_path: Path) -> None:
    found = networks.load_any(as_onnx(unknown, tmp_path / "net.onnx", side=64))
    assert found.window == 64
    with pytest.raises(WeightsError, match=r"ONNX fails on an input of 1×3×128×64 \(.*Got: 128 Expected: 64"):
        found(torch.rand(1, 3, 70, 64))
    with pytest.raises(SettingError, match="ONNX computes in what it was exported in"), autocast(CPU, "bf16"):
        found(torch.rand(1, 3, 64, 64))
    path = as_script(unknown, tmp_path / "net.pt")
    with pytest.raises(WeightsError, match=r"TorchScript fails on an input of 1×4×8×8 \(.*4 channels"):
        networks.load_any(path)(torch.rand(1, 4, 8, 8))


def test_what_is_missing_or_needs_weights_is_one_line(
    unknown: Enlarge, code: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WeightsError, match="can only be asked: give weights"):
        networks.load(code("network"))
    path = as_onnx(unknown, tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SettingError, match=r"net\.onnx: needs onnxruntime: pip install"):
        networks.load_any(path)


def test_tensors_beside_an_onnx_file_count(unknown: Enlarge, tmp_path: Path) -> None:
    path = as_onnx(unknown, tmp_path / "net.onnx")
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="net.data", size_threshold=0)
    before = networks.fingerprint(networks.load_any(path))
    beside = tmp_path / "net.data"
    content = bytearray(beside.read_bytes())
    content[3] ^= 1
    beside.write_bytes(content)
    assert networks.fingerprint(networks.load_any(path)) != before


@pytest.mark.parametrize("content", ["import nothing_of_that_name", "1 +"])
def test_code_that_cannot_be_run_is_one_line(content: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(content)
    with pytest.raises(WeightsError, match=r"bad\.py:f: its code fails "):
        networks.load_any(Path(f"python:{tmp_path}/bad.py:f"))
    with pytest.raises(WeightsError, match=r"no such file: .*none\.py"):
        networks.load_any(Path(f"python:{tmp_path}/none.py:f"))


CPU = torch.device("cpu")
