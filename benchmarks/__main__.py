"""`python -m benchmarks [NAME …]`: measure, print the table, write the JSON. Each benchmark is a process of its own."""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks import machine
from benchmarks.figures import Figure, Goal, table
from benchmarks.timing import cores

ON_CPU = ("start", "build", "memory", "reading", "growth", "scale", "step", "sweep", "cluster")
ON_GPU = ("gpu",)


def main() -> None:
    """Run what the command line names."""
    words = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    valid = ", ".join((*ON_CPU, *ON_GPU))
    words.add_argument("names", nargs="*", metavar="NAME", help=f"of {valid}; default: all but gpu")
    words.add_argument("--out", type=Path, default=Path("build/benchmarks.json"), help="JSON file to write")
    words.add_argument("--threads", type=int, default=cores(), help="of a process; default: all cores")
    words.add_argument("--competitors", type=Path, help="a Python that has benchmarks/requirements.txt; for reading")
    words.add_argument("--into", type=Path, help=argparse.SUPPRESS)  # a process that measures: where its figures go
    asked = words.parse_args()
    names = asked.names or list(ON_CPU)
    if unknown := set(names) - {*ON_CPU, *ON_GPU}:
        words.error(f"unknown benchmark {', '.join(sorted(unknown))} (valid: {valid})")
    if asked.into:
        _measure(names, asked.into)
    else:
        _run(names, asked.out, asked.threads, asked.competitors)


def _run(names: list[str], out: Path, threads: int, competitors: Path | None) -> None:
    os.environ["OMP_NUM_THREADS"] = str(threads)
    facts = machine.facts() | {"torch_threads": threads, "started": time.strftime("%Y-%m-%d %H:%M:%S %Z")}
    print(json.dumps(facts, indent=1), file=sys.stderr)
    figures: list[Figure] = []
    seconds: dict[str, float] = {}
    for name in names:
        started = time.perf_counter()
        print(f"{name} …", file=sys.stderr, flush=True)
        figures += _in_its_own_process(name, competitors if name == "reading" and competitors else Path(sys.executable))
        seconds[name] = round(time.perf_counter() - started, 1)
        print(f"{name}: {seconds[name]} s", file=sys.stderr, flush=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        content = {"machine": facts, "seconds": seconds, "figures": [figure.as_json() for figure in figures]}
        out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    print(table(figures))
    print(f"\n{out}")


def _in_its_own_process(name: str, python: Path) -> list[Figure]:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        done = subprocess.run([python, "-m", "benchmarks", name, "--into", file.name])
        if done.returncode:
            sys.exit(done.returncode)
        return [Figure(**one | {"goal": one["goal"] and Goal(**one["goal"])}) for one in json.load(file)]


def _measure(names: list[str], into: Path) -> None:
    found: list[dict[str, object]] = []
    for name in names:
        for figure in importlib.import_module(f"benchmarks.{name}").figures():
            print(table([figure]).splitlines()[-1], file=sys.stderr, flush=True)
            found.append(asdict(figure))
    into.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
