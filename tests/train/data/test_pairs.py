"""Pairs of features of a training: every two settings together, its losses against plain NumPy on the cache's records.

Legend: s scale, p input side, q = s·p.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tests.cache.build.test_pairs import BLUR, bicubic
from tests.pairs import Row, rows_of

from dukd_cache import networks
from dukd_cache.format.reader import Cache
from dukd_cache.system.arrays import F64
from dukd_train.core.learner import Learner
from dukd_train.core.parallel import World
from dukd_train.core.run import run
from dukd_train.core.served import served, terms_of
from dukd_train.core.targets import arrays_of
from dukd_train.data.batches import Batches
from dukd_train.data.mixing import VIEW, read_by
from dukd_train.data.residency import open_rows
from dukd_train.data.sampling import kept_in
from dukd_train.settings import TrainConfig

Settings = Callable[..., TrainConfig]

CPU = torch.device("cpu")
TURNS = ("hflip", "transpose", "invert")
SAMPLING: dict[str, dict[str, Any]] = {
    "all": {},
    "some": {"share": 0.4},
    "weighted": {"share": 0.2, "weight": 3, "drop": "lowest"},
}
FACTORS: dict[str, list[Any]] = {
    "cache": ["uint8", "clean too, float16"],
    "target": ["teacher", "mean", "agreement"],
    "eco": [0, 10],
    "patch": [None, 10],
    "augment": [0, 1],
    "sampling": ["all", "some", "weighted"],
    "shuffle": ["records", "shards"],
    "resident": ["memory", "no"],
    "border": [0, 3],
    "weight": ["2", "falls"],
    "precision": ["fp32", "bf16"],
    "world": [1, 2],
}
ROWS = rows_of(FACTORS)
STEP, BATCH = 2, 4


@pytest.fixture(scope="module")
def caches(build_cache: Callable[..., Path]) -> dict[str, Path]:
    """In 8 bits; and of blurred inputs, with answers to these and to clean ones."""
    columns = ["bicubic_psnr"]
    both = {"degradation": BLUR, "answers_of": ["input", "clean"], "dtype": "float16"}
    return {"uint8": build_cache(columns=columns), "clean too, float16": build_cache(columns=columns, **both)}


def config_of(settings_of: Settings, caches: dict[str, Path], row: Row, **more: Any) -> TrainConfig:
    chances = {"vflip": 0} | dict.fromkeys(TURNS, row["augment"])
    weight = {"start": 1, "end": 0, "steps": 4} if row["weight"] == "falls" else 2
    return settings_of(
        cache=caches[row["cache"]],
        target=row["target"],
        batch=BATCH,
        augment={"base": chances, "zoom": chances},
        eco={"steps": row["eco"], "start": 0.25},
        sampling=SAMPLING[row["sampling"]],
        data={"shuffle": row["shuffle"], "shuffle_window": 2, "resident": row["resident"], "workers": 0},
        loss={"border": row["border"], "kd": {"weight": weight}},
        **{name: row[name] for name in ("patch", "precision")},
        **more,
    )


def batches_of(config: TrainConfig, cache: Cache, world: World) -> Batches:
    """As a run makes them."""
    terms, eco, order, _ = served(config, cache, world)
    wanted = arrays_of(terms, cache.manifest)
    kept = kept_in(cache, wanted, config.sampling) if config.sampling.chooses else {}
    order = replace(order, kept=kept)
    if eco.steps:
        wanted[VIEW] = [*dict.fromkeys((*wanted[VIEW], *read_by(eco, cache)))]
    rows, _ = open_rows(cache, wanted, config.data, CPU)
    return Batches(rows, order, config.augment, CPU, 0, eco)


def unit(picture: npt.NDArray[Any]) -> F64:
    return picture.astype(np.float64) / (255 if picture.dtype == np.uint8 else 1)


def seen(row: Row, batches: Batches, cache: Cache, view: str) -> list[dict[str, F64]]:
    """What a step trains with, in [0,1]: cut, turned, mixed, record by record."""
    found = []
    picks, _ = replace(batches.order, rank=0, world=1).draw(view, STEP, cache.count(view))
    corners = [(0, 0)] * BATCH if picks.corners is None else picks.corners.tolist()
    for index, (y, x) in zip(picks.indices.tolist(), corners, strict=True):
        record, arrays = cache.read(view, index), {}
        for name in record.keys() - {"clean"}:
            by = len(record[name]) // len(record.input)
            cut = record[name][by * y : by * (y + picks.side), by * x : by * (x + picks.side)]
            if row["augment"]:  # in the type that is stored
                cut = cut.dtype.type(255 if cut.dtype == np.uint8 else 1) - cut[:, ::-1].transpose(1, 0, 2)
            arrays[name] = unit(cut)
        if view == "base" and row["eco"]:
            part = 0.25 + 0.75 * STEP / 10
            of_all = row["target"] in ("mean", "agreement")
            teacher = np.mean(
                [each for name, each in arrays.items() if name == "teacher" or (of_all and "teacher" in name)], 0
            )
            arrays["input"] = (1 - part) * bicubic(255 * teacher, 1, 2) / 255 + part * arrays["input"]
            arrays["truth"] = (1 - part) * teacher + part * arrays["truth"]
        found.append(arrays)
    return found


def loss_of(row: Row, output: F64, arrays: dict[str, F64], to: str) -> float:
    """The mean absolute difference, less the border."""
    answers = [picture for name, picture in arrays.items() if name.startswith("teacher")]
    target, weight = np.mean(answers, 0) if to in ("mean", "agreement") else arrays[to], np.ones((1, 1, 1))
    if to == "agreement":
        apart = np.sqrt(np.var(answers, 0).mean(-1, keepdims=True))
        weight = 1 / (1 + np.square(apart / apart.mean())) if apart.any() else np.ones_like(apart)
        weight = weight / weight.mean()
    inner = slice(row["border"], len(target) - row["border"])
    return float(np.abs(weight * (output - target))[inner, inner].mean())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(map(str, row.values())))
def test_losses_are_of_what_the_settings_say(row: Row, settings_of: Settings, caches: dict[str, Path]) -> None:
    config = config_of(settings_of, caches, row)
    cache = Cache(config.cache)
    shares = [batches_of(config, cache, World(CPU, rank, row["world"])) for rank in range(row["world"])]
    parts = [each.at(STEP) for each in shares]
    batch = {
        view: {name: torch.cat([part[view][name] for part in parts]) for name in parts[0][view]} for view in parts[0]
    }

    torch.manual_seed(0)
    student = networks.build("EDSR", 2, {"channels": 8, "blocks": 1})
    dtype = torch.bfloat16 if row["precision"] == "bf16" else None
    expected: dict[str, float] = {}
    terms = terms_of(config, cache, CPU)
    for view in batch:
        records = seen(row, shares[0], cache, view)
        inputs = torch.from_numpy(np.stack([each["input"] for each in records])).permute(0, 3, 1, 2).float()
        np.testing.assert_allclose(batch[view]["input"].float() / 255, inputs, atol=1e-6)
        with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype is not None):
            outputs = [each.permute(1, 2, 0).double().numpy() for each in student.forward(inputs).float()]
        for name, term in terms.items():
            if term.view == view:
                each = zip(outputs, records, strict=True)
                expected[name] = float(np.mean([loss_of(row, output, arrays, term.to) for output, arrays in each]))
    learner = Learner(config, student, terms, World(CPU))
    losses = learner.step(batch, 1e-4, 0.9, STEP)
    found = {name: loss.item() for name, loss in losses.items()}
    assert found == pytest.approx(expected, abs=2e-3 if dtype else 2e-6)
    assert terms["kd"].weight_at(STEP) == (0.5 if row["weight"] == "falls" else 2)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(map(str, row.values())))
def test_an_epoch_has_the_records_that_sampling_leaves(
    row: Row, settings_of: Settings, caches: dict[str, Path]
) -> None:
    config = config_of(settings_of, caches, row)
    cache = Cache(config.cache)
    shares = [batches_of(config, cache, World(CPU, rank, row["world"])).order for rank in range(row["world"])]
    numbers = cache.columns("base")["bicubic_psnr"]
    rising = np.argsort(numbers, kind="stable")
    share = SAMPLING[row["sampling"]].get("share", 0)
    count = int(share * len(numbers))
    lowest = row["sampling"] == "weighted"
    kept = rising[count:] if lowest else rising[: len(rising) - count]
    often = np.linspace(1, 3, len(kept)) / 2 if row["sampling"] == "weighted" else np.ones(len(kept))
    parts = [each.draw("base", step, len(numbers))[0].indices for step in range(len(kept)) for each in shares]
    for epoch in np.concatenate(parts).reshape(BATCH, len(kept)):
        read = Counter(epoch.tolist())
        assert read.keys() <= {*kept.tolist()}
        assert all(abs(read[index] - share) < 1 for index, share in zip(kept.tolist(), often, strict=True))


def test_with_everything_on_a_run_goes_on_exactly(
    settings_of: Settings, caches: dict[str, Path], tmp_path: Path
) -> None:
    """A discriminator, a mixed target, weights that change, weighted records, shard after shard, streamed or not."""
    row = {name: values[-1] for name, values in FACTORS.items()} | {"resident": "memory"}
    started = config_of(settings_of, caches, row, method="kd", steps=2)
    run(started, tmp_path / "first")
    more: dict[str, Any] = {
        "method": "dukd-gan",
        "schedule": {"milestones": [3]},
        "student": started.student.model_dump() | {"init": tmp_path / "first"},
        "discriminator": {"width": 4},
    }

    def asked(steps: int, resident: str) -> TrainConfig:
        return config_of(settings_of, caches, row | {"resident": resident}, steps=steps, **more)

    run(asked(6, "memory"), tmp_path / "whole")
    run(asked(3, "no"), tmp_path / "parts")
    run(asked(6, "no"), tmp_path / "parts")
    curve, after = ((tmp_path / each / "curve.csv").read_text() for each in ("whole", "parts"))
    assert curve == after
    one, other = (
        networks.load(tmp_path / each / "student.safetensors").module.state_dict() for each in ("whole", "parts")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
