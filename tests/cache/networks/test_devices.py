import pytest
import torch

from dukd_cache.networks.devices import choose_device, has_bf16
from dukd_cache.system.errors import SettingError


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == choose_device("cpu").type == "cpu"
    with pytest.raises(SettingError, match="device cuda: torch finds no GPU here"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == choose_device("cuda").type == "cuda"
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(SettingError, match="device 'gpu': expected auto, cpu or cuda"):
        choose_device("gpu")


def test_whether_a_device_computes_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for capabilities in ({"amx_bf16": True}, {"avx512_bf16": True}, {"bf16": True}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda told=capabilities: told, raising=False)
        assert has_bf16(cpu) is True
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": False}, raising=False)
    assert has_bf16(cpu) is False
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # as in older PyTorch
    assert has_bf16(cpu) is None
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: including_emulation)
    assert has_bf16(torch.device("cuda")) is False
