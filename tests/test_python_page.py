"""docs/python.md: its blocks run, in order, on small images with a tiny teacher."""

import re
from pathlib import Path
from typing import Any

import pytest
from tests.cache.samples import save_photos
from tests.conftest import PROJECT

import dukd_cache
import dukd_train
from dukd_cache import networks

PAGE = (PROJECT / "docs/python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_its_blocks_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_photos(tmp_path / "photos", [(200, 210), (220, 196)])
    save_photos(tmp_path / "test", [(60, 50)])
    networks.save(networks.build("EDSR", 4, {"channels": 8, "blocks": 1}), tmp_path / "edsr_x4.safetensors", {})
    (tmp_path / "cache.yaml").write_text("hr: photos\nteacher: edsr_x4.safetensors\nviews: {base: 8}\n")
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(block, names)
    assert {view: len(records) for view, records in names["cache"].items()} == {"base": 8, "zoom_in": 4, "zoom_out": 4}


def test_it_names_all_that_is_public() -> None:
    for face in (dukd_cache, dukd_train):
        left = {name for name in face.__all__ if not re.search(rf"\b{name}\b", PAGE)}
        assert left <= {"Evaluation", "Exported", "Forecast", "Network", "Problem", "Record", "Row", "Start"}, left
