"""A compiled student is trained alike; where nothing can be compiled, one line says so."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dukd_cache.system.errors import SettingError
from dukd_train.core.run import run
from dukd_train.settings import TrainConfig

Settings = Callable[..., TrainConfig]


def totals(out: Path) -> list[float]:
    with (out / "curve.csv").open(newline="") as stream:
        return [float(row["total"]) for row in csv.DictReader(stream)]


@pytest.mark.slow
def test_a_compiled_student_is_trained_alike(settings_of: Settings, tmp_path: Path) -> None:
    run(settings_of(), tmp_path / "plain")
    run(settings_of(compile=True), tmp_path / "compiled")
    assert totals(tmp_path / "compiled") == pytest.approx(totals(tmp_path / "plain"), abs=5e-6)
    tensors, expected = (load_file(tmp_path / name / "student.safetensors") for name in ("compiled", "plain"))
    assert tensors.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(tensors[name], value, rtol=0, atol=1e-5)


def test_no_compiler_is_one_line(settings_of: Settings, tmp_path: Path) -> None:
    import torch._inductor.config as inductor

    broken = {"cpp.cxx": ("/nowhere/g++",), "force_disable_caches": True}
    torch._dynamo.reset()
    with inductor.patch(broken), pytest.raises(SettingError) as caught:
        run(settings_of(compile=True, method="scratch", steps=1), tmp_path / "run")
    torch._dynamo.reset()
    assert str(caught.value).startswith("compile: torch.compile does not work here (")
    assert str(caught.value).endswith("; install a C++ compiler, or do not ask for it")
    assert "\n" not in str(caught.value)
