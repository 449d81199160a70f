"""DUKD as it was published, with the teacher in the training loop: what a cache of its answers replaces.

Written to be read beside the paper (arXiv 2309.14162, section 3), apart from `dukd_train`, of which it uses nothing:
tests compare the two, step by step, and benchmarks their speed. It departs from the released code in two things, as
dukd does: one optimizer step a batch (`authors_step` is theirs), and F⁻¹ undoes its parts in reverse (docs/method.md).

Shapes: N pictures, C = 3, p side of an LR patch, q = s·p; all pictures are floating point in [0,1].
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dukd_cache.networks import Network

PARTS = ("rec", "kd", "zoom_in", "zoom_out_rec", "zoom_out_kd")


@dataclass(frozen=True)
class Turn:
    """F, one of the invertible augmentations, for one picture."""

    hflip: bool
    vflip: bool
    transpose: bool
    invert: bool

    def forth(self, image: Tensor) -> Tensor:
        """F(x) of one picture [C,H,H]."""
        image = image.flip(2) if self.hflip else image
        image = image.flip(1) if self.vflip else image
        image = image.transpose(1, 2) if self.transpose else image
        return 1 - image if self.invert else image

    def back(self, image: Tensor) -> Tensor:
        """F⁻¹(x) of one picture [C,H,H]."""
        image = 1 - image if self.invert else image
        image = image.transpose(1, 2) if self.transpose else image
        image = image.flip(1) if self.vflip else image
        return image.flip(2) if self.hflip else image


@dataclass(frozen=True)
class Crops:
    """What one step sees: N pictures of each view, and an F for each of them."""

    lr: Tensor
    """base: [N,C,p,p], cut from LR images."""
    hr: Tensor
    """[N,C,q,q], the same squares of the HR images."""
    zoomed_in: Tensor
    """[N,C,p,p], cut from HR images: the teacher alone knows what lies beyond them."""
    zoomed_out: Tensor
    """[N,C,p/s,p/s]: `large`, made s times smaller once more."""
    large: Tensor
    """[N,C,p,p], cut from LR images."""
    base_turns: Sequence[Turn]
    zoom_in_turns: Sequence[Turn]
    zoom_out_turns: Sequence[Turn]


def train_online(
    teacher: Network,
    student: Network,
    steps: Iterable[Crops],
    *,
    weights: dict[str, float] | None = None,
    lr: float = 1e-4,
    betas: tuple[float, float] = (0.9, 0.99),
    authors_step: bool = False,
) -> list[dict[str, float]]:
    """Train `student` in place, one optimizer step (Adam) for each of `steps`; the teacher is asked in every one.

    With `authors_step`, as in the released code, two for each: one for `base`, then one for the zoomed views, which the
    student answers with its new weights. The gradient is cleared before the first alone, so the second adds that of
    `base` once more. (250 000 of their iterations are 500 000 updates.)

    Networks and crops are on one device. `weights` are the λ of `PARTS`, 1 where not given. Returns the parts of the
    loss at each step, without their weights: mean absolute differences in [0,1].
    """
    λ = dict.fromkeys(PARTS, 1.0) | (weights or {})
    optimizer = torch.optim.Adam(student.module.parameters(), lr=lr, betas=betas)
    student.module.train()
    curve: list[dict[str, Tensor]] = []
    for x in steps:
        with torch.no_grad():  # the teacher sees what is not augmented
            t_base, t_zoom_in, t_zoom_out = teacher(x.lr), teacher(x.zoomed_in), teacher(x.zoomed_out)

        def base(x: Crops = x, t: Tensor = t_base) -> dict[str, Tensor]:
            s = _consistent(student, x.lr, x.base_turns)
            return {"rec": (s - x.hr).abs().mean(), "kd": (s - t).abs().mean()}

        def zoomed(x: Crops = x, t_in: Tensor = t_zoom_in, t_out: Tensor = t_zoom_out) -> dict[str, Tensor]:
            s_in = _consistent(student, x.zoomed_in, x.zoom_in_turns)
            s_out = _consistent(student, x.zoomed_out, x.zoom_out_turns)
            return {
                "zoom_in": (s_in - t_in).abs().mean(),
                "zoom_out_rec": (s_out - x.large).abs().mean(),
                "zoom_out_kd": (s_out - t_out).abs().mean(),
            }

        losses: dict[str, Tensor] = {}
        optimizer.zero_grad()
        for views in ((base,), (zoomed,)) if authors_step else ((base, zoomed),):
            found = {part: loss for view in views for part, loss in view().items()}
            total = torch.stack([λ[part] * loss for part, loss in found.items()]).sum()
            total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses |= found
        curve.append({part: loss.detach() for part, loss in losses.items()})
    return [{part: float(loss) for part, loss in losses.items()} for losses in curve]


def random_crops(
    scenes: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    scale: int,
    patch: int,
    batch: int,
    steps: int,
    seed: int = 0,
    device: str = "cpu",
) -> Iterator[Crops]:
    """New crops for every step, as the authors draw them, each view's F with probability 0.3 a part.

    zoom_in is cut from the step's HR patches, zoom_out made from its LR patches. `scenes` are HR and LR images, both
    u8 [H,W,C], whose sides differ by `scale`.
    """
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        lr, hr, zoomed_in = [], [], []
        for number in rng.integers(len(scenes), size=batch):
            high, low = scenes[number]
            y, x = rng.integers(low.shape[0] - patch + 1), rng.integers(low.shape[1] - patch + 1)
            lr.append(_square(low, y, x, patch))
            hr.append(_square(high, y * scale, x * scale, patch * scale))
            y, x = rng.integers(patch * (scale - 1) + 1, size=2)
            zoomed_in.append(_square(hr[-1], y, x, patch))
        large = _pictures(lr, device)
        smaller = interpolate(large, size=patch // scale, mode="bicubic", antialias=True).clamp(0, 1)
        turns = [[Turn(*map(bool, rng.random(4) < 0.3)) for _ in range(batch)] for _ in range(3)]
        yield Crops(large, _pictures(hr, device), _pictures(zoomed_in, device), smaller, large, *turns)


def _consistent(student: Network, x_NCpp: Tensor, turns: Sequence[Turn]) -> Tensor:
    """F⁻¹(S(F(x))): label consistency."""
    turned = torch.stack([turn.forth(image) for turn, image in zip(turns, x_NCpp, strict=True)])
    answers = student.forward(turned)
    return torch.stack([turn.back(image) for turn, image in zip(turns, answers, strict=True)])


def _square(image_HWC: np.ndarray, y: int, x: int, side: int) -> np.ndarray:
    return image_HWC[y : y + side, x : x + side]


def _pictures(images_HWC: Sequence[np.ndarray], device: str) -> Tensor:
    return torch.from_numpy(np.stack(images_HWC)).to(device).permute(0, 3, 1, 2).float() / 255
