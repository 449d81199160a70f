"""The command `dukd-train` as a user meets it: one line and exit code 2 for a mistake, a run for the rest."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dukd_cache import networks
from dukd_cache.settings.presets import summary
from dukd_train import cli

Answer = tuple[int, str, str]
Command = Callable[..., Answer]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """`dukd-train WORDS` in this process → exit code, standard output, standard error."""

    def call(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["dukd-train", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        printed = capsys.readouterr()
        code = caught.value.code
        return code if isinstance(code, int) else int(code is not None), printed.out, printed.err

    return call


@pytest.fixture
def config_file(tmp_path: Path, cache_folder: Path) -> Path:
    """A short run, in a section of a file."""
    content: dict[str, Any] = {
        "students": {
            "method": "scratch",
            "cache": str(cache_folder),
            "student": {"settings": {"channels": 4, "blocks": 1}},
            "steps": 2,
            "batch": 2,
            "device": "cpu",
        }
    }
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_run(command: Command, config_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ("run", "--config", config_file, "--section", "students", "--set", "method=dukd", "--out", out)
    code, printed, told = command(*words, "--set", "student.settings.channels=6")
    parameters = networks.load(out / "student.safetensors").parameters_count
    assert (code, printed) == (0, f"{out}: dukd, EDSR of {parameters:,} parameters, 2 steps\n")
    assert told.splitlines()[-3:] == [
        f"weights   {out}/student.safetensors",
        f"next      dukd-train upscale {out} IN OUT",
        f"          dukd-train compare {out} OTHER_RUN --out REPORT --hr IMAGES",
    ]
    resolved = yaml.safe_load((out / "config.yaml").read_text())
    assert resolved["student"]["settings"] == {"channels": 6, "blocks": 1}
    assert json.loads((out / "run.json").read_text())["method"] == "dukd"


def test_a_run_without_a_file_is_that_of_a_small_student(command: Command, cache_folder: Path, tmp_path: Path) -> None:
    changes = (f"cache={cache_folder}", "method=kd", "steps=1", "patch=null", "batch=1", "device=cpu")
    sets = [word for change in changes for word in ("--set", change)]
    code, printed, told = command("run", *sets, "--out", tmp_path / "run")
    assert (code, told.splitlines()[0]) == (
        0,
        "no --config, so the preset small: " + summary("dukd_train.presets", "small"),
    )
    assert "schedule.warmup: 100 is more than the 1 steps of the run: all of them warm up" in told.splitlines()
    assert ": kd, Compact of " in printed
    code, _, told = command("run", "--config", "edsr_x4", *sets, "--out", tmp_path / "other")
    scale = f"scale 4: {cache_folder} has scale 2; take the preset edsr_x2\n"
    assert (code, told) == (2, f"dukd-train: {scale}")
    sets += ["--set", "student.architecture=SPAN"]
    code, _, told = command("run", "--config", "edsr_x4", *sets, "--out", tmp_path / "other")
    assert told.endswith("has scale 2; set scale=null, it follows from the cache\n")


def test_scores_of_a_student(command: Command, teacher_file: Path, hr_folder: Path, tmp_path: Path) -> None:
    scores = tmp_path / "deep" / "scores.json"
    code, printed, _ = command(
        "eval", "--weights", teacher_file, "--hr", hr_folder, "--json", scores, "--device", "cpu"
    )
    assert code == 0
    found = json.loads(scores.read_text())
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines()]
    assert [row[0] for row in rows if row[0].strip("-")] == ["image", *found["images"], "mean"]
    assert float(rows[-1][1]) == pytest.approx(found["mean"]["network"]["psnr_y"], abs=1e-3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--config none.yaml --out {tmp}/run", "none.yaml: no such config file"),
        ("--config {config} --out {tmp}/run", "{config}: holds settings in students: give --section students"),
        (
            "--config {config} --section student --out {tmp}/run",
            "{config}: unknown section 'student': did you mean 'students'? (valid: students)",
        ),
        (
            "--config {config} --section students --set methd=kd --out {tmp}/run",
            "unknown setting 'methd': did you mean 'method'?",
        ),
        ("--config {config} --section students --set steps --out {tmp}/run", "--set steps: expected key=value"),
        (
            "--config {config} --section students --set steps=-1 --out {tmp}/run",
            "setting steps: expected a whole number above 0, got -1",
        ),
        (
            "--config {config} --section students --set cache={tmp} --out {tmp}/run",
            "{tmp}: no finished cache here",
        ),
        ("--config {config} --section students --out {tmp}", "{tmp}: holds something that is no run"),
        ("--config {config} --section students", "--out is missing: Run folder."),
        ("--config {config} --out {tmp}/run --stepps 3", "unknown option '--stepps': did you mean '--set'? (valid: "),
        ("--cache c", "unknown option '--cache': did you mean '--set cache=…'? (valid: --allow-changes, "),
        ("--total-iter 9", "unknown option '--total-iter': did you mean '--set steps=…'? (valid: "),
        ("--optimizer.lr 1", "unknown option '--optimizer.lr': did you mean '--set optimizer.lr=…'? (valid: "),
        ("-opt {config} --out {tmp}/run", "unknown option '-opt': did you mean '--config'? (valid: "),
        ("--opt {config} --out {tmp}/run", "unknown option '--opt': did you mean '--config'? (valid: "),
        ("--out {tmp}/run ema=0", "unexpected 'ema=0': run takes options and nothing else; did you mean --set ema=0?"),
        ("--config a --config {config} --out {tmp}/run", "--config: given 2 times, takes one value"),
        ("--config {config} --out {tmp}/run more", "unexpected 'more': run takes options and nothing else"),
    ],
)
def test_mistakes_end_with_one_line(
    command: Command, config_file: Path, tmp_path: Path, words: str, message: str
) -> None:
    def filled(text: str) -> str:
        return text.replace("{tmp}", str(tmp_path)).replace("{config}", str(config_file))

    code, printed, error = command("run", *filled(words).split())
    assert code == 2
    assert printed == ""
    assert error.startswith(f"dukd-train: {filled(message)}")
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_where_scores_go_is_tried_before_any_image_is_scored(
    command: Command, teacher_file: Path, hr_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "load", lambda *_args: pytest.fail("loaded"))
    words = ("eval", "--weights", teacher_file, "--hr", hr_folder, "--json")
    code, _, told = command(*words, tmp_path)
    assert (code, told) == (2, f"dukd-train: {tmp_path}: expected a file, found a folder\n")
    (tmp_path / "file").touch()
    code, _, told = command(*words, tmp_path / "file" / "scores.json")
    assert (code, told) == (2, f"dukd-train: {tmp_path / 'file'}: expected a folder, found a file\n")
    for rest in (("export", teacher_file, "--to", "safetensors"), ("upscale", teacher_file, hr_folder)):
        out = ("--out", "/proc/none/x.safetensors") if rest[0] == "export" else ("/proc/none",)
        code, _, told = command(*rest, *out)
        assert code == 2
        assert told.startswith(f"dukd-train: {out[-1]}: ")


def test_a_damaged_cache_says_what_mends_it(command: Command, config_file: Path, tmp_path: Path) -> None:
    settings = yaml.safe_load(config_file.read_text())["students"]
    cache = tmp_path / "cache"
    shutil.copytree(settings["cache"], cache)
    shard = cache / "base-000000.tar"
    shard.write_bytes(bytes(shard.stat().st_size))
    words = ("--config", config_file, "--section", "students", "--set", f"cache={cache}", "--out", tmp_path / "run")
    code, _, error = command("run", *words)
    assert code == 2
    line = error.splitlines()[-1]
    assert line.startswith(f"dukd-train: {shard}: ")
    assert line.endswith(
        "; `dukd-cache verify CACHE --repair` drops what is broken, and the build's command writes it anew"
    )


def test_unknown_command(command: Command) -> None:
    valid = "(valid: compare, eval, export, presets, run, schema, study, sweep, upscale)"
    assert command("trian") == (2, "", f"dukd-train: unknown command 'trian': did you mean 'run'? {valid}\n")
    for theirs, here in {
        "train": "run",
        "test": "eval",
        "evalute": "eval",
        "infer": "upscale",
        "onnx": "export",
    }.items():
        _, _, error = command(theirs)
        assert error == f"dukd-train: unknown command {theirs!r}: did you mean {here!r}? {valid}\n"


def test_an_interrupted_run_says_that_it_goes_on(
    command: Command, config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dukd_train.core.learner.Learner.step", interrupted)
    code, _, error = command("run", "--config", config_file, "--section", "students", "--out", tmp_path / "run")
    assert code == 130
    assert error.splitlines()[-1] == "dukd-train: interrupted; to resume, run the same command again"
    assert "Traceback" not in error


def test_a_defect_is_not_hidden(config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def defective(*_args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("dukd_train.core.learner.Learner.step", defective)
    words = ["run", "--config", str(config_file), "--section", "students", "--out", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", ["dukd-train", *words])
    with pytest.raises(ZeroDivisionError):
        cli.main()


@pytest.mark.parametrize("name", ["run", "eval", "sweep"])
def test_help_shows_an_example(command: Command, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, printed, _ = command(name, "--help")
    assert code == 0
    assert re.search(rf"Example: dukd-train {name} --", printed)


def test_the_example_names_real_options(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("run", "eval", "sweep"):
        _, printed, _ = command(name, "--help")
        options, example = printed.split("Example:")
        assert set(re.findall(r"--[a-z]+", example)) <= set(re.findall(r"--[a-z]+", options))


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys; sys.argv = ['dukd-train', 'run', '--help']\n"
        "from dukd_train.cli import main\n"
        "try: main()\n"
        "finally: print('heavy:', sorted({'torch', 'spandrel', 'matplotlib', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_environment(), check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(sys.path), "PATH": ""}


def test_schema(command: Command) -> None:
    code, printed, _ = command("schema")
    assert code == 0
    assert json.loads(printed)["properties"]["steps"]["exclusiveMinimum"] == 0


def test_settings_as_tables(command: Command) -> None:
    code, printed, _ = command("schema", "--markdown")
    assert code == 0
    assert "| `optimizer.lr` | a number above 0 |" in printed
