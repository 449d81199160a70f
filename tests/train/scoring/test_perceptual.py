"""LPIPS and DISTS through torchmetrics' own code, with backbones of random weights where torch looks for them."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import ImageError, SettingError
from dukd_train.core.run import check, run
from dukd_train.measures import SMALLEST, lpips
from dukd_train.scoring.perceptual import load, lpips_network, weights_folder
from dukd_train.settings import TrainConfig

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
    lpips_network.cache_clear()
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


# As a term of a loss ------------------------------------------------------------------------------------------------

LOOK: dict[str, Any] = {"view": "base", "to": "truth", "by": "lpips", "weight": 0.1}


def test_a_term_without_its_weights_is_refused_before_there_is_a_folder(
    settings_of: Callable[..., TrainConfig], hub: Path, tmp_path: Path
) -> None:
    lpips_network.cache_clear()
    (hub / "alexnet-owt-7be5be79.pth").unlink(missing_ok=True)
    asked = settings_of(method="scratch", steps=1, loss={"look": LOOK})
    for refuse in (lambda: run(asked, tmp_path / "run"), lambda: check(asked, tmp_path / "run", set())):
        with pytest.raises(SettingError) as caught:
            refuse()
        line = str(caught.value)
        assert line.startswith(
            "loss.look: metric lpips: alexnet-owt-7be5be79.pth is missing and cannot be downloaded ("
        )
        assert "\n" not in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("augment", "view", "line"),
    [
        ({}, "base", None),
        ({"base": {"invert": 0.1}}, "base", "augmentation changes those of base; set augment.base.invert=0"),
        ({}, "zoom_in", "augmentation changes those of zoom_in; set augment.zoom.invert=0"),
        ({"zoom": {"permute": 0.5}}, "zoom_in",
         "augmentation changes those of zoom_in; set augment.zoom.invert=0 and augment.zoom.permute=0"),
        ({"zoom": {"invert": 0}}, "zoom_in", None),
        ({"zoom": {"invert": 0}, "zoom_out": {"permute": 1, "invert": 0}}, "zoom_out",
         "augmentation changes those of zoom_out; set augment.zoom_out.permute=0"),
        ({"zoom": {"invert": 0}}, "zoom_out", "needs 31×31 pixels, and the answers to zoom_out have 16×16"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("lpips_backbone")
def test_a_term_looks_at_colours_as_they_are(
    settings_of: Callable[..., TrainConfig], tmp_path: Path, augment: dict[str, Any], view: str, line: str | None
) -> None:
    asked = settings_of(augment=augment, loss={"look": LOOK | {"view": view, "to": "teacher"}})
    if line is None:
        check(asked, tmp_path / "run", set())
        return
    with pytest.raises(SettingError) as caught:
        run(asked, tmp_path / "run")
    assert str(caught.value).endswith(line)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("lpips_backbone")
def test_a_term_is_the_metric_with_gradients(settings_of: Callable[..., TrainConfig], tmp_path: Path) -> None:
    image, truth = pair(31, 40)
    output, target = (torch.from_numpy(each.copy()).permute(2, 0, 1)[None] for each in (image, truth))
    found = lpips((output / 255).requires_grad_(), target)
    assert found.item() == pytest.approx(load("lpips", CPU)(image, truth, 0), abs=1e-6)
    beyond = (output / 255 * 1.5 - 0.2).requires_grad_()  # a student is not clamped
    lpips(beyond, target).backward()  # type: ignore[no-untyped-call]
    assert beyond.grad is not None
    assert beyond.grad.isfinite().all()
    assert beyond.grad.abs().sum() > 0
    with pytest.raises(RuntimeError):
        lpips(output[..., : SMALLEST["lpips"] - 1] / 255, target[..., : SMALLEST["lpips"] - 1])
    facts = run(settings_of(method="kd", steps=2, loss={"look": LOOK}), tmp_path / "run")
    assert list(facts["loss"]) == ["rec", "kd", "look"]
    assert (tmp_path / "run" / "curve.csv").read_text().startswith("step,lr,total,rec,kd,look\n")


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
