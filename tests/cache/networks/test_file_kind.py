"""What a file is, whatever it is called: each is named in one line, with what to do."""

import gzip
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dukd_cache import networks
from dukd_cache.networks.file_kind import container
from dukd_cache.system.errors import WeightsError

STATE = {"conv.weight": torch.ones(50, 50)}
FROM = "give the weights (.pth or .safetensors) that it was made from"
UNPACK = "unpack it and give the weights file in it"

Make = Callable[[Path], object]


def of(content: bytes) -> Make:
    return lambda path: path.write_bytes(content)


def cut(make: Make, keep: float) -> Make:
    def made(path: Path) -> None:
        make(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * keep)])

    return made


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net.pth", b"x")


def tarred(path: Path) -> None:
    (path.parent / "other").write_bytes(b"x")
    with tarfile.open(path, "w") as archive:
        archive.add(path.parent / "other", "net.pth")


def exported(path: Path) -> None:
    torch.export.save(torch.export.export(torch.nn.ReLU(), (torch.ones(2),)), path)


def safetensors(path: Path) -> None:
    save_file(STATE, path)


def saved(path: Path) -> None:
    torch.save(STATE, path)


def saved_long_ago(path: Path) -> None:
    torch.save(STATE, path, _use_new_zipfile_serialization=False)


OTHERS: dict[str, tuple[Make, str]] = {
    "empty": (of(b""), "an empty file: fetch it again"),
    "git-LFS": (
        of(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
        "a git-LFS pointer, not the file itself: `git lfs pull` fetches that",
    ),
    "a page": (of(b"\n<!DOCTYPE html>\n<html lang=en>"), "a web page, not the weights: fetch the file by its download"),
    "a page without a type": (of(b"<HTML><head>"), "a web page, not the weights: fetch the file by its download link"),
    "a store's refusal": (of(b'<?xml version="1.0"?><Error><Code>AccessDenied'), "XML text, not the weights: often"),
    "JSON": (of(json.dumps({"error": 404}).encode()), "JSON text, not the weights ('{\"error\": 404}'"),
    "text": (of(b"epoch 3\nloss 0.1\n"), "text, not the weights ('epoch 3'): give the weights"),
    "long text": (of("π is a number. ".encode() * 99), "text, not the weights ('π is a number. "),
    "ONNX": (of(b"\x08\x0a\x12\x07pytorch\x1a\x062.14.1" + bytes(range(256))), f"an ONNX file: {FROM}"),
    "ncnn param": (of(b"7767517\n3 3\nInput data 0 1 data\n"), f"an ncnn model's .param: {FROM}"),
    "ncnn bin, half": (of(b"\x47\x6b\x30\x01" + bytes(range(200))), f"an ncnn model's .bin: {FROM}"),
    "an archive": (of(gzip.compress(b"x")), f"a gzip archive: {UNPACK}"),
    "a tar": (tarred, f"a tar archive: {UNPACK}"),
    "a zip": (zipped, f"a zip archive of other files (net.pth): {UNPACK}"),
    "arrays": (lambda path: np.savez(path.open("wb"), a=np.ones(3)), "NumPy arrays (.npz): only PyTorch's weights"),
    "an array": (lambda path: np.save(path.open("wb"), np.ones(3)), "a NumPy array: only PyTorch's weights are read"),
    "a pickle": (of(pickle.dumps({"a": 1})), "a pickle that torch.save did not write: save the network's state_dict"),
    "a program": (exported, f"a program that torch.export wrote: {FROM}"),
    "an image": (of(b"\x89PNG\r\n\x1a\n"), "an image: give the weights (.pth or .safetensors) of a network"),
    "HDF5": (of(b"\x89HDF\r\n\x1a\n"), "an HDF5 file (of Keras or MATLAB): only PyTorch's weights are read"),
    "noise": (of(bytes(range(200, 256)) * 9), "not the weights of a network: neither safetensors nor written by torch"),
    "cut safetensors": (cut(safetensors, 0.5), "safetensors cut short: "),
    "cut header": (cut(safetensors, 0.005), "safetensors cut short: 50 bytes, its header alone has "),
    "damaged header": (of((40).to_bytes(8, "little") + b"{" * 200), "safetensors with a damaged header: fetch"),
    "header of brackets": (
        of((100_001).to_bytes(8, "little") + b"{" + b"[" * 100_100),
        "safetensors with a damaged header: fetch it again",
    ),
    "cut zip": (cut(saved, 0.5), "a zip file that is cut short or damaged ("),
    "cut, long ago": (cut(saved_long_ago, 0.9), "cut short or damaged ("),
    "cut early, long ago": (cut(saved_long_ago, 0.01), "cut short or damaged ("),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_weights_file_is_said_to_be_what_it_is(kind: str, suffix: str, tmp_path: Path) -> None:
    make, line = OTHERS[kind]
    path = tmp_path / f"net{suffix}"
    make(path)
    with pytest.raises(WeightsError) as caught:
        networks.load(path)
    assert str(caught.value).startswith(f"{path}: {line}")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 250


def test_ncnns_bin_has_no_mark_but_a_neighbour(tmp_path: Path) -> None:
    (tmp_path / "net.param").write_bytes(b"7767517\n")
    (tmp_path / "net.bin").write_bytes(b"\x00\x00\x00\x00" + bytes(range(200)))
    with pytest.raises(WeightsError, match=r"net\.bin: an ncnn model's \.bin"):
        networks.load(tmp_path / "net.bin")


@pytest.mark.parametrize(
    ("make", "kind"), [(safetensors, "safetensors"), (saved, "pickle"), (saved_long_ago, "pickle")]
)
def test_weights_are_known_by_any_name(make: Make, kind: str, tmp_path: Path) -> None:
    make(tmp_path / "net.jpeg")
    assert container(tmp_path / "net.jpeg") == kind
