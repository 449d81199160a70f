import pytest
import torch

from dukd_cache.networks.devices import choose_device
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
