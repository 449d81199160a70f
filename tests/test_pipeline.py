"""`dvc repro` for real, with tiny settings: the whole pipeline, nothing twice, the teacher asked once."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from dukd_cache import networks

PROJECT = Path(__file__).resolve().parent.parent

TINY = {
    "cache": {"views": {"base": 2, "zoom_in": 1, "zoom_out": 1}, "patch": 16},
    "train": {"steps": 6, "log_every": 2, "checkpoint_every": 6, "batch": 2},
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the pipeline with a tiny random teacher, a tiny student, and one image to hold out."""
    for name in ("dvc.yaml", "params.yaml", "pipeline/prepare.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(PROJECT / name, tmp_path / name)
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    for section, values in TINY.items():
        params[section] |= values
    params["train"]["student"]["settings"] = {"num_feat": 4, "num_conv": 1}
    params["train"]["validation"]["every"] = 3
    params["train"]["schedule"]["warmup"] = 2
    params["seeds"] = [0]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    torch.manual_seed(0)
    (tmp_path / "assets").mkdir()
    networks.save(networks.build("EDSR", 4, {"channels": 4, "blocks": 1}), tmp_path / params["cache"]["teacher"], {})
    _dvc(tmp_path, "init", "--no-scm", "--quiet")
    return tmp_path


def _dvc(project: Path, *words: str) -> str:
    """What `dvc` prints; it must succeed."""
    tools = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(str(PROJECT / root) for root in ("pipeline", "trainer")),
        "DVC_NO_ANALYTICS": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_repro_runs_everything_once(project: Path) -> None:
    first = _dvc(project, "repro")
    for stage in ("prepare", "cache", "train@scratch-0", "train@kd-0", "train@dukd-0", "compare"):
        assert f"Running stage '{stage}'" in first

    report = project / "build" / "report"
    table = (report / "table.md").read_text()
    for row in ("bicubic", "scratch-0", "kd-0", "dukd-0", "teacher"):
        assert f"| {row} " in table
    scores = json.loads((report / "scores.json").read_text())
    curve = (project / "build" / "runs" / "dukd-0" / "validation.csv").read_text().splitlines()
    assert scores["dukd-0"]["heldout"]["psnr_y"] == pytest.approx(float(curve[-1].split(",")[2]), abs=1e-3)

    metrics = json.loads(_dvc(project, "metrics", "show", "--json"))
    assert metrics[""]["data"]["build/report/scores.json"]["data"] == scores
    _dvc(project, "plots", "show", "--out", "plots")
    assert "psnr_y" in (project / "plots" / "index.html").read_text()

    assert "up to date" in _dvc(project, "repro")

    params = yaml.safe_load((project / "params.yaml").read_text())
    params["train"]["steps"] = 4
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    again = _dvc(project, "repro", "--dry", "train@kd-0")
    assert "Running stage 'train@kd-0'" in again
    assert "Stage 'cache' didn't change" in again

    images = json.loads((project / "build" / "cache" / "manifest.json").read_text())["images"]["count"]
    params["cache"]["views"]["base"] += 1
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    changed = _dvc(project, "repro", "cache")
    assert f"(asked the teacher for {images}, reused {4 * images}, kept 0)" in changed, "only the new crops are asked"
