"""What the documents say of the program is so: Python runs; files, commands and options that are named exist."""

import ast
import json
import re
import shlex
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.cache.networks.test_programs import Enlarge, as_onnx, as_program, as_script
from tests.cache.samples import save_photos
from tests.conftest import PROJECT
from tests.test_imports import HALVES, ROOMS
from tests.test_options import commands

import dukd_cache.cli
import dukd_train.cli
from dukd_cache import networks
from dukd_cache.settings import presets

PAGE = (PROJECT / "docs/python.md").read_text(encoding="utf-8")
PAGES = [*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md"), *PROJECT.glob("assets/*.md")]
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
OPTIONS = {name: {word for each in command.params for word in each.opts} | {"--help"} for name, command in commands()}
"""Of each command."""


def test_the_blocks_of_the_page_on_python_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On small images, with a tiny teacher."""
    monkeypatch.chdir(tmp_path)
    save_photos(tmp_path / "photos", [(200, 210), (220, 196)])
    save_photos(tmp_path / "test", [(60, 50)])
    networks.save(networks.build("EDSR", 4, {"channels": 8, "blocks": 1}), tmp_path / "edsr_x4.safetensors", {})
    networks.save(networks.build("EDSR", 4, {"channels": 4, "blocks": 1}), tmp_path / "other_x4.safetensors", {})
    (tmp_path / "cache.yaml").write_text("hr: photos\nteacher: edsr_x4.safetensors\nviews: {base: 8}\n")
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(block, names)
    assert {view: len(records) for view, records in names["cache"].items()} == {"base": 8, "zoom_in": 4, "zoom_out": 4}


@pytest.mark.parametrize("notebook", [*PROJECT.glob("docs/notebooks/*.ipynb")], ids=lambda path: path.stem)
def test_notebooks_run(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cell after cell, and hold the outputs of such a run; if not: `make notebooks`."""
    monkeypatch.chdir(notebook.parent)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cells = [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    names: dict[str, Any] = {}
    for cell in cells:
        exec("".join(cell["source"]), names)
    score = {name: names["psnr"](picture) for name, picture in names["pictures"].items() if name != "truth"}
    assert score["bicubic"] < score["student"] < score["teacher"]


def test_no_page_holds_marks_of_a_merge() -> None:
    marks = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)
    assert [page.name for page in PAGES if marks.search(page.read_text(encoding="utf-8"))] == []


def ends_well(line: str, more: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The command, in this process."""
    program, *words = shlex.split(line)
    monkeypatch.setattr(sys, "argv", [program, *words, *more])
    with pytest.raises(SystemExit) as ended:
        {"dukd-cache": dukd_cache.cli, "dukd-train": dukd_train.cli}[program].main()
    assert ended.value.code == 0, line


def test_the_readmes_first_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand, on small images, with a tiny teacher and two steps instead of all."""
    monkeypatch.chdir(tmp_path)
    save_photos(tmp_path / "photos", [(200, 210), (220, 196)])
    networks.save(networks.build("EDSR", 4, {"channels": 8, "blocks": 1}), tmp_path / "SwinIR_x4.pth", {})
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    (dukd-(?:cache|train) .*)$", readme, re.MULTILINE)
    assert [line.split()[1] for line in lines] == ["build", "run", "upscale", "multiply", "build", "run"]
    for line in lines:
        ends_well(line, ["--set", "steps=2"] if " run " in line else [], monkeypatch)
    assert len([*tmp_path.glob("enlarged/*.png")]) == 2


def test_the_tutorials_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them in order, on small images, with a tiny teacher and two steps instead of all."""
    monkeypatch.chdir(tmp_path)
    save_photos(tmp_path / "photos", [(200, 210), (220, 196)])
    save_photos(tmp_path / "held-out", [(60, 50)])
    networks.save(networks.build("EDSR", 4, {"channels": 8, "blocks": 1}), tmp_path / "DCTLSA_X4.pt", {})
    page = (PROJECT / "docs/tutorial.md").read_text(encoding="utf-8")
    for line in "".join(re.findall(r"```bash\n(.*?)```", page, re.DOTALL)).splitlines():
        ends_well(line, ["--set", "steps=2"] if " run " in line else [], monkeypatch)
    assert len([*tmp_path.glob("enlarged/*.png")]) == 1
    assert (tmp_path / "sheet.png").exists()
    assert (tmp_path / "report" / "report.html").exists()
    assert (tmp_path / "student.onnx").exists()


def test_the_commands_of_the_page_on_weights_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a network that nobody knows."""
    page = (PROJECT / "docs/weights.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    save_photos(tmp_path / "photos", [(200, 210)])
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "mine.py").write_text(code)
    for name, written in {"net.pt": as_script, "net.pt2": as_program, "net.onnx": as_onnx}.items():
        written(Enlarge().requires_grad_(False), tmp_path / name)
    lines = re.findall(r"dukd-cache build --hr photos --teacher [^`\n]+", page)
    networks.save(networks.build("EDSR", 4, {"channels": 4, "blocks": 1}), tmp_path / "RealESRGAN_x4plus.pth", {})
    assert len(lines) == 6
    for number, line in enumerate(lines):
        monkeypatch.setattr(sys, "argv", [*line.split()[:-1], f"cache-{number}"])
        with pytest.raises(SystemExit) as ended:
            dukd_cache.cli.main()
        assert ended.value.code == 0, line
    assert networks.load_any(Path("python:mine.py:network")).scale == 2


def test_the_commands_of_the_page_on_real_images_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, on small images, with a tiny teacher, fewer crops and two small steps instead of all."""
    text = (PROJECT / "docs/real.md").read_text(encoding="utf-8").replace("\\\n", "").replace("bf16", "fp32")
    monkeypatch.chdir(tmp_path)
    save_photos(tmp_path / "photos", [(300, 280)])
    save_photos(tmp_path / "bad_photos", [(60, 50)])
    save_photos(tmp_path / "Set14" / "HR", [(200, 208)])
    networks.save(networks.build("EDSR", 4, {"channels": 4, "blocks": 1}), tmp_path / "RealESRGAN_x4plus.pth", {})
    lines = re.findall(r"^(dukd-(?:cache|train) .*)$", text, re.MULTILINE)
    assert [line.split()[1] for line in lines] == [
        *("plan", "build", "inspect", "run", "upscale", "compare", "degrade", "eval", "run", "export", "export")
    ]
    fewer = {"build": ["--base", "1", "--zoom-in", "1", "--zoom-out", "1"]}
    sets = ["steps=2", "batch=1", "patch=8", "student.settings={num_feat: 8, num_conv: 1}"]
    fewer["run"] = [word for each in (*sets, "discriminator.width=4") for word in ("--set", each)]
    for line in lines:
        if " onnx " not in line:  # tests/train/using has it
            ends_well(line, fewer.get(line.split()[1], []), monkeypatch)
    assert (tmp_path / "report/report.html").is_file()


def test_the_page_on_python_names_all_that_is_public() -> None:
    for face in (dukd_cache, dukd_train):
        left = {name for name in face.__all__ if not re.search(rf"\b{name}\b", PAGE)}
        assert left <= {"Evaluation", "Exported", "Forecast", "Network", "Problem", "Record", "Row", "Start"}, left


@pytest.mark.parametrize("face", [dukd_cache, dukd_train], ids=lambda face: face.__name__)
def test_the_reference_of_python_has_all_that_is_public(face: ModuleType) -> None:
    page = (PROJECT / "docs/api.md").read_text(encoding="utf-8")
    part = page.partition(f"\n## {face.__name__}\n")[2].partition("\n## ")[0]
    named = re.findall(r"^\.\. auto(?:function|class|exception|module):: (?:\w+\.)*(\w+)", part, re.MULTILINE)
    assert sorted(named) == sorted(face.__all__)


@pytest.mark.parametrize("half", HALVES)
def test_the_map_of_the_code_has_all_rooms_in_their_own_words(half: str) -> None:
    def said(room: str) -> str:
        is_folder = (HALVES[half] / room).is_dir()
        path = HALVES[half] / (f"{room}/__init__.py" if is_folder else f"{room}.py")
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        return f"| `{room}{'/' if is_folder else '.py'}` | {text.splitlines()[0]} |\n"

    assert "".join(map(said, ROOMS[half])) in (PROJECT / "docs/code.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_presets_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for half, command in (("dukd_cache", "cache build"), ("dukd_train", "train (?:run|sweep)")):
        named = re.findall(rf"(?:dukd-|-m dukd_){command} (?:[^`\n]* )?--config ([\w-]+)(?=[\s`])", text)
        assert {*named} <= {*presets.names(f"{half}.presets")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"(?<![\w./])(?:tests|pipeline|trainer|benchmarks|docs|assets)/[\w./]+\.\w+", text)
    named += [str(page.parent.relative_to(PROJECT) / link) for link in re.findall(r"\]\(([\w./-]+?\.\w+)[)#]", text)]
    assert [name for name in named if not (PROJECT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_that_are_named_exist(page: Path) -> None:
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    text = re.sub(r"\[(dukd-.*)\]", lambda found: found[1].replace(",", ""), text)  # of YAML
    named = re.findall(r"(?<![\w./-])(dukd-(?:cache|train) +[a-z]+)([^\n`]*)", text)
    unknown = [
        f"{command} {option}"
        for command, words in ((" ".join(command.split()), words) for command, words in named)
        for option in re.findall(r"(?<=\s)--[a-z][\w-]*", words) or [""]
        if option not in OPTIONS.get(command, ()) and (option or command not in OPTIONS)
    ]
    assert unknown == []
