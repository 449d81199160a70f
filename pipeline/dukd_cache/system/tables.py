"""Tables for people: Markdown, that can be read as plain text too; on a terminal they are drawn."""

import re
import sys
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from dukd_cache.system.terminal import can_redraw

if TYPE_CHECKING:  # takes a while to load
    from rich.table import Table

_BETWEEN_CELLS = re.compile(r"(?<!\\)\|")


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[object]], left: int = 1) -> str:
    """Lines of equal length; the columns after the first `left` are set right. Each line ends with a newline."""
    escaped = [[str(cell).replace("|", "\\|") for cell in line] for line in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*escaped, strict=True)]
    rules = ["-" * width if at < left else "-" * (width - 1) + ":" for at, width in enumerate(widths)]
    text = ""
    for line in (escaped[0], rules, *escaped[1:]):
        cells = (
            cell.ljust(width) if at < left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        text += f"| {' | '.join(cells)} |\n"
    return text


def show(text: str) -> None:
    """Print `text` on standard output; the Markdown tables in it are drawn where that is a terminal."""
    if not can_redraw(sys.stdout):
        print(text)
        return
    from rich.console import Console

    console = Console(highlight=False)
    for is_table, lines in groupby(text.splitlines(), lambda line: line.startswith("| ")):
        if is_table:
            console.print(_drawn([*lines]))
        else:
            print(*lines, sep="\n", flush=True)


def _drawn(lines: Sequence[str]) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    headings, rules, *rows = ([cell.strip() for cell in _BETWEEN_CELLS.split(line)[1:-1]] for line in lines)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading, rule in zip(headings, rules, strict=True):
        table.add_column(Text(heading), justify="right" if rule.endswith(":") else "left", overflow="fold")
    for row in rows:
        cells = [cell.replace("\\|", "|") for cell in row]
        table.add_row(*(Text(cell.strip("*"), "bold" if cell.startswith("**") else "") for cell in cells))
    return table
