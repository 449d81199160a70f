"""Which part of the work is whose: what users write, and what schedulers set."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import pytest
import typer

from dukd_cache.command_line.console import run_app
from dukd_cache.command_line.values import PartOption
from dukd_cache.settings.part import Part, part_of
from dukd_cache.system.errors import SettingError


def array(task: int, first: int, last: int, **others: object) -> dict[str, str]:
    """What Slurm sets for a task of `--array=first-last`."""
    found = {"ID": task, "MIN": first, "MAX": last, "STEP": 1} | {name.upper(): value for name, value in others.items()}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in found.items()}


def srun(rank: int, tasks: int) -> dict[str, str]:
    return {"SLURM_PROCID": str(rank), "SLURM_NTASKS": str(tasks), "SLURM_STEP_NUM_TASKS": str(tasks)}


def torchrun(rank: int, size: int) -> dict[str, str]:
    return {"RANK": str(rank), "WORLD_SIZE": str(size)}


BATCH = {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}
"""A batch script of `--ntasks=4` that has not called srun."""

KUBERNETES = {"JOB_COMPLETION_INDEX": "2"}


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("1/1", {}, "1/1"),
        ("3/16", array(0, 0, 3), "3/16"),
        ("auto", array(0, 0, 15, count=16), "1/16"),
        ("auto", array(15, 0, 15, count=16), "16/16"),
        ("auto", array(1, 1, 16, count=16), "1/16"),
        ("auto", array(16, 1, 16), "16/16"),
        ("auto", array(0, 0, 30, step=2, count=16), "1/16"),
        ("auto", array(30, 0, 30, step=2, count=16), "16/16"),
        ("auto", array(7, 7, 7, count=1), "1/1"),
        ("auto", array(7, 3, 7, step=4, count=2), "2/2"),
        ("auto", srun(0, 4), "1/4"),
        ("auto", srun(3, 4), "4/4"),
        ("auto", array(2, 0, 3, count=4) | BATCH, "3/4"),
        ("auto", array(2, 0, 3, count=4) | srun(1, 2), "7/8"),
        ("auto", torchrun(5, 8), "6/8"),
        ("auto", srun(1, 2) | torchrun(5, 8), "6/8"),
        ("auto", array(1, 0, 1) | torchrun(0, 4), "2/8"),
        ("auto", torchrun(0, 2) | KUBERNETES, "1/2"),
        ("auto/16", KUBERNETES, "3/16"),
        ("auto/16", array(2, 0, 15), "3/16"),
    ],
)
def test_which_part_this_is(text: str, environment: Mapping[str, str], expected: str) -> None:
    assert str(part_of(text, environment)) == expected


@pytest.mark.parametrize(
    ("text", "environment", "says"),
    [
        ("0/4", {}, "0/4: there is no such part: expected 1/4 to 4/4"),
        ("5/4", {}, "5/4: there is no such part: expected 1/4 to 4/4"),
        ("1/0", {}, "1/0: there is no such part: the count must be positive"),
        ("auto/0", KUBERNETES, "3/0: there is no such part: the count must be positive"),
        ("auto/2", KUBERNETES, "3/2: there is no such part: expected 1/2 to 2/2"),
        ("a/b", {}, "'a/b': expected a part and how many there are, like 3/16, or auto, or auto/16"),
        ("3", {}, "'3': expected a part"),
        ("-1/4", {}, "'-1/4': expected a part"),
        ("", {}, "'': expected a part"),
        (
            "auto",
            BATCH,
            "auto: nothing says which part this is: looked for SLURM_ARRAY_TASK_ID with SLURM_ARRAY_TASK_MIN with "
            "SLURM_ARRAY_TASK_MAX, RANK with WORLD_SIZE, SLURM_PROCID with SLURM_STEP_NUM_TASKS, JOB_COMPLETION_INDEX",
        ),
        ("auto", {"SLURM_ARRAY_TASK_ID": "3"}, "auto: nothing says which part this is: looked for SLURM_ARRAY_TASK_ID"),
        ("auto", array(3, 3, 7, count=2), "auto: the array's indices are not 3-7:1; number it in one row, like 0-15"),
        ("auto", array(3, 0, 4, step=2), "auto: the array's indices are not 0-4:2"),
        ("auto", array(9, 0, 4), "auto: the array's indices are not 0-4:1"),
        ("auto", KUBERNETES, "auto: JOB_COMPLETION_INDEX says which part, nothing says how many: give auto/16 for 16"),
        ("auto/8", array(2, 0, 15), "auto/8: this is part 3/16 by what started it"),
        ("auto", {"RANK": "x", "WORLD_SIZE": "2"}, "RANK: expected a whole number, got 'x'"),
        ("auto", torchrun(2, 2), "3/2: there is no such part"),
    ],
)
def test_what_is_no_part(text: str, environment: Mapping[str, str], says: str) -> None:
    with pytest.raises(SettingError) as caught:
        part_of(text, environment)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_each_item_is_in_one_part(count: int) -> None:
    items = range(13)
    parts = [Part(number, count).of(items) for number in range(1, count + 1)]
    assert sorted(chain.from_iterable(parts)) == [*items]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    thirds = [Part(1, count).split(Part(number, 3)).of(items) for number in (1, 2, 3)]
    assert sorted(chain.from_iterable(thirds)) == [*parts[0]]


@pytest.mark.parametrize(
    ("words", "code", "printed"),
    [
        (["--part", "3/16"], 0, "3/16"),
        ([], 0, "None"),
        (["--part", "5/4"], 2, "do: --part: 5/4: there is no such part: expected 1/4 to 4/4"),
    ],
)
def test_the_option(
    words: list[str], code: int, printed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[Any]
) -> None:
    app = typer.Typer()

    @app.command()
    def do(part: PartOption = None) -> None:
        print(part)

    monkeypatch.setattr("sys.argv", ["do", *words])
    with pytest.raises(SystemExit) as ended:
        run_app(app, "do", {}, lambda: object)
    assert ended.value.code == code
    assert "".join(capsys.readouterr()).strip() == printed
