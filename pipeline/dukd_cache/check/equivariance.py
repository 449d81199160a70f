"""How far a teacher is from treating a turned or inverted picture as it treats the picture itself.

A cache holds T(x) and training uses it for every F(x), as if F⁻¹(T(F(x))) were T(x). No network holds to that by
itself; where the gap |F⁻¹(T(F(x))) − T(x)| is as large as what the student could still learn, F is better left out.

Shapes: N records, C = 3, p input side, q = s·p output side.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dukd_cache.build import teacher
from dukd_cache.build.teacher import Teacher
from dukd_cache.check.known_teacher import teachers_of
from dukd_cache.format.reader import Cache, evenly
from dukd_cache.networks.devices import choose_device
from dukd_cache.pictures import symmetries
from dukd_cache.pictures.levels import psnr_of
from dukd_cache.system.errors import AnswerError, SettingError
from dukd_cache.system.tables import markdown_table

SAMPLE = 16
"""Records of a view that the teacher is asked about unless told otherwise: 22 questions each."""

ELEMENTS = symmetries.elements() | symmetries.channel_orders()
"""What is measured: the 16 that training draws by default, and the channels' orders, which commute with all of them."""

GENERATORS = {name: (name,) for name in ("hflip", "vflip", "transpose", "invert")} | {
    "permute": tuple(symmetries.channel_orders())
}
"""Settings of a training, by the elements that they draw alone."""

_BATCH = 16


@dataclass(frozen=True)
class Gap:
    """Between F⁻¹(T(F(x))) and T(x), neither of them rounded, means over records."""

    levels: float
    """Mean absolute difference, of 255."""
    psnr: float
    """dB, over RGB, of the mean squared difference; 100 stands for none."""


def load_teacher(weights: Path, cache: Cache, device: str) -> Teacher:
    """The teacher that `cache` was asked of, asked alike but about crops alone; for pairs, any of its scale.

    Raises:
        WeightsError: the file holds no SR network.
        CacheError: it is another network.
        SettingError: it is of another scale, or cannot run here.
    """
    if cache.manifest.answers:
        known = next(iter(teachers_of(cache.root, cache.manifest, weights, device).values()))
        return replace(known, info=known.info.model_copy(update={"context": 0}))  # which a cache does not hold
    found = teacher.load(weights, choose_device(device), "fp32")
    if found.network.scale != cache.manifest.scale:
        raise SettingError(
            f"scale {found.network.scale}, but {cache.root} is of {cache.manifest.scale}", f"`teacher={weights}`"
        )
    return found


def measure_gaps(
    cache: Cache, asked: Teacher, sample: int, on_answers: Callable[[int], None] = lambda _count: None
) -> dict[str, dict[str, Gap]]:
    """The gap of each element of the group on at most `sample` inputs of each view.

    Args:
        on_answers: told how many inputs were answered since it was last told; 22 an input in all.

    Raises:
        SettingError: `sample` is not positive.
        CacheError: what is stored is damaged.
        AnswerError: the teacher answers with numbers that are not finite.
    """
    if sample < 1:
        raise SettingError(f"`sample` must be positive, got {sample}")
    found: dict[str, dict[str, Gap]] = {}
    for view in cache.views:
        gaps: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in ELEMENTS}
        picks = evenly(cache.count(view), sample)
        for start in range(0, len(picks), _BATCH):
            some = picks[start : start + _BATCH]
            inputs = np.stack([cache.read(view, index)[asked.info.of] for index in some])
            x_NCpp = torch.from_numpy(inputs).to(asked.device).permute(0, 3, 1, 2).float().div(255)
            try:
                plain_NCqq = asked.answers(x_NCpp)
                on_answers(len(x_NCpp))
                for name, element in ELEMENTS.items():
                    how = symmetries.repeated(element, len(x_NCpp))
                    back_NCqq = symmetries.undo(how, asked.answers(symmetries.apply(how, x_NCpp)))
                    gaps[name].append(_differences(back_NCqq, plain_NCqq))
                    on_answers(len(x_NCpp))
            except AnswerError as error:
                raise error.about(f"{cache.root}: record {some[error.indices[0]]} of {view}") from error
        found[view] = {name: _mean(each) for name, each in gaps.items()}
    return found


def to_json(measured: dict[str, dict[str, Gap]]) -> dict[str, Any]:
    """JSON-able."""
    return {view: {name: asdict(gap) for name, gap in gaps.items()} for view, gaps in measured.items()}


def table(measured: dict[str, dict[str, Gap]], sample: int, who: str) -> str:
    """For people."""
    headings = ("F", *(f"{view} {unit}" for view in measured for unit in ("levels", "dB")))
    rows = []
    for name in ELEMENTS:
        gaps = [by_element[name] for by_element in measured.values()]
        rows.append((name, *(text for gap in gaps for text in (f"{gap.levels:.3f}", f"{gap.psnr:.2f}"))))
    what = f"{who.removeprefix('the ')}'s gap |F⁻¹(T(F(x))) − T(x)| in levels of 255, and as PSNR"
    return f"{what}, on {sample} records a view at most\n\n{markdown_table(headings, rows)}".rstrip()


def trusted(gaps: Mapping[str, Gap], added: float) -> dict[str, bool]:
    """Which generators a training may draw, by what they do alone; of the orders of channels, by the worst.

    A student learns what the answer has beyond bicubic enlargement; the gap is noise on that. A generator is trusted
    where the noise has less energy. Noise of nearly that energy was measured to do good: it differs from F to F.

    Args:
        added: PSNR between answers (where there are none, truths) and bicubic, in dB.
    """
    return {name: _worst(gaps, name) >= added for name in GENERATORS}


def verdict(gaps: Mapping[str, Gap], added: float, view: str) -> str:
    """The same in a line."""
    found = trusted(gaps, added)
    good = ", ".join(name for name, holds in found.items() if holds) or "none"
    bad = ", ".join(f"{name} ({_worst(gaps, name):.1f} dB)" for name, holds in found.items() if not holds)
    return f"safe on {view}: {good}" + (f"; not {bad}: below {added:.1f}" if bad else "")


def _worst(gaps: Mapping[str, Gap], generator: str) -> float:
    return min(gaps[element].psnr for element in GENERATORS[generator])


def _differences(one_NCqq: Tensor, other_NCqq: Tensor) -> npt.NDArray[np.float64]:
    """Absolute and squared, in levels of 255, means over the pixels: [N,2]."""
    gap_N = (one_NCqq.double() - other_NCqq.double()).mul(255).flatten(1)
    found: npt.NDArray[np.float64] = torch.stack([gap_N.abs().mean(1), gap_N.square().mean(1)], 1).cpu().numpy()
    return found


def _mean(found: list[npt.NDArray[np.float64]]) -> Gap:
    """The PSNR is that of the mean, as a mean of PSNRs has no meaning where one of them is infinite."""
    absolute, squared = np.concatenate(found).mean(axis=0).tolist()
    return Gap(absolute, psnr_of(squared))
