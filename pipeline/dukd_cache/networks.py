"""SR networks: EDSR and the architectures of spandrel; built by name, loaded from and saved to weights files.

A weights file written here is an ordinary safetensors file whose metadata carry the network's settings as
JSON under the key `dukd`, as not every setting can be seen from the tensors.

Shapes: N images, H×W input sides, s scale.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from spandrel import (  # type: ignore[import-untyped]
    MAIN_REGISTRY,
    ArchId,
    ImageModelDescriptor,
    ModelDescriptor,
    ModelLoader,
    UnsupportedModelError,
)
from torch import Tensor, nn
from torch.nn.functional import pad

from dukd_cache import constructors, edsr
from dukd_cache.errors import DukdError, SettingError, WeightsError, unknown_name
from dukd_cache.files import write_atomically

SCALES = (2, 3, 4)
"""The SR factors that dukd knows."""

SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")
"""Weights files by name."""

_METADATA_KEY = "dukd"
_ONE_BY_ONE = ("SeemoRe",)
"""Architectures that in eval mode take only one image at a time."""

_DERIVED = ".eval_conv."
"""In the names of SPAN's merged convolutions, which each call in eval mode computes anew from the others."""

edsr.register()


@dataclass(frozen=True, eq=False)
class Network:
    """An SR network with what is needed to call, name and rebuild it."""

    descriptor: ImageModelDescriptor[nn.Module]
    """The module with what spandrel knows of it: scale, size requirements, how to call it."""
    architecture: str
    """A name of `architectures()`; spandrel's id where only its own detection can make the network."""
    settings: Mapping[str, Any]
    """Complete constructor settings, JSON-able; the scale is not among them."""
    metadata: Mapping[str, str]
    """What the weights file says of itself beside the settings; {} if nothing."""

    @property
    def scale(self) -> int:
        """SR factor: 2, 3 or 4."""
        return int(self.descriptor.scale)

    @property
    def module(self) -> nn.Module:
        """The bare network, which may refuse inputs of sides that `forward` pads."""
        module: nn.Module = self.descriptor.model
        return module

    @property
    def parameters_count(self) -> int:
        """Number of scalar parameters, trainable or not."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    def __call__(self, image_NCHW: Tensor) -> Tensor:
        """[N,3,H,W] float in [0,1] to [N,3,sH,sW] in [0,1], without gradients, for any H and W.

        Puts the module into eval mode and leaves it there.
        """
        self.module.eval()
        with torch.no_grad():
            return self.forward(image_NCHW).clamp(0, 1)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """[N,3,H,W] float in [0,1] to [N,3,sH,sW], not clamped, with gradients, in the module's current mode.

        Any H and W: padded right and below to the network's size requirements, the answer cropped back.
        """
        height, width = image_NCHW.shape[-2:]
        padded_NCHW = _pad(image_NCHW, *self.descriptor.size_requirements.get_padding(width, height))
        # Private, but the only way to call any network with gradients: some return more than the image.
        call = self.descriptor._call_fn
        if self.architecture in _ONE_BY_ONE and not self.module.training:
            answers = [call(self.module, padded_NCHW[n : n + 1]) for n in range(len(padded_NCHW))]
            answer_NCHW = torch.cat(answers)
        else:
            answer_NCHW = call(self.module, padded_NCHW)
        return answer_NCHW[..., : self.scale * height, : self.scale * width]

    def to(self, device: torch.device) -> "Network":
        """This network, its module moved (in place) to `device`."""
        self.module.to(device)
        return self

    def with_module(self, module: nn.Module) -> "Network":
        """The same network around another module of its kind, for example an averaged copy."""
        return replace(self, descriptor=_describe(module, self.descriptor))


def architectures() -> list[str]:
    """Names of all architectures that `build` takes, sorted. Not each of them can do each scale."""
    return sorted(constructors.constructors())


def build(architecture: str, scale: int, settings: Mapping[str, Any]) -> Network:
    """A randomly initialised network, in training mode; draws from torch's global generator.

    `settings` are the keywords of the architecture's own constructor, less the scale. Those left out get its
    defaults; where these make no SR network, 3 channels, upsampler `pixelshuffle`, window size 8 for 7.

    Raises:
        SettingError: an unknown architecture or setting, or values that make no RGB network of this scale.
    """
    known = constructors.constructors()
    name = next((name for name in known if name.lower() == architecture.lower()), None)
    if name is None:
        raise SettingError(unknown_name("architecture", architecture, known))
    if scale not in SCALES:
        raise SettingError(f"scale must be 2, 3 or 4, got {scale!r}")
    constructor = known[name][1]
    scale_keyword, defaults = constructors.scale_keyword(constructor), constructors.defaults(constructor)
    if scale_keyword in settings:
        raise SettingError(f"{name}: {scale_keyword!r} follows from the scale ({scale}); leave it out")
    for key in settings:
        if key not in defaults:
            raise SettingError(unknown_name(f"setting of {name}", str(key), defaults))
    chosen = defaults | dict(settings)
    for key, value in chosen.items():
        if value is constructors.REQUIRED:
            raise SettingError(f"{name}: setting {key!r} has no default; give it")
    network = _construct(name, *known[name], chosen | {scale_keyword: scale})
    if network.scale != scale and scale**2 % network.scale == 0:
        # With pixel unshuffle before the body, the constructor's scale is a multiple of the network's.
        network = _construct(name, *known[name], chosen | {scale_keyword: scale**2 // network.scale})
    if network.scale != scale:
        raise SettingError(f"{name}: scale {scale} expected, these settings make {network.scale}")
    if unfit := _unfit(network.descriptor):
        raise SettingError(f"{name}: {unfit}")
    _try_out(network)
    return network


def load(path: Path) -> Network:
    """The SR network in a weights file (`SUFFIXES`), on the CPU, in training mode.

    A pickled file may hold tensors only; anything else in it is refused, not run. `params_ema` is taken
    before `params`. Settings that tensors cannot show are spandrel's guess, unless `save` wrote the file.

    Raises:
        WeightsError: unreadable, no RGB network of scale 2, 3 or 4, or metadata that do not fit the tensors.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: {'a folder, not a weights file' if path.is_dir() else 'no such file'}")
    if path.suffix.lower() not in SUFFIXES:
        raise WeightsError(f"{path}: weights files end in {', '.join(SUFFIXES)}, found {path.suffix!r}")
    try:
        with torch.random.fork_rng(devices=[]):  # a module is initialised randomly before it gets its tensors
            return _load(path)
    except UnsupportedModelError:
        raise WeightsError(f"{path}: its tensors fit no architecture that spandrel knows, nor EDSR") from None
    except DukdError as error:
        raise WeightsError(f"{path}: {error}") from None
    except Exception as error:  # a foreign file can fail in any way while it is unpickled and matched
        raise WeightsError(f"{path}: not the weights of a network ({_one_line(error)})") from error


