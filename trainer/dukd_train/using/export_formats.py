"""The formats of `dukd-train export`: a network → the bytes of a file → a function that answers as the file does.

Each keeps facts about the network (text by name): in ONNX's `metadata_props`, in a `dukd.json` among the extra files of
torch's two formats, in the header of safetensors, beside the weights in .pth.

Shapes: N images, H×W input sides, s scale.
"""

import io
import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from dukd_cache import networks
from dukd_cache.networks import Network
from dukd_cache.networks.elsewhere import NAMES
from dukd_cache.networks.rcan import basicsr_names
from dukd_cache.system.errors import SettingError
from dukd_cache.system.extras import needs
from dukd_train.using.portable import Portable, settled

if TYPE_CHECKING:
    import onnx

FormatName = Literal["onnx", "torchscript", "pt2", "safetensors", "pth", "basicsr"]

Forward = Callable[[Tensor], Tensor]
"""[N,3,H,W] float32 in [0,1] → [N,3,sH,sW] in [0,1]."""

FACTS_FILE = "dukd.json"

_EXAMPLE = (2, 3, 34, 46)
"""What the exporters follow on its way through a network: no side is 0 or 1, or a multiple of a usual window."""

_AXES = {0: "batch", 2: "height", 3: "width"}


@dataclass(frozen=True)
class Format:
    """One of them."""

    suffix: str
    written: Callable[[Network, Mapping[str, str]], bytes]
    """The file's content, from a network and facts about it. Fails in whatever way the exporter does."""
    read: Callable[[bytes], Forward]
    """As the software that the format is for runs it, on the CPU."""


def _onnx_written(network: Network, facts: Mapping[str, str]) -> bytes:
    _need_onnx()
    program = torch.onnx.export(
        _traced_for_all_sizes(network), dynamo=True, input_names=["image"], output_names=["upscaled"], verbose=False
    )
    assert program is not None
    model = program.model_proto
    _name_axes(model.graph)
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value)
    content: bytes = model.SerializeToString()
    return content


def _onnx_read(content: bytes) -> Forward:
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def answer(image_NCHW: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"image": image_NCHW.numpy()})[0])

    return answer


def _torchscript_written(network: Network, facts: Mapping[str, str]) -> bytes:
    content = io.BytesIO()
    with torch.no_grad():
        traced = torch.jit.trace(Portable(network), torch.rand(_EXAMPLE), check_trace=False)  # type: ignore[no-untyped-call]
    torch.jit.save(traced, content, _extra_files={FACTS_FILE: json.dumps(facts)})
    return content.getvalue()


def _torchscript_read(content: bytes) -> Forward:
    module: Forward = torch.jit.load(io.BytesIO(content), map_location="cpu")  # type: ignore[no-untyped-call]
    return module


def _pt2_written(network: Network, facts: Mapping[str, str]) -> bytes:
    content = io.BytesIO()
    torch.export.save(_traced_for_all_sizes(network), content, extra_files={FACTS_FILE: json.dumps(facts)})
    return content.getvalue()


def _pt2_read(content: bytes) -> Forward:
    module: Forward = torch.export.load(io.BytesIO(content)).module()
    return module


def _safetensors_written(network: Network, _facts: Mapping[str, str]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        networks.save(network, path, network.metadata)
        return path.read_bytes()


def _pth_written(network: Network, facts: Mapping[str, str]) -> bytes:
    """As BasicSR and its kin save a network, under the key that all of them look for."""
    return _params(settled(network).state_dict(), facts)


def _basicsr_written(network: Network, facts: Mapping[str, str]) -> bytes:
    """The same, with the names of BasicSR's own architectures: RCAN's are not those that all others have."""
    known = NAMES["BasicSR"]
    if network.architecture not in known:
        raise SettingError(f"BasicSR has {', '.join(known)} only, not {network.architecture}", cure="try `to=pth`")
    tensors = settled(network).state_dict()
    return _params(basicsr_names(tensors) if network.architecture == "RCAN" else tensors, facts)


def _params(tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> bytes:
    content = io.BytesIO()
    torch.save({"params": {name: tensor.clone() for name, tensor in tensors.items()}, "dukd": dict(facts)}, content)
    return content.getvalue()


def _weights_read(content: bytes) -> Forward:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights"
        path.write_bytes(content)
        return networks.load(path)


FORMATS: Mapping[FormatName, Format] = {
    "onnx": Format(".onnx", _onnx_written, _onnx_read),
    "torchscript": Format(".torchscript.pt", _torchscript_written, _torchscript_read),
    "pt2": Format(".pt2", _pt2_written, _pt2_read),
    "safetensors": Format(".safetensors", _safetensors_written, _weights_read),
    "pth": Format(".pth", _pth_written, _weights_read),
    "basicsr": Format(".basicsr.pth", _basicsr_written, _weights_read),
}


def _traced_for_all_sizes(network: Network) -> torch.export.ExportedProgram:
    """Its graph, whatever the batch, height and width are."""
    axes = dict.fromkeys(_AXES, torch.export.Dim.DYNAMIC)
    return torch.export.export(Portable(network), (torch.rand(_EXAMPLE),), dynamic_shapes=(axes,))


def _name_axes(graph: "onnx.GraphProto") -> None:
    """`batch`, `height` and `width` in place of torch's symbols (`s77`): other software shows these names."""
    sides = graph.input[0].type.tensor_type.shape.dim
    names = {sides[axis].dim_param: name for axis, name in _AXES.items()}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for side in value.type.tensor_type.shape.dim:
            if side.dim_param:
                side.dim_param = re.sub(r"\w+", lambda word: names.get(word[0], word[0]), side.dim_param)


def _need_onnx() -> None:
    for library in ("onnx", "onnxscript", "onnxruntime"):
        try:
            import_module(library)
        except ModuleNotFoundError as error:
            raise SettingError(needs(library), "export to onnx") from error
