"""The table for a paper: as LaTeX reads it, the best in bold, names escaped."""

from tests.train.report.test_headlines import BICUBIC, standing

from dukd_train.report.latex import escaped, latex


def test_the_table_has_groups_then_references() -> None:
    best, other = standing("method=a_b", 30.0, 30.2), standing("kd", 29.0)
    lines = latex([other, best], [BICUBIC], ["A"], ["psnr_y"]).splitlines()
    assert lines[1:] == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r" & \multicolumn{1}{c}{A} \\",
        r"\cmidrule(lr){2-2}",
        r" & PSNR-Y \\",
        r"\midrule",
        r"kd & $29.00$ \\",
        r"method=a\_b & $\mathbf{30.10 \pm 0.14}$ \\",
        r"\midrule",
        r"bicubic & 28.00 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_where_there_is_no_mean_there_is_a_dash() -> None:
    text = latex([standing("a", float("nan"))], [BICUBIC], ["A"], ["psnr_y"])
    assert r"a & -- \\" in text


def test_no_character_of_a_name_is_a_command() -> None:
    assert escaped(r"50%_a\b~{#}") == r"50\%\_a\textbackslash{}b\textasciitilde{}\{\#\}"
