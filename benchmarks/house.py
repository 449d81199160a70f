"""The structure of the product, from its source: `python benchmarks/house.py [CHECKOUT]`.

A room is a folder of a package, or a module beside them. It stands one floor above the highest room that it imports.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

HALVES = {"dukd_cache": Path("pipeline/dukd_cache"), "dukd_train": Path("trainer/dukd_train")}


def main() -> None:
    """Print it."""
    checkout = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]
    total = 0
    for half, folder in HALVES.items():
        files = sorted((checkout / folder).rglob("*.py"))
        lines = {path: path.read_text(encoding="utf-8").count("\n") for path in files}
        rooms: dict[str, list[Path]] = defaultdict(list)
        arrows: dict[str, set[str]] = defaultdict(set)
        for path in files:
            room = _room(path.relative_to(checkout / folder).with_suffix("").parts)
            rooms[room].append(path)
            arrows[room] |= {_room(parts) for parts in _imported(path, half)} - {room}
        rooms = {room: paths for room, paths in rooms.items() if not room.startswith("__")}
        arrows = {room: {other for other in arrows[room] if other in rooms} for room in rooms}
        total += sum(lines.values())
        print(
            f"{half}: {sum(lines.values())} lines, {len(files)} files, {len(rooms)} rooms on {_floors(arrows)} floors, "
            f"{sum(map(len, arrows.values()))} imports between rooms"
        )
        for room, paths in sorted(rooms.items(), key=lambda each: -len(each[1])):
            if len(paths) > 1:
                print(f"    {room:14}{len(paths):3} files {sum(lines[path] for path in paths):6} lines")
    print(f"product: {total} lines")


def _room(parts: tuple[str, ...]) -> str:
    return parts[0]


def _imported(path: Path, half: str) -> Iterator[tuple[str, ...]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{each.name}" for each in node.names]
        elif isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        yield from (tuple(name.split(".")[1:]) for name in names if name.split(".")[0] == half)


def _floors(arrows: dict[str, set[str]]) -> int:
    @cache
    def floor(room: str) -> int:
        return 1 + max((floor(other) for other in arrows[room]), default=0)

    return max(map(floor, arrows))


if __name__ == "__main__":
    main()
