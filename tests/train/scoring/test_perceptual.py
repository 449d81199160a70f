"""LPIPS and DISTS through torchmetrics' own code, with backbones of random weights where torch looks for them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dukd_cache.system.errors import ImageError, SettingError
from dukd_train.scoring.metrics import U8
from dukd_train.scoring.perceptual import load, weights_folder

CPU = torch.device("cpu")


def backbone(kind: str) -> dict[str, Tensor]:
    """Random weights; those of the layers that no metric uses repeat one number and take no room in a file."""
    from torchvision import models

    torch.manual_seed(0)
    with torch.device("meta"):
        shapes = getattr(models, kind)(weights=None).state_dict()
    used = {name: torch.randn(shape.shape) * 0.05 for name, shape in shapes.items() if name.startswith("features")}
    return {name: used.get(name, torch.zeros(1).expand(shape.shape)) for name, shape in shapes.items()}


@pytest.fixture(scope="module", autouse=True)
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty home of torch's; no download."""
    pytest.importorskip("torchmetrics")

    def refuse(*_args: object, **_keywords: object) -> None:
        raise OSError("no network here")

    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("torch")
        patch.setenv("TORCH_HOME", str(home))
        patch.setattr("torch.hub.download_url_to_file", refuse)
        yield weights_folder()


@pytest.fixture
def lpips_backbone(hub: Path) -> Path:
    hub.mkdir(parents=True, exist_ok=True)
    path = hub / "alexnet-owt-7be5be79.pth"
    torch.save(backbone("alexnet"), path)
    return path


def pair(height: int = 48, width: int = 56) -> tuple[U8, U8]:
    random = np.random.default_rng(0)
    truth = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.clip(truth + random.normal(0, 20, truth.shape), 0, 255).astype(np.uint8), truth


@pytest.mark.parametrize(("name", "file"), [("lpips", "alexnet-owt-7be5be79.pth"), ("dists", "vgg16-397923af.pth")])
def test_a_missing_backbone_is_named_with_its_place(hub: Path, name: str, file: str) -> None:
    with pytest.raises(SettingError) as caught:
        load(name, CPU)  # type: ignore[arg-type]
    line = str(caught.value)
    assert line.startswith(f"metric {name}: {file} is missing and cannot be downloaded (no network here)")
    assert str(hub) in line
    assert "\n" not in line


def test_a_damaged_backbone_is_named(lpips_backbone: Path) -> None:
    lpips_backbone.write_bytes(b"no weights")
    with pytest.raises(SettingError, match=r"alexnet-owt-7be5be79\.pth is damaged"):
        load("lpips", CPU)


def test_a_missing_library_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] == "torchmetrics"]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "torchmetrics.functional.image.dists", None)
    with pytest.raises(SettingError, match="needs torchmetrics: pip install torchmetrics"):
        load("lpips", CPU)


@pytest.mark.usefixtures("lpips_backbone")
def test_lpips_is_torchmetrics_of_the_inner_image() -> None:
    from torchmetrics.functional.image.lpips import learned_perceptual_image_patch_similarity

    state = torch.get_rng_state()
    measure = load("lpips", CPU)
    assert torch.equal(torch.get_rng_state(), state), "loading draws no number of the training's"
    image, truth = pair()
    tensors = [
        torch.from_numpy(each[2:-2, 2:-2].copy()).permute(2, 0, 1)[None].float() / 255 for each in (image, truth)
    ]
    expected = learned_perceptual_image_patch_similarity(*tensors, net_type="alex", normalize=True)
    assert measure(image, truth, 2) == pytest.approx(float(expected), abs=1e-6)
    assert measure(image, truth, 2) > 0.001
    assert measure(truth, truth, 2) == 0
    with pytest.raises(ImageError, match="at least 31 pixels a side within a border of 9"):
        measure(image, truth, 9)
    assert measure(image[:31, :31], truth[:31, :31], 0) > 0


@pytest.mark.slow
def test_dists_is_torchmetrics_of_the_inner_image(hub: Path) -> None:
    from torchmetrics.functional.image.dists import deep_image_structure_and_texture_similarity

    hub.mkdir(parents=True, exist_ok=True)
    torch.save(backbone("vgg16"), hub / "vgg16-397923af.pth")
    measure = load("dists", CPU)
    image, truth = pair()
    tensors = [
        torch.from_numpy(each[3:-3, 3:-3].copy()).permute(2, 0, 1)[None].float() / 255 for each in (image, truth)
    ]
    expected = deep_image_structure_and_texture_similarity(*tensors).detach()
    assert measure(image, truth, 3) == pytest.approx(float(expected), abs=1e-6)
    assert measure(image, truth, 3) > measure(truth, truth, 3) == pytest.approx(0, abs=1e-5)
    assert measure(image[:1, :1], truth[:1, :1], 0) > 0
