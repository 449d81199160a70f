"""The scores of groups as a table for a paper: LaTeX with the package booktabs."""

import math
import re
from collections.abc import Sequence
from itertools import product

from dukd_train.report.standings import Standing
from dukd_train.report.tables import Contender, digits
from dukd_train.scoring.scores import LABELS, MISSING, best_of, shown

_ESCAPED = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def latex(
    standings: Sequence[Standing], references: Sequence[Contender], sets: Sequence[str], metrics: Sequence[str]
) -> str:
    """Mean ± sample standard deviation over the seeds of each group, the best mean in bold; bicubic and teacher below.

    Args:
        standings: of the groups.
        references: bicubic and perhaps the teacher.
        sets: columns, each with all metrics.
        metrics: names of scores.
    """
    columns = [*product(sets, metrics)]
    heads = [f"\\multicolumn{{{len(metrics)}}}{{c}}{{{escaped(name)}}}" for name in sets]
    rules = [f"\\cmidrule(lr){{{2 + at * len(metrics)}-{1 + (at + 1) * len(metrics)}}}" for at in range(len(sets))]
    lines = [
        "% \\usepackage{booktabs}",
        f"\\begin{{tabular}}{{l{'r' * len(columns)}}}",
        "\\toprule",
        _row("", *heads),
        "".join(rules),
        _row("", *(LABELS[metric] for _, metric in columns)),
        "\\midrule",
    ]
    for standing in standings:
        cells = []
        for name, metric in columns:
            best = best_of(metric, (each.scores[name][metric].mean for each in standings))
            spread = standing.scores[name][metric]
            text = spread.text(digits(metric)).replace("±", "\\pm")
            bold = f"\\mathbf{{{text}}}" if spread.mean == best else text
            cells.append(f"${bold}$" if math.isfinite(spread.mean) else "--")
        lines.append(_row(escaped(standing.group.name), *cells))
    lines.append("\\midrule")
    for row in references:
        scores = (shown(metric, row.scores[name][metric], digits(metric)) for name, metric in columns)
        lines.append(_row(escaped(row.name), *(score.replace(MISSING, "--") for score in scores)))
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def escaped(text: str) -> str:
    """`text` with none of its characters taken for a command."""
    return re.sub(r"[\\~^&%$#_{}]", lambda found: _ESCAPED.get(found[0], f"\\{found[0]}"), text)


def _row(*cells: str) -> str:
    return f"{' & '.join(cells)} \\\\"
