"""What was done to one picture, in words: for those who look at it."""

import math
from collections.abc import Iterator, Mapping, Sequence

from dukd_cache.pictures.degradation.recipe import labelled, method_of, with_shrink
from dukd_cache.pictures.degradation.steps import KERNELS, NOISES, Step, Values


def in_words(steps: Sequence[Step], columns: Mapping[str, float]) -> str:
    """All of `steps` that was done, in its order: `blur 1.2, ×0.52 area, gaussian noise 12, jpeg 47, …`.

    Args:
        columns: what was drawn for them, see `columns_of`.
    """
    drawn = [
        (step, {name: columns[f"{label}_{name}"] for name in step.what.names})
        for label, step in labelled(with_shrink(steps))
    ]
    in_order = sorted(drawn, key=lambda each: each[1].get("late", 0))
    return ", ".join(words for step, values in in_order for words in _words(step, values))


def _words(step: Step, values: Values) -> Iterator[str]:
    """Nothing of what was not done."""
    match step.kind:
        case "blur" if values["kernel"]:
            yield _blur(KERNELS[int(values["kernel"]) - 1], values)
        case "noise" if values["kind"]:
            grey = "grey " * bool(values["grey"])
            yield f"{grey}{NOISES[int(values['kind']) - 1]} noise {values['strength']:.2g}"
        case "jpeg" | "webp" if values["quality"] > 0:
            yield f"{step.kind} {values['quality']:.0f}"
        case "resize" if values["factor"] != 1:
            of = " of LR" * (step.resize is not None and step.resize.of == "lr")
            yield f"×{values['factor']:.2f}{of} {method_of(values)}"
        case "shrink":
            yield f"to LR {method_of(values)}"


def _blur(kind: str, values: Values) -> str:
    if kind == "sinc":
        return f"sinc {values['shape'] / math.pi:.2f}π"
    widths = dict.fromkeys(f"{values[name]:.1f}" for name in ("sigma_x", "sigma_y"))
    shape = f"{kind.partition('_')[0]} " * (kind not in ("isotropic", "anisotropic"))
    return f"{shape}blur {'×'.join(widths)}"
