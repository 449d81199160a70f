"""Weights files: tensors by name with what a file says of them, whoever wrote it.

SR programs wrap a network's tensors: in `params_ema` and `params` (BasicSR, neosr, traiNNer-redux), in `state_dict`
with the attribute's name before each (Lightning, mmagic), beside a discriminator or an epoch, in `module.` (several
GPUs, DeepSpeed), `_fsdp_wrapped_module.` (FSDP) or `_orig_mod.` (compiled).
"""

import pickle
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from dukd_cache.networks.file_kind import container, refusal
from dukd_cache.settings.addresses import code_of
from dukd_cache.system.errors import WeightsError, one_line
from dukd_cache.system.files import write_atomically

STUDENT = "student.safetensors"
"""What a training leaves in its folder; the folder may be given in its place."""

State = Mapping[str, Tensor]

_PREFIXES = ("params", "module", "model", "net", "network", "generator", "net_g", "netG", "online_model", "sr_model")
"""What a program writes before each name of the network's, beside names of other things."""

_WITHIN = re.compile(r"_(?:orig_mod|fsdp_wrapped_module|checkpoint_wrapped_module|forward_module|fpw_module)\.")
"""What compiling, FSDP, checkpointed activations and DeepSpeed write into names, at any depth."""

_AVERAGED = re.compile(r"(?:^|[^a-z])(?:ema|averaged?|avg|swa|shadow)(?:[^a-z]|$)", re.IGNORECASE)
_RAW = re.compile(r"(?:^|[^a-z])(?:online|raw|current)(?:[^a-z]|$)", re.IGNORECASE)

_OWN_CHECKPOINT = {"step", "origin", "student", "ema", "optimizer"}
"""What a training's checkpoint holds, among others."""

_DEEPEST = 6
"""Wrappers in wrappers; a file can even hold itself."""

_SHOWN = 6
"""So many names are told; others are counted."""


@dataclass(frozen=True)
class Candidate:
    """Tensors that are a network's, without what was around them."""

    path: str
    """Where in the file they were: `params_ema`, `state_dict.generator`. Empty: the file is nothing else."""
    tensors: State
    averaged: bool
    """Means over training, by the name of their path."""


def located(path: Path) -> Path:
    """`path`, or the student in the run folder `path`.

    Raises:
        WeightsError: there is no such file, or it is another kind of folder.
    """
    if code_of(path):
        raise WeightsError("code of one's own can only be asked: give weights")
    if not path.is_dir():
        if not path.is_file():
            raise WeightsError("no such file")
        return path
    unfinished = any(path.glob("checkpoint-*.pt")) and not (path / "run.json").is_file()
    if (path / STUDENT).is_file() and not unfinished:  # there may be that of fewer steps, before more were asked for
        return path / STUDENT
    if unfinished:
        raise WeightsError(f"a training that has not ended: its {STUDENT} is written at the end")
    if (path / ".metadata").is_file() and any(path.glob("*.distcp")):
        tool = "python -m torch.distributed.checkpoint.format_utils dcp_to_torch"
        raise WeightsError(f"a distributed checkpoint (FSDP): `{tool} {path} net.pth` makes a file of it")
    if (path / "zero_to_fp32.py").is_file():
        raise WeightsError(f"a DeepSpeed checkpoint: `python {path / 'zero_to_fp32.py'} {path} net` makes files of it")
    raise WeightsError(f"a folder, not a weights file, and without a {STUDENT} in it")


def read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """What is in a file, on the CPU (tensors, maybe within wrappers), and its metadata ({} if there are none).

    Which kind it is of is seen from its first bytes. A pickled file may hold tensors, plain values and NumPy's numbers;
    anything else in it is refused, not run.

    Raises:
        WeightsError: another kind of file, a cut one, or one that holds more than tensors.
        Exception: whatever a damaged file causes.
    """
    match kind := container(path):
        case "safetensors":
            with safe_open(path, framework="pt") as file:
                metadata: dict[str, str] = file.metadata() or {}
            return load_file(path), metadata
        case "torchscript":
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "`torch.jit", FutureWarning)
                warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
                module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
                return dict(module.state_dict()), {}
        case "pickle":
            return _unpickled(path), {}
        case _:
            raise WeightsError(refusal(kind))


def candidates(content: Mapping[str, Any], known: Callable[[State], bool]) -> list[Candidate]:
    """All networks in a file's content that are `known` by the names of their tensors.

    Any mapping is opened. Of tensors that lie side by side, those are taken together whose names begin alike: with one
    of `_PREFIXES` or a name of averages, or with anything where all names of the file do.

    Raises:
        WeightsError: there is none, or it is a training's checkpoint.
    """
    if content.keys() >= _OWN_CHECKPOINT:
        message = f"a checkpoint of a training (step {content['step']}), not a network"
        raise WeightsError(f"the end of the training writes {STUDENT} beside it", message)
    found = [_judged(path, tensors, content) for path, tensors in _opened(content, (), known)]
    if not found:
        raise WeightsError(f"its tensors fit no architecture that spandrel knows, nor EDSR: {_described(content)}")
    return found


