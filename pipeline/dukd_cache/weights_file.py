"""Weights files: tensors by name with what a file says of them, whoever wrote it.

SR programs wrap a network's tensors: in `params_ema` and `params` (BasicSR, neosr, traiNNer-redux), in `state_dict`
with the attribute's name before each (Lightning), in `module.` (several GPUs) or `_orig_mod.` (compiled).
"""

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from spandrel import ModelLoader, canonicalize_state_dict  # type: ignore[import-untyped]
from torch import Tensor

from dukd_cache.errors import WeightsError
from dukd_cache.files import write_atomically

SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")
"""Weights files by name."""

State = Mapping[str, Tensor]

_PREFIXES = ("params_ema.", "params.", "_orig_mod.", "module.", "model.", "net_g.", "net.", "network.", "generator.")
"""What a program may write before each name of the network's, those to try first at the front."""


def read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """What is in a file, on the CPU (tensors, maybe within wrappers), and its metadata ({} if there are none).

    A pickled file may hold tensors and plain values; anything else in it is refused, not run.

    Raises:
        WeightsError: no such file, another kind of file, or one that holds more than tensors.
        Exception: whatever a damaged file causes.
    """
    if not path.is_file():
        raise WeightsError(f"{'a folder, not a weights file' if path.is_dir() else 'no such file'}")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise WeightsError(f"weights files end in {', '.join(SUFFIXES)}, found {path.suffix!r}")
    if suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
        return load_file(path), metadata
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True)), {}
    except (RuntimeError, pickle.UnpicklingError) as error:
        if foreign := re.search(r"Unsupported (?:global: GLOBAL|class) (\S+)", str(error)):
            message = "only tensors and plain values are read: save the network's state_dict alone"
            raise WeightsError(f"it holds {foreign[1]}, and {message}") from None
        if suffix != ".pt":
            raise
    with warnings.catch_warnings():  # a TorchScript file, of which torch warns
        warnings.filterwarnings("ignore", "`torch.jit", FutureWarning)
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        return ModelLoader().load_state_dict_from_file(path), {}


def states(content: Mapping[str, Any]) -> Iterator[State]:
    """What of a file's content may be a network's tensors, likeliest first: as they are, then without prefixes."""
    state = canonicalize_state_dict(content)
    yield state
    for prefix in _PREFIXES:
        inner = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        if inner:
            yield from states(inner)


def write(path: Path, tensors: State, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all."""
    apart = {  # clones, as safetensors refuses tensors that share memory
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    write_atomically(path, to_bytes(apart, metadata=dict(metadata)))
