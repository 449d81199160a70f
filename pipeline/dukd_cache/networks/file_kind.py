"""What a file is, by its first bytes: weights in one of three containers, a program, or what was taken for weights.

Names say little: safetensors are called .pth, a page of a web site keeps the name of the file it is about, and git-LFS
leaves a pointer under the file's own name.
"""

import json
import re
import zipfile
from pathlib import Path
from typing import Literal

from dukd_cache.system.errors import WeightsError

Container = Literal["safetensors", "pickle", "torchscript", "pt2", "onnx"]
"""pickle: what `torch.save` writes, as a zip file or, before torch 1.6, without one. pt2: what `torch.export` writes.
pt2 and onnx are programs, from which no tensors are read; torchscript is both."""

_HEAD = 512
"""Bytes that tell one kind from another."""

_WEIGHTS = "give the weights (.pth or .safetensors)"
_FROM = f"{_WEIGHTS} that it was made from"
_FETCH = "fetch it again"
_UNPACK = "unpack it and give the weights file in it"

_OTHERS: dict[bytes, str] = {
    b"version https://git-lfs.github.com": "a git-LFS pointer, not the file itself: `git lfs pull` fetches that",
    b"7767517\n": f"an ncnn model's .param: {_FROM}",
    b"\xdd\x85\x76\x00": f"an ncnn model's .param.bin: {_FROM}",
    b"\x47\x6b\x30\x01": f"an ncnn model's .bin: {_FROM}",
    b"ftrt": f"a TensorRT engine: {_FROM}",
    b"ptrt": f"a TensorRT engine: {_FROM}",
    b"\x89HDF": "an HDF5 file (of Keras or MATLAB): only PyTorch's weights are read",
    b"MATLAB 5.0": "a MATLAB file: only PyTorch's weights are read",
    b"\x93NUMPY": "a NumPy array: only PyTorch's weights are read",
    b"GGUF": f"a GGUF file: {_FROM}",
    b"\x1f\x8b": f"a gzip archive: {_UNPACK}",
    b"7z\xbc\xaf\x27\x1c": f"a 7z archive: {_UNPACK}",
    b"Rar!": f"a RAR archive: {_UNPACK}",
    b"\xfd7zXZ": f"an xz archive: {_UNPACK}",
    b"\x28\xb5\x2f\xfd": f"a zstd archive: {_UNPACK}",
    b"\x89PNG": f"an image: {_WEIGHTS} of a network",
    b"\xff\xd8\xff": f"an image: {_WEIGHTS} of a network",
}
"""By how they begin: what they are, and what to do."""

_ONNX = re.compile(rb"\x08[\x01-\x1f][\x12\x1a\x22\x28\x3a]")
"""The version of its format, then who wrote it, or the model."""

_LEGACY = b"l\xfc\x9cF\xf9 j\xa8P\x19"
"""The number that torch.save wrote first before torch 1.6."""


def container(path: Path) -> Container:
    """How the weights in `path`, an existing file, are kept, or which program it is.

    Raises:
        WeightsError: they are cut short, or it is something else, which is named with what to do.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    if not head:
        raise WeightsError(f"an empty file: {_FETCH}")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**31:
        _refuse_cut_safetensors(path, size)
        return "safetensors"
    if head.startswith(b"PK\x03\x04"):
        return _in_zip(path, size)
    if head[:1] == b"\x80" and _LEGACY in head[:32]:
        return "pickle"
    if _ONNX.match(head):
        return "onnx"
    raise WeightsError(_other(path, head))


def refusal(kind: Literal["pt2", "onnx"]) -> str:
    """Of a program, where only weights will do."""
    what = {"pt2": "a program that torch.export wrote", "onnx": "an ONNX file"}[kind]
    return f"{what}: {_FROM}"


def _refuse_cut_safetensors(path: Path, size: int) -> None:
    with path.open("rb") as stream:
        header = 8 + int.from_bytes(stream.read(8), "little")
        if header > size:
            raise WeightsError(f"safetensors cut short: {size} bytes, its header alone has {header}: {_FETCH}")
        try:
            tensors = json.loads(stream.read(header - 8))
            ends = [entry["data_offsets"][1] for name, entry in tensors.items() if name != "__metadata__"]
            expected = header + max(ends, default=0)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            raise WeightsError(f"safetensors with a damaged header: {_FETCH}") from None
    if size < expected:
        raise WeightsError(f"safetensors cut short: {size} of {expected} bytes: {_FETCH}")
    if size > expected:
        raise WeightsError(f"damaged safetensors: {size} bytes, its header says {expected}: {_FETCH}")


def _in_zip(path: Path, size: int) -> Container:
    """What torch writes has a folder with data.pkl, TorchScript also constants.pkl."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise WeightsError(f"a zip file that is cut short or damaged ({size} bytes): {_FETCH}") from None
    files = {name.partition("/")[2] for name in names}
    if "constants.pkl" in files:
        return "torchscript"
    if "data.pkl" in files:
        return "pickle"
    if "archive_format" in files or "serialized_exported_program.json" in names:
        return "pt2"
    if all(name.endswith(".npy") for name in names):
        raise WeightsError("NumPy arrays (.npz): only PyTorch's weights are read")
    raise WeightsError(f"a zip archive of other files ({_few(names)}): {_UNPACK}")


def _other(path: Path, head: bytes) -> str:
    """What a file is that holds no weights."""
    for begin, what in _OTHERS.items():
        if head.startswith(begin):
            return what
    if head[257:262] == b"ustar":
        return f"a tar archive: {_UNPACK}"
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model: only PyTorch's weights are read"
    if path.suffix.lower() == ".bin" and path.with_suffix(".param").is_file():
        return f"an ncnn model's .bin: {_FROM}"
    if head[0] == 0x80 and head[1] in range(2, 6):
        return "a pickle that torch.save did not write: save the network's state_dict with torch.save"
    return _text(head) or "not the weights of a network: neither safetensors nor written by torch.save"


def _text(head: bytes) -> str | None:
    """What a text is; None for what is none."""
    try:
        text = head.decode("utf-8", "strict" if len(head) < _HEAD else "ignore").lstrip("\ufeff \t\r\n")
    except UnicodeDecodeError:
        return None
    if not text.isprintable() and not all(letter.isprintable() or letter.isspace() for letter in text):
        return None
    begin = text[:15].lower()
    if begin.startswith(("<!doctype html", "<html", "<head", "<!-")):
        return "a web page, not the weights: fetch the file by its download link (a page's own address gives the page)"
    if begin.startswith("<"):
        return "XML text, not the weights: often a server's refusal; fetch the file again and look at it"
    if begin.startswith(("{", "[")):
        return f"JSON text, not the weights ({text[:40].strip()!r}…): {_WEIGHTS}"
    line = text.splitlines()[0] if text else ""
    return f"text, not the weights ({line[:40]!r}{'…' * (len(line) > 40)}): {_WEIGHTS}"


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + ("…" if len(names) > 3 else "")