def write(path: Path, tensors: State, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all."""
    apart = {  # clones, as safetensors refuses tensors that share memory
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    write_atomically(path, to_bytes(apart, metadata=dict(metadata)))


def _numpy_scalar(module: str) -> Callable[..., Any]:
    """What makes NumPy's numbers of a pickle, under the name that it has in one: NumPy 2 calls it otherwise."""
    make: Callable[..., object] = np.float64(0).__reduce__()[0]  # type: ignore[assignment]

    def scalar(*given: object) -> object:
        return make(*given)

    scalar.__module__, scalar.__qualname__ = module, "scalar"
    return scalar


_NUMBERS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    np.dtype,
    *(type(np.dtype(letter)) for letter in "?bBhHiIlLqQefd"),
    *map(_numpy_scalar, ("numpy.core.multiarray", "numpy._core.multiarray")),
]
"""Beside torch's own, what a pickle may name: losses and scores are often kept as NumPy's numbers."""


def _unpickled(path: Path) -> dict[str, Any]:
    try:
        # Not by its name, from which torch would conclude what it holds.
        with path.open("rb") as stream, torch.serialization.safe_globals(_NUMBERS):
            content = torch.load(stream, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        if foreign := re.search(r"Unsupported (?:global: GLOBAL|class) (\S+)", str(error)):
            message = "only tensors and plain values are read: save the network's state_dict alone"
            raise WeightsError(f"it holds {foreign[1]}, and {message}") from None
        raise WeightsError(f"cut short or damaged ({one_line(error)}): fetch it again") from None
    if not isinstance(content, Mapping):
        raise WeightsError(f"holds a {type(content).__name__}, not tensors by name: save the network's state_dict")
    return dict(content)


def _opened(
    content: Mapping[str, Any], path: tuple[str, ...], known: Callable[[State], bool]
) -> Iterator[tuple[tuple[str, ...], State]]:
    """Known networks among the tensors of `content` and in the mappings within."""
    named = {name: value for name, value in content.items() if isinstance(name, str)}
    tensors = {_WITHIN.sub("", name): value for name, value in named.items() if isinstance(value, Tensor)}
    yield from _alike(tensors, path, known)
    if len(path) < _DEEPEST:
        for name, value in named.items():
            if isinstance(value, Mapping):
                yield from _opened(value, (*path, name), known)


def _alike(
    tensors: State, path: tuple[str, ...], known: Callable[[State], bool]
) -> Iterator[tuple[tuple[str, ...], State]]:
    """Known networks among tensors: all of them together, or those whose names begin alike."""
    if tensors and known(tensors):
        yield path, tensors
        return
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        first, _, rest = name.partition(".")
        groups.setdefault(first, {})[rest] = tensor
    for first, group in groups.items():
        is_prefix = len(groups) == 1 or first in _PREFIXES or _AVERAGED.search(first)
        if is_prefix and "" not in group and len(path) < _DEEPEST:
            yield from _alike(group, (*path, first), known)


def _judged(path: tuple[str, ...], tensors: State, content: Mapping[str, Any]) -> Candidate:
    """The innermost name that tells raw weights from averaged ones decides."""
    says = next((name for name in reversed(path) if _AVERAGED.search(name) or _RAW.search(name)), "")
    averaged = bool(says) and not _RAW.search(says)
    if path and _averages_were_put_in_place(content):
        averaged = path[0] == "state_dict"
    return Candidate(".".join(path), tensors, averaged)


def _averages_were_put_in_place(content: Mapping[str, Any]) -> bool:
    """Lightning's averaging and mmengine's write the averages into `state_dict`, and the raw weights elsewhere.

    mmengine's elsewhere is `ema_state_dict`, of all names; the count of its steps tells it from others' averages.
    """
    elsewhere = content.get("ema_state_dict")
    return "current_model_state" in content or (isinstance(elsewhere, Mapping) and "steps" in elsewhere)


def _described(content: Mapping[str, Any]) -> str:
    """What there is, by name, where no network was found."""
    parts = []
    for name, value in content.items():
        first = str(name).partition(".")[0] + (".…" if "." in str(name) else "") if isinstance(value, Tensor) else name
        inner = [str(key) for key in value][:2] if isinstance(value, Mapping) else []
        parts.append(f"{first} ({', '.join(inner)}, …)" if inner else str(first))
    shown = list(dict.fromkeys(parts))
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return f"it holds {', '.join(shown[:_SHOWN])}{more}" if shown else "it is empty"
