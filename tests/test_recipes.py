"""What people paste from docs/clusters.md works: YAML parses, the shell runs, and parts that it starts make a cache."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cache.samples import save_photos
from tests.cache.test_cli import Command
from tests.conftest import PROJECT

from dukd_cache import networks
from dukd_cache.format.reader import Cache
from dukd_cache.settings.part import part_of

BLOCKS = re.findall(r"```(yaml|bash)\n(.*?)```", (PROJECT / "docs/clusters.md").read_text(encoding="utf-8"), re.DOTALL)
YAML = [text for language, text in BLOCKS if language == "yaml"]
BASH = [text for language, text in BLOCKS if language == "bash"]


def block(blocks: list[str], mark: str) -> str:
    """The one that says `mark`."""
    (found,) = (text for text in blocks if mark in text)
    return found


def loaded(mark: str) -> Any:
    return yaml.safe_load(block(YAML, mark))


@pytest.fixture
def started(tmp_path: Path) -> Any:
    """Runs a script where all programs but the shell only write down how they were started; returns their lines."""
    programs, seen = tmp_path / "programs", tmp_path / "started"
    programs.mkdir()
    for name in ("dukd-cache", "dukd-train", "sbatch", "pip", "ray"):
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >> "{seen}"\necho 123\n')
        (programs / name).chmod(0o755)

    def run(script: str, **environment: object) -> list[str]:
        seen.write_text("")
        known = {"PATH": f"{programs}:{os.environ['PATH']}"} | {name: str(value) for name, value in environment.items()}
        subprocess.run(["bash", "-eu"], input=script.encode(), env=known, cwd=tmp_path, check=True)
        return seen.read_text().splitlines()

    return run


@pytest.mark.parametrize("script", [*BASH, loaded("num_nodes")["run"], loaded("num_nodes")["setup"]])
def test_the_shell_reads_it(script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script.encode(), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def array_of(tasks: int, task: int) -> dict[str, str]:
    """What Slurm sets."""
    facts = {"ID": task, "MIN": 0, "MAX": tasks - 1, "STEP": 1, "COUNT": tasks}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in facts.items()} | {"SLURM_CPUS_PER_TASK": "1"}


def test_an_array_of_slurm_makes_a_cache(
    tmp_path: Path, started: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scripts by bash, what they start in this process, on two small images."""
    monkeypatch.chdir(tmp_path)
    save_photos(tmp_path / "photos", [(200, 210), (220, 196)])
    settings = block(YAML, "# cache.yaml").replace("64", "2")
    (tmp_path / "cache.yaml").write_text(settings)
    weights = tmp_path / yaml.safe_load(settings)["teacher"]
    networks.save(networks.build("EDSR", 4, {"channels": 8, "blocks": 1}), weights, {})
    for task in range(2):
        (line,) = started(block(BASH, "# cache.sbatch"), **array_of(2, task))
        for name, value in array_of(2, task).items():
            monkeypatch.setenv(name, value)
        done = Command(monkeypatch, capsys)(*line.split()[1:])
        assert done.code == 0, done
        assert ("part 1/2 is done" in done.output) == (task == 0)
    cache = Cache(tmp_path / "cache")
    assert {view: cache.count(view) for view in ("base", "zoom_in", "zoom_out")} == {
        "base": 4,
        "zoom_in": 4,
        "zoom_out": 4,
    }


def test_the_training_waits_for_the_array(started: Any) -> None:
    assert started(block(BASH, "afterok")) == [
        "sbatch --parsable cache.sbatch",
        "sbatch --dependency=afterok:123 train.sbatch",
    ]
    assert started(block(BASH, "# train.sbatch"), **array_of(1, 0))[0].startswith("dukd-train run ")


@pytest.mark.parametrize("name", ["cache.sbatch", "train.sbatch"])
def test_slurm_reads_its_options_before_the_first_command(name: str) -> None:
    head, _, rest = block(BASH, f"# {name}").partition("\nexport")
    assert head.startswith("#!/bin/bash\n")
    assert all(line.startswith("#") for line in head.splitlines())
    assert "#SBATCH" not in rest


def test_an_indexed_job_of_kubernetes() -> None:
    job = loaded("kind: Job")["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    assert (job["completionMode"], pod["restartPolicy"]) == ("Indexed", "Never"), "as backoffLimitPerIndex asks for"
    part = container["command"][container["command"].index("--part") + 1]
    parts = [part_of(part, {"JOB_COMPLETION_INDEX": str(index)}) for index in range(job["completions"])]
    assert [str(each) for each in parts] == [f"{number}/16" for number in range(1, 17)]
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}


def test_parts_are_numbered_from_one(started: Any) -> None:
    lines = started(block(BASH, "CUDA_VISIBLE_DEVICES"))
    assert sorted(line.split("--part ")[1] for line in lines) == ["1/4", "2/4", "3/4", "4/4"]
    for rank in (0, 7):
        (line,) = started(loaded("num_nodes")["run"], SKYPILOT_NODE_RANK=rank, SKYPILOT_NUM_NODES=8)
        assert line.endswith(f"--part {rank + 1}/8")
