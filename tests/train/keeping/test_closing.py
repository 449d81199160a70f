"""What is said of a run that is finished, and what a run that goes on knows of its scores."""

from collections.abc import Callable
from pathlib import Path

from dukd_train.keeping.best import BEST
from dukd_train.keeping.closing import closing
from dukd_train.keeping.validation import VALIDATION, best_before, made
from dukd_train.settings import TrainConfig

Settings = Callable[..., TrainConfig]


def test_scores_and_weights(settings_of: Settings, tmp_path: Path, hr_folder: Path) -> None:
    config = settings_of(steps=20, validation={"sets": {"V": {"hr": hr_folder}}})
    run = tmp_path / "my run"
    run.mkdir()
    how = made(config.validation, 2)["V"]
    assert how.startswith("4 images")
    rows = [f"10,V,30.5,{how}", "15,V,31,otherwise made", f"20,V,30.25,{how}", "20,V,29,otherwise made"]
    quoted = [row.replace(how, f'"{how}"') for row in rows]
    (run / VALIDATION).write_text("\n".join(["step,set,psnr_y,made", *quoted, ""]))
    (run / BEST).touch()
    assert best_before(run, config.validation, 2, 20) == {"V": (30.5, 10)}
    assert best_before(run, config.validation, 2, 10) == {}
    assert [*closing(run, config, 20, 2)] == [
        "scores    V 30.25 dB (best 30.50 dB at 10)",
        f"weights   {run}/student.safetensors; of the best validation: {BEST}",
    ]
