"""Scores as Markdown, CSV and JSON."""

import csv
import io
import json
import math

from dukd_train.report.tables import Contender, comma_separated, markdown, scores_json
from dukd_train.scoring.scores import USUAL, Score


def luma(psnr: float, ssim: float) -> Score:
    return {"psnr_y": psnr, "ssim_y": ssim}


ROWS = [
    Contender("bicubic", "bicubic", {"A": luma(30.0, 0.8), "B": luma(29.0, 0.7)}),
    Contender("x|y", "kd", {"A": luma(31.004, 0.9), "B": luma(28.0, 0.65)}, "EDSR", 1234567, 5000, 0, True),
    Contender("z", "dukd", {"A": luma(31.001, 0.91), "B": luma(28.5, 0.66)}, "EDSR", 1234567, 5000, 1, True),
    Contender("teacher", "teacher", {"A": luma(33.0, 0.95), "B": luma(math.inf, 1.0)}, "HAT", 20),
]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.replace("\\|", "¦").strip("| ").split("|")]


def test_markdown_marks_the_best_student_and_nobody_else() -> None:
    lines = markdown(ROWS, ["A", "B"], USUAL).splitlines()
    assert len({len(line) for line in lines}) == 1  # aligned as plain text
    assert cells(lines[0])[6:] == ["A PSNR-Y", "A SSIM-Y", "B PSNR-Y", "B SSIM-Y"]
    found = [cells(line) for line in lines[2:]]
    assert found == [
        ["bicubic", "bicubic", "–", "–", "–", "–", "30.00", "0.8000", "29.00", "0.7000"],
        ["x¦y", "kd", "EDSR", "1,234,567", "5,000", "0", "**31.00**", "0.9000", "28.00", "0.6500"],
        ["z", "dukd", "EDSR", "1,234,567", "5,000", "1", "31.00", "**0.9100**", "**28.50**", "**0.6600**"],
        ["teacher", "teacher", "HAT", "20", "–", "–", "33.00", "0.9500", "exact", "1.0000"],
    ]


def test_equal_students_are_both_marked() -> None:
    twins = [Contender(name, "kd", {"A": luma(30.0, 0.8)}, competes=True) for name in "ab"]
    assert markdown(twins, ["A"], USUAL).count("**30.00**") == 2


def test_csv_holds_the_digits_and_leaves_empty_what_does_not_apply() -> None:
    rows = list(csv.DictReader(io.StringIO(comma_separated(ROWS, ["B", "A"], USUAL))))
    assert list(rows[0])[-4:] == ["B psnr_y", "B ssim_y", "A psnr_y", "A ssim_y"]
    assert rows[1]["name"] == "x|y"
    assert rows[1]["A psnr_y"] == "31.004000"
    assert rows[1]["parameters"] == "1234567"
    assert [rows[0][key] for key in ("student", "parameters", "steps", "seed")] == [""] * 4


def test_json_is_nested_and_strict() -> None:
    text = scores_json(ROWS)
    assert "Infinity" not in text
    content = json.loads(text)
    assert list(content) == ["bicubic", "x|y", "z", "teacher"]
    assert content["z"]["A"] == {"psnr_y": 31.001, "ssim_y": 0.91}
    assert content["teacher"]["B"] == {"psnr_y": None, "ssim_y": 1.0}
