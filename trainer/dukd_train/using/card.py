"""A finished run → a model card as Hugging Face's Hub shows it: README.md with YAML front matter.

Its keys are those of the Hub's specification (huggingface/hub-docs, modelcard.md). All that it says is read from the
run folder and, where the cache is still there, from its manifest.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from dukd_cache import networks
from dukd_cache.format import manifest
from dukd_cache.format.manifest import Manifest
from dukd_cache.networks import Network
from dukd_cache.networks.elsewhere import opens_in_spandrel, read_by
from dukd_cache.places.choice import place_at
from dukd_cache.system.errors import DukdError, SettingError
from dukd_cache.system.files import try_file
from dukd_train.errors import RunError
from dukd_train.keeping import run_folder
from dukd_train.keeping.curve import rows_of
from dukd_train.keeping.run_folder import CONFIG, FACTS
from dukd_train.keeping.validation import MADE, VALIDATION
from dukd_train.scoring.scores import LABELS, shown
from dukd_train.settings import TrainConfig

_TASK = "image-to-image"
"""The Hub's name for it."""

_LICENSE = "# license: yours to choose; the teacher's weights and the images may bind you. Such as: apache-2.0\n"


def card_of(weights: Path, out: Path, *, overwrite: bool, file: str | None = None) -> str:
    """The text of the card of a run's student, which may be written to `out`.

    Args:
        weights: the run folder, or the student in it.
        file: name of the weights file that readers will have; the student's own if None.

    Raises:
        RunError: the weights are no finished run's.
        SettingError: `out` exists and `overwrite` is false.
        WeightsError: the weights hold no SR network.
    """
    if out.exists() and not overwrite:
        raise SettingError("exists already", out, cure="`overwrite` makes it anew")
    try_file(out, make_parents=True)
    student = networks.file_at(weights)
    run = student.parent
    if not (run / FACTS).is_file():
        raise RunError(f"expected a finished run, found no {FACTS}: a card tells how a student was trained", run)
    facts = json.loads((run / FACTS).read_text(encoding="utf-8"))
    config, network = TrainConfig.load(run / CONFIG), networks.load(student)
    facts["steps"] = int(network.metadata.get("step", facts["steps"]))  # fewer where it is the best validation's
    scores = {row["set"]: row for row in rows_of(run / VALIDATION) if row["step"] == str(facts["steps"])}
    of_sets = {name: _numbers(row) for name, row in scores.items()}
    environment = Environment(
        loader=PackageLoader("dukd_train.using"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("card.md.jinja").render(
        front=_LICENSE + yaml.safe_dump(_front(network, facts, of_sets), sort_keys=False, allow_unicode=True),
        facts=facts,
        config=config,
        earlier=run_folder.earlier(run, config),
        cache=_cache(config, facts["cache_digest"]),
        scores=of_sets,
        made={name: row.get(MADE) or "" for name, row in scores.items()},
        columns=list(dict.fromkeys(metric for score in of_sets.values() for metric in score)),
        labels=LABELS,
        shown=shown,
        file=file or student.name,
        spandrel=opens_in_spandrel(network),
        readers=read_by(network),
    )


def _front(network: Network, facts: Mapping[str, Any], scores: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """The front matter, but for the license."""
    own = [facts["student"].lower(), f"x{facts['scale']}"]
    front: dict[str, Any] = {
        "library_name": "dukd",
        "pipeline_tag": _TASK,
        "tags": ["super-resolution", "knowledge-distillation", "pytorch", *own]
        + (["spandrel"] if opens_in_spandrel(network) else []),
    }
    results = []
    for name, score in scores.items():
        metrics = [
            {"type": metric.partition("_")[0], "value": float(shown(metric, value)), "name": LABELS[metric]}
            for metric, value in score.items()
        ]
        task = {"type": _TASK, "name": f"Super-resolution ×{facts['scale']}"}
        results.append({"task": task, "dataset": {"type": name.lower(), "name": name}, "metrics": metrics})
    if results:
        front["metrics"] = list(dict.fromkeys(metric.partition("_")[0] for each in scores.values() for metric in each))
        front["model-index"] = [{"name": "_".join([*own, facts["method"]]), "results": results}]
    return front


def _numbers(row: Mapping[str, str]) -> dict[str, float]:
    """The scores of a row of `validation.csv` that are there."""
    found = {metric: float(row[metric]) for metric in LABELS if row.get(metric)}
    return {metric: value for metric, value in found.items() if math.isfinite(value)}


def _cache(config: TrainConfig, digest: str) -> Manifest | None:
    """What the run was trained on; None where it is not there any more, or another one is."""
    try:
        found, its_digest = manifest.opened(place_at(config.cache))
    except (DukdError, OSError):
        return None
    return found if its_digest == digest else None
