"""`dukd-train export --card`: front matter as the Hub has it, and words that are the run's facts."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dukd_cache import networks
from dukd_train import cli
from dukd_train.core.run import run
from dukd_train.keeping.best import BEST
from dukd_train.keeping.curve import rows_of
from dukd_train.settings import TrainConfig

KEYS = {
    "license",
    "library_name",
    "pipeline_tag",
    "tags",
    "datasets",
    "metrics",
    "model-index",
    "language",
    "base_model",
}
"""Of the Hub's specification of a model card's metadata (huggingface/hub-docs, modelcard.md)."""
RESULT = {"task": {"type", "name"}, "dataset": {"type", "name"}}
"""So of a result in `model-index`, as far as they are used here; the types and the dataset's name are required."""

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def export(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dukd-train", "export", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
        printed = capfd.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, printed.out, printed.err

    return call


@pytest.fixture(scope="module")
def finished(
    settings_of: Callable[..., TrainConfig], hr_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run with a validation set."""
    out = tmp_path_factory.mktemp("runs") / "kd"
    student = {"architecture": "Compact", "settings": {"num_feat": 8, "num_conv": 1}}
    run(settings_of(student=student, steps=2, validation={"every": 2, "sets": {"Mine": {"hr": hr_folder}}}), out)
    return out


def parts(card: Path) -> tuple[dict[str, Any], str, str]:
    """The front matter, read and as it is written, and the text below."""
    before, front, text = card.read_text(encoding="utf-8").split("---\n", 2)
    assert before == ""
    return yaml.safe_load(front), front, text


def test_the_front_matter_is_the_hubs(export: Command, finished: Path, tmp_path: Path) -> None:
    card = tmp_path / "new" / "README.md"
    code, printed, error = export(finished, "--card", card)
    assert (code, printed, error) == (0, f"{card}: a model card; choose its license in it\n", "")
    front, written, _ = parts(card)
    assert front.keys() <= KEYS
    assert written.startswith("# license: ")
    assert (front["pipeline_tag"], front["library_name"]) == ("image-to-image", "dukd")
    assert {"super-resolution", "compact", "x2", "spandrel"} <= {*front["tags"]}
    assert front["metrics"] == ["psnr", "ssim"]
    (model,) = front["model-index"]
    assert model.keys() == {"name", "results"}
    (result,) = model["results"]
    assert result.keys() == {*RESULT, "metrics"}
    assert all(result[part].keys() == keys for part, keys in RESULT.items())
    assert result["dataset"]["name"] == "Mine"
    (row,) = [row for row in rows_of(finished / "validation.csv") if row["step"] == "2"]
    scores = {each["name"]: each["value"] for each in result["metrics"]}
    assert all(each.keys() == {"type", "value", "name"} for each in result["metrics"])
    assert scores["PSNR-Y"] == pytest.approx(float(row["psnr_y"]), abs=6e-4)
    assert scores["SSIM-Y"] == pytest.approx(float(row["ssim_y"]), abs=6e-5)


def test_the_text_tells_the_runs_facts_and_its_python_runs(
    export: Command, finished: Path, hr_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert export(finished, "--to", "pth", "--out", tmp_path / "net.pth", "--card", tmp_path / "README.md")[0] == 0
    _, _, text = parts(tmp_path / "README.md")
    facts = yaml.safe_load((finished / "run.json").read_text())
    assert f"digest `{facts['cache_digest']}`" in text
    assert "| teacher | EDSR (`" in text
    assert f"| method | {facts['method']} |" in text
    assert "| seed | 0 |\n| made with | dukd " in text
    assert "| kd | base | teacher | l1 | " in text
    assert "| set | PSNR-Y | SSIM-Y | how |\n|---|---|---|---|\n| Mine | " in text
    assert "\n\n\n" not in text
    assert "None" not in text
    monkeypatch.chdir(tmp_path)
    shutil.copy(next(hr_folder.iterdir()), tmp_path / "photo.png")
    blocks = [block.partition("```")[0] for block in text.split("```python\n")[1:]]
    assert len(blocks) == 2
    for block in blocks:
        exec(block, {})
    assert (tmp_path / "large.png").is_file()


def test_a_card_without_cache_and_scores(
    export: Command, settings_of: Callable[..., TrainConfig], cache_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(cache_folder, tmp_path / "cache")
    run(settings_of(steps=1, cache=tmp_path / "cache", method="scratch"), tmp_path / "run")
    shutil.rmtree(tmp_path / "cache")
    assert export(tmp_path / "run", "--card", tmp_path / "README.md")[0] == 0
    front, _, text = parts(tmp_path / "README.md")
    assert not front.keys() & {"model-index", "metrics"}
    assert "trained with dukd from pairs of images.\n" in text
    assert "The run had no validation sets." in text
    assert "| teacher | EDSR" not in text
    assert "spandrel" not in front["tags"]
    assert "from spandrel import" not in text


def test_a_card_tells_of_the_weights_and_the_teachers_that_were_used(
    export: Command, settings_of: Callable[..., TrainConfig], hr_folder: Path, tmp_path: Path
) -> None:
    validation = {"every": 1, "sets": {"Mine": {"hr": hr_folder}}}
    out, eco = tmp_path / "run", {"steps": 1}
    run(settings_of(steps=2, method="scratch", optimizer={"lr": 1.0}, ema=0.0, validation=validation), out)
    assert networks.load(out / BEST).metadata["step"] == "1"
    assert export(out / BEST, "--card", tmp_path / "best.md")[0] == 0
    _, _, text = parts(tmp_path / "best.md")
    first, last = (float(row["psnr_y"]) for row in rows_of(out / "validation.csv"))
    assert f"| Mine | {first:.3f} | " in text
    assert f"{last:.3f}" not in text
    assert "| steps | 1 of 4 inputs a view" in text
    assert "| teacher | none: from pairs of images |" in text
    run(settings_of(steps=1, method="scratch", eco=eco), tmp_path / "eco")
    run(settings_of(steps=2, method="scratch", eco=eco, optimizer={"lr": 0.1}), tmp_path / "eco", allow_changes=True)
    assert export(tmp_path / "eco", "--card", tmp_path / "eco.md")[0] == 0
    _, _, text = parts(tmp_path / "eco.md")
    assert "learned from stored answers of a larger network" in text
    assert "| optimizer.lr until step 1 | 0.001 |\n" in text
    assert "| teacher | EDSR (`" in text


def test_mistakes_leave_nothing(export: Command, finished: Path, tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    networks.save(networks.build("Compact", 2, {"num_feat": 8, "num_conv": 1}), tmp_path / "net.safetensors", {})
    out = tmp_path / "net.pth"
    code, _, error = export(tmp_path / "net.safetensors", "--to", "pth", "--card", card)
    assert (code, error.count("\n")) == (2, 1)
    assert "expected a finished run, found no run.json" in error
    card.write_text("mine")
    assert export(finished, "--to", "pth", "--out", out, "--card", card)[2] == (
        f"dukd-train: {card}: exists already; --overwrite makes it anew\n"
    )
    assert (card.read_text(), out.exists()) == ("mine", False)
    assert export(finished)[::2] == (2, "dukd-train: --to is missing: a format, or --card alone\n")
    assert export(finished, "--card", card, "--overwrite")[0] == 0
