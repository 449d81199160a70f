"""What a student's answers are compared with: an array of the records, or all answers of a record mixed.

mean        of the answers, each in [0,1]
agreement   the same; output and mean are both multiplied by w: pixels count less where the teachers disagree

w = 1 / (1 + (d/s)²), then divided by its mean over the record, where d is the spread of the answers at a pixel (their
standard deviation over answers and channels) and s its mean over the record. One record at a time, so a batch may be
shared out; d and s are the same for a record and for F of it, so w of F(answers) is F of w.

Shapes: N records, C = 3, H = W sides of an answer.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dukd_cache.format.header import Header
from dukd_cache.system.errors import SettingError, unknown_name
from dukd_cache.system.terminal import tell_once
from dukd_train.data.rows import Batch, answers_among
from dukd_train.measures import real
from dukd_train.objective import MEAN, TEACHER, Term

MIXED = (MEAN, "agreement")
"""What a term may be compared with, beside arrays by their names."""

_LEAST = 1e-12
"""Squared spread, far below that of a level of 255: where all agree, all pixels count alike."""


def with_target(terms: Mapping[str, Term], target: str | None, header: Header) -> dict[str, Term]:
    """The terms with `target`, or the cache's only answer, where they say `teacher`.

    Raises:
        SettingError: there is no such target, or several are meant.
    """
    answers = sorted(header.answers)
    if target is not None and answers and target not in (*answers, *MIXED):
        raise SettingError(unknown_name("answer", target, (*answers, *MIXED)), "target")
    if not any(term.to == TEACHER for term in terms.values()):
        return dict(terms)
    if target in MIXED and len(answers) == 1:
        tell_once(f"target={target}: the cache has one answer, {answers[0]}, and this is the target")
    to = target or _usual(answers)
    return {name: term.model_copy(update={"to": to}) if term.to == TEACHER else term for name, term in terms.items()}


def _usual(answers: Sequence[str]) -> str:
    """The target where none is chosen."""
    if len(answers) == 1:
        return answers[0]
    if answers and TEACHER not in answers:
        *others, last = (f"target={choice}" for choice in (*answers, *MIXED))
        reason = f"the cache has answers {' and '.join(answers)}, and none called {TEACHER}"
        raise SettingError(reason, "target", cure=f"set {', '.join(others)} or {last}")
    return TEACHER


def arrays_of(terms: Mapping[str, Term], header: Header) -> dict[str, list[str]]:
    """What the terms of the loss read of each view."""
    found: dict[str, dict[str, None]] = {}
    for term in terms.values():
        names = answers_among(header.view(term.view).arrays) if term.to in MIXED else [term.to]
        found.setdefault(term.view, {}).update(dict.fromkeys(names))
    return {view: [*names] for view, names in found.items()}


def compared(output_NCHW: Tensor, batch: Batch, to: str) -> tuple[Tensor, Tensor]:
    """The output and its target `to`, as a measure takes them."""
    if to not in MIXED:
        return output_NCHW, batch[to]
    answers = [real(batch[name]) for name in answers_among(batch)]
    answers_KNCHW = torch.stack(answers)
    mean_NCHW = answers_KNCHW.mean(0)
    if to == MEAN:
        return output_NCHW, mean_NCHW
    weight_N1HW = _agreement(answers_KNCHW - mean_NCHW)
    return output_NCHW.float() * weight_N1HW, mean_NCHW * weight_N1HW


def _agreement(apart_KNCHW: Tensor) -> Tensor:
    """w [N,1,H,W] of the differences of K answers to their mean."""
    squared_N1HW = apart_KNCHW.square().mean((0, 2)).unsqueeze(1)
    usual_N111 = squared_N1HW.sqrt().mean((1, 2, 3), keepdim=True).square()
    weight_N1HW = (usual_N111 + _LEAST) / (usual_N111 + squared_N1HW + _LEAST)
    return weight_N1HW / weight_N1HW.mean((1, 2, 3), keepdim=True)