def save(network: Network, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all; `metadata` joins the settings in its header.

    Plain spandrel reads it, too, as far as its detection covers the architecture (with EDSR registered).
    """
    header = dict(metadata)
    if network.architecture in constructors.constructors():
        recipe = {
            "architecture": network.architecture,
            "scale": network.scale,
            "settings": dict(network.settings),
        }
        header[_METADATA_KEY] = json.dumps(recipe)
    tensors = {  # clones, as safetensors refuses tensors that share memory
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.module.state_dict().items()
    }
    write_atomically(path, to_bytes(tensors, metadata=header))


def fingerprint(network: Network) -> str:
    """SHA-256 (hex) over architecture, scale, settings and every tensor: name, dtype, shape, bytes.

    One set of weights has one fingerprint: from .pth as from .safetensors, on any device, also after calls.
    """
    identity = [network.architecture, network.scale, _plain_numbers(network.settings)]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
    for name, tensor in sorted(network.module.state_dict().items()):
        if _DERIVED not in name:
            digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _load(path: Path) -> Network:
    header: dict[str, str] = {}
    if path.suffix.lower() == ".safetensors":
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    recipe = header.pop(_METADATA_KEY, None)
    network = _detect(path) if recipe is None else _rebuild(recipe, load_file(path))
    return replace(network, metadata=header)


def _detect(path: Path) -> Network:
    """The network that spandrel recognises by its tensors, through its restricted unpickler."""
    with warnings.catch_warnings():
        # spandrel first tries to read .pt as TorchScript, of which torch warns.
        warnings.filterwarnings("ignore", "`torch.jit", FutureWarning)
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        descriptor = ModelLoader().load_from_file(path)
    if unfit := _unfit(descriptor):
        raise WeightsError(f"{descriptor.architecture.name}: {unfit}")
    names = {constructor: name for name, (_, constructor) in constructors.constructors().items()}
    name = names.get(type(descriptor.model), str(descriptor.architecture.id))
    return Network(descriptor, name, constructors.settings_of(descriptor.model), {})


def _rebuild(recipe: str, tensors: Mapping[str, Tensor]) -> Network:
    """The network that a file's metadata describe, with its tensors."""
    try:
        parsed = json.loads(recipe)
        network = build(str(parsed["architecture"]), parsed["scale"], dict(parsed["settings"]))
    except SettingError as error:
        raise WeightsError(f"its metadata describe no network: {error}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"its metadata under {_METADATA_KEY!r} are damaged ({_one_line(error)})") from None
    try:
        network.module.load_state_dict(tensors)
    except RuntimeError as error:
        raise WeightsError(f"its tensors do not fit its metadata ({_one_line(error)})") from None
    return network


def _construct(name: str, arch_id: ArchId, constructor: type[nn.Module], keywords: Mapping[str, Any]) -> Network:
    """A network with exactly these keywords; what spandrel makes of its tensors supplies the rest."""
    try:
        module = constructor(**keywords)
        with torch.random.fork_rng(devices=[]):  # spandrel's own copy must not shift the random numbers
            alike = MAIN_REGISTRY[arch_id].architecture.load(dict(module.state_dict()))
        return Network(_describe(module, alike), name, constructors.settings_of(module), {})
    except Exception as error:  # wrong values can fail in any way
        raise SettingError(f"{name} cannot be built with these settings ({_one_line(error)})") from error


def _try_out(network: Network) -> None:
    """Refuse settings that fail only when the network is called, or that make another scale than it claims."""
    side = 8
    try:
        shape = tuple(network(torch.zeros(1, 3, side, side)).shape)
    except Exception as error:  # wrong values can fail in any way
        message = f"{network.architecture} cannot be called with these settings ({_one_line(error)})"
        raise SettingError(message) from error
    if shape != (1, 3, network.scale * side, network.scale * side):
        message = f"{network.architecture}: these settings turn {side}×{side} pixels into shape {shape}"
        raise SettingError(f"{message}, which is not scale {network.scale}")
    network.module.train()


def _unfit(descriptor: ModelDescriptor) -> str | None:
    """Why a network cannot serve as an SR network for RGB images; None if it can."""
    if not isinstance(descriptor, ImageModelDescriptor) or descriptor.purpose not in ("SR", "Restoration"):
        return f"an SR network expected, found one for {descriptor.purpose}"
    if descriptor.scale not in SCALES:
        return f"scale 2, 3 or 4 expected, found {descriptor.scale}"
    channels = (descriptor.input_channels, descriptor.output_channels)
    return f"3 channels in and out expected, found {channels}" if channels != (3, 3) else None


def _describe(module: nn.Module, like: ImageModelDescriptor[nn.Module]) -> ImageModelDescriptor[nn.Module]:
    """`module` with another descriptor's properties, whose own module may be of other settings."""
    return ImageModelDescriptor(
        module,
        module.state_dict(),
        like.architecture,
        like.purpose,
        like.tags,
        supports_half=like.supports_half,
        supports_bfloat16=like.supports_bfloat16,
        scale=like.scale,
        input_channels=like.input_channels,
        output_channels=like.output_channels,
        size_requirements=like.size_requirements,
        tiling=like.tiling,
        call_fn=like._call_fn,
    )


def _plain_numbers(value: Any) -> Any:
    """`value` with whole floats as integers, so that 2 and 2.0 are one setting."""
    if isinstance(value, Mapping):
        return {key: _plain_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _pad(image_NCHW: Tensor, right: int, below: int) -> Tensor:
    """A copy, padded: mirrored as far as that goes, then the border repeated (as spandrel's descriptor does)."""
    if not right and not below:
        return image_NCHW.clone()  # some networks (RCAN) overwrite their input
    height, width = image_NCHW.shape[-2:]
    mirrored_right, mirrored_below = min(right, width - 1), min(below, height - 1)
    mirrored = pad(image_NCHW, (0, mirrored_right, 0, mirrored_below), mode="reflect")
    return pad(mirrored, (0, right - mirrored_right, 0, below - mirrored_below), mode="replicate")


def _one_line(error: Exception) -> str:
    """Another library's error as one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
