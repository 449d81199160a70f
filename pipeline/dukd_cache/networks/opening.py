"""Programs, opened as their own software opens them, and the user's own code.

Shapes: N images, H×W input sides, s scale.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dukd_cache.networks import code
from dukd_cache.system.errors import SettingError, WeightsError, one_line
from dukd_cache.system.extras import needs

_FACTS = "dukd.json"
"""Among the extra files of what `dukd-train export` writes with torch: what it says of itself."""

_EXTERNAL = re.compile(rb"\n\x08location\x12(.)", re.DOTALL)
"""Where an ONNX model names a file beside it that holds tensors: the length of the name, then the name."""


@dataclass(frozen=True)
class Opened:
    """A program as its own software opens it."""

    kind: str
    """What stands for an architecture: `TorchScript`, `pt2`, `ONNX`, `python`."""
    ask: Callable[[Tensor], Any]
    identity: Mapping[str, str]
    """What tells it from others: the sha256 of its file, say."""
    module: nn.Module | None = None
    """What of it can be moved to a device."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What its file says of itself."""
    fixed: bool = False
    """It computes in what it was written in."""


def torchscript(path: Path) -> Opened:
    """A module of TorchScript, asked without the rewriting that makes a second answer differ from the first.

    Raises:
        WeightsError: it cannot be opened.
    """
    extra = {_FACTS: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            module = torch.jit.load(path, map_location="cpu", _extra_files=extra).eval()  # type: ignore[no-untyped-call]
            optimized = torch.jit.optimized_execution  # type: ignore[attr-defined]
        except RuntimeError as error:
            raise WeightsError(f"TorchScript that cannot be opened ({words(error)})") from error

    def ask(image_NCHW: Tensor) -> Any:
        with optimized(False):  # what is fused later would answer otherwise
            return module(image_NCHW)

    return Opened("TorchScript", ask, {"sha256": _sha256(path)}, module, _facts(extra))


def pt2(path: Path) -> Opened:
    """What `torch.export` wrote.

    Raises:
        WeightsError: it cannot be opened.
    """
    extra = {_FACTS: ""}
    try:
        with path.open("rb") as stream:  # not by its name, of which torch would want that it ends in .pt2
            module = torch.export.load(stream, extra_files=extra).module()
    except Exception as error:  # a damaged file, or one of another version, can fail in any way
        raise WeightsError(f"a program of torch.export that cannot be opened ({words(error)})") from error
    return Opened("pt2", module, {"sha256": _sha256(path)}, module, _facts(extra), fixed=True)


def onnx(path: Path) -> Opened:
    """An ONNX model of one input, the image, in ONNX Runtime on the device that an input lies on.

    Raises:
        WeightsError: it cannot be opened, or takes more.
        SettingError: ONNX Runtime is not installed.
    """
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise SettingError(needs("onnxruntime"), path) from error

    def opened(device: str) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = torch.get_num_threads()
        options.use_deterministic_compute = True
        providers: list[Any] = ["CPUExecutionProvider"]
        if device == "cuda":
            if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
                reason = "the installed onnxruntime knows no GPU"
                raise SettingError(reason, path, cure="give `device=cpu`, or install onnxruntime-gpu")
            exactly = {"use_tf32": "0", "cudnn_conv_algo_search": "DEFAULT"}
            providers.insert(0, ("CUDAExecutionProvider", exactly))
        try:
            return onnxruntime.InferenceSession(path, options, providers=providers)
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise WeightsError(f"an ONNX file that cannot be opened ({words(error)})") from error

    sessions = {"cpu": opened("cpu")}
    asked, *more = sessions["cpu"].get_inputs()
    if more:
        raise WeightsError(f"an ONNX file of {1 + len(more)} inputs, expected one: the image")
    dtype = torch.float16 if asked.type == "tensor(float16)" else torch.float32

    def ask(image_NCHW: Tensor) -> Any:
        device = image_NCHW.device.type
        session = sessions.get(device) or sessions.setdefault(device, opened(device))
        answers = session.run(None, {asked.name: image_NCHW.to("cpu", dtype).contiguous().numpy()})
        return torch.from_numpy(answers[0]).to(image_NCHW.device, torch.float32)

    facts = dict(sessions["cpu"].get_modelmeta().custom_metadata_map)
    return Opened("ONNX", ask, {"sha256": _sha256(path, *_beside(path))}, None, facts, fixed=True)


def own_code(file: Path, function: str) -> Opened:
    """The user's own; raises what `code.load` does."""
    found = code.load(file, function)
    identity = {"sha256": _sha256(*found.files), "function": function}
    return Opened("python", found.answers, identity, found.module)


def _beside(path: Path) -> list[Path]:
    """Files in which an ONNX model keeps its tensors."""
    content = path.read_bytes()
    ends = [(found.end(), found[1][0]) for found in _EXTERNAL.finditer(content)]
    return [path.parent / name for name in sorted({content[at : at + length].decode() for at, length in ends})]


def _sha256(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _facts(extra: Mapping[str, str | bytes]) -> dict[str, str]:
    try:
        return {str(name): str(value) for name, value in json.loads(extra[_FACTS] or "{}").items()}
    except (ValueError, AttributeError):
        return {}


def words(error: Exception) -> str:
    """A program's own words: TorchScript's are the last of many lines."""
    lines = [line for line in str(error).splitlines() if re.match(r"\s*(\w+\.)*\w*(Error|Exception): ", line)]
    return one_line(RuntimeError(lines[-1].strip())) if lines else one_line(error)
