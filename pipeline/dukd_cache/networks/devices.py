"""Which device to compute on, in which precision, and compiled or not."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from dukd_cache.settings.choices import Precision
from dukd_cache.system.errors import SettingError

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""What autocast computes in, by precision; fp32 needs none."""

_BF16_OF_CPUS = ("avx512_bf16", "amx_bf16", "bf16")
"""Instructions, as PyTorch calls them: x86's two, and ARM's."""


def choose_device(name: str) -> torch.device:
    """`cpu`, `cuda`, or `auto`: the GPU where there is one.

    Raises:
        SettingError: `cuda` was asked for and there is none, or the name is another.
    """
    available = torch.cuda.is_available()
    if name not in ("auto", "cpu", "cuda"):
        raise SettingError("expected auto, cpu or cuda", f"device {name!r}")
    if name == "cuda" and not available:
        raise SettingError("torch finds no GPU here (use auto or cpu)", "device cuda")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def kind_of(device: torch.device) -> str:
    """What rounds alike: `cpu AVX2 with 2 threads`, as sums are shared out among them; `NVIDIA H100 80GB HBM3`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"cpu {torch.backends.cpu.get_cpu_capability()} with {threads} thread{'s' * (threads > 1)}"


def has_bf16(device: torch.device) -> bool | None:
    """Whether `device` has instructions for bf16; without them it is slower than fp32. None: PyTorch does not tell."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    tell = getattr(torch.cpu, "get_capabilities", None)  # of newer PyTorch
    return any(tell().get(name) for name in _BF16_OF_CPUS) if tell else None


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Networks called in the block compute in `precision`, which `check_precision` allows."""
    return nullcontext() if precision == "fp32" else torch.autocast(device.type, AUTOCAST[precision])


def check_precision(device: torch.device, precision: Precision) -> None:
    """Refuse what `device` cannot compute in.

    Raises:
        SettingError: fp16 on a CPU.
    """
    if precision == "fp16" and device.type == "cpu":
        raise SettingError("a CPU computes in fp32 or bf16", "`precision=fp16`")


def compile_in_place(module: nn.Module, device: torch.device) -> None:
    """Compile what calls of `module` do; the module and the names of its tensors stay what they are.

    Raises:
        SettingError: nothing can be compiled here.
    """
    try:
        torch.compile(lambda value: value + 1)(torch.zeros(2, device=device))
    except Exception as error:  # whatever is missing, it shows in some error of torch's compiler
        why = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise SettingError(
            f"torch.compile does not work here ({why})", "compile", cure="install a C++ compiler, or do not ask for it"
        ) from error
    module.compile(dynamic=False)  # there are few sizes of inputs: each is compiled on its own
