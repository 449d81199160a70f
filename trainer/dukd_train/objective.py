"""The loss: a list of terms. A method is such a list. Loads no torch, as settings are made of this.

L = Σ weight · by(S(x), to) over the terms, where x are the inputs of the term's view and `to` is augmented as they are.
DUKD's (arXiv 2309.14162, equations 1 to 6), where each `by` is the mean absolute difference:

L = λ_rec·|S(x)−y| + λ_kd·|S(x)−T(x)|                               base
  + λ_zoom_in·|S(F(x))−F(T(x))|                                     zoom_in
  + λ_zoom_out_rec·|S(F(x))−F(y)| + λ_zoom_out_kd·|S(F(x))−F(T(x))|   zoom_out
"""

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    GetJsonSchemaHandler,
    RootModel,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from dukd_cache.settings.model import Count, Positive, Settings, Weight, one_of
from dukd_train.measures import MEASURES, Measure

if TYPE_CHECKING:
    from torch import Tensor

TEACHER = "teacher"
"""The answer that the methods' terms are compared with: an only teacher's, or the one that a training chooses."""

MEAN = "mean"
"""Of all answers of a record, where one of them could be named."""

GAN = "gan"
"""The measure that learns with the student: see `core/adversarial.py`."""

_TOLD = {GAN: ("real", "fake")}
"""What measures that learn tell of their own losses."""

BEFORE_TERMS = ("step", "lr", "total")
"""Columns of `curve.csv` before those of the terms, none of which may be called so."""


class Ramp(Settings):
    """A number that changes with the step: from `start` to `end` in `steps` steps, where it stays."""

    start: Weight
    """Before the first step."""
    end: Weight
    """After `steps` steps, and from then on."""
    steps: Positive
    """How many it takes."""
    kind: Literal["linear", "cosine"] = "linear"
    """linear: by the same amount in each step. cosine: along half a cosine, slowly at both ends."""

    def at(self, step: int) -> float:
        """The number in `step`, counted from 0: a pure function of it."""
        part = min(1.0, step / self.steps)
        if self.kind == "cosine":
            part = (1 - math.cos(math.pi * part)) / 2
        return self.start + (self.end - self.start) * part


_NUMBER = TypeAdapter(Weight, config=ConfigDict(allow_inf_nan=False))


def _number_or_ramp(given: object) -> object:
    """So that a mistake is told of the one of both that was meant."""
    return Ramp.model_validate(given) if isinstance(given, Mapping | Ramp) else _NUMBER.validate_python(given)


class Term(Settings):
    """A term of the loss: on which view, what the student's output is compared with, and how."""

    model_config = ConfigDict(json_schema_extra={"short": "weight"})

    view: str
    """The view whose inputs the student gets."""
    to: str
    """What its output is compared with: `truth`, the name of an answer in the cache, or `mean` or `agreement` of all.
    `teacher` is what `target` says, or the answer of that name, or the only one."""
    by: Annotated[str, one_of((*MEASURES, GAN))] = "l1"
    """How to compare. l1: mean absolute difference. mse: mean squared difference. gan: by a discriminator that learns
    with the student. [All of them](method.md#loss)."""
    weight: Annotated[Weight | Ramp, BeforeValidator(_number_or_ramp)] = 1.0
    """λ: a number, or a change over time: `{start: 1, end: 0, steps: 2000}`. 0 switches the term off."""
    border: Count = 0
    """Outermost output pixels to ignore, on each side."""

    def weight_at(self, step: int) -> float:
        """λ in `step`, counted from 0."""
        return self.weight.at(step) if isinstance(self.weight, Ramp) else self.weight

    @property
    def is_on(self) -> bool:
        """Whether it has a weight in any step."""
        return max(self.weight.start, self.weight.end) > 0 if isinstance(self.weight, Ramp) else self.weight > 0

    def __str__(self) -> str:
        return f"student and {self.to} on {self.view}"

    def measured(self, output: "Tensor", target: "Tensor", by: Measure | None = None) -> "Tensor":
        """Its value without the weight, see `MEASURES`; by one that learns, where it is given."""
        rows, columns = (slice(self.border, side - self.border) for side in output.shape[-2:])
        return (by or MEASURES[self.by])(output[..., rows, columns], target[..., rows, columns])


_SCRATCH = {"rec": Term(view="base", to="truth")}
_KD = _SCRATCH | {"kd": Term(view="base", to=TEACHER)}
_DUKD = _KD | {
    "zoom_in": Term(view="zoom_in", to=TEACHER),
    "zoom_out_rec": Term(view="zoom_out", to="truth"),
    "zoom_out_kd": Term(view="zoom_out", to=TEACHER),
}

_DUKD_GAN = _DUKD | {GAN: Term(view="base", to="truth", by=GAN, weight=0.1)}

METHODS: dict[str, dict[str, Term]] = {"scratch": _SCRATCH, "kd": _KD, "dukd": _DUKD, "dukd-gan": _DUKD_GAN}
"""The terms of each method, by name."""

KNOWN = {name: term for terms in METHODS.values() for name, term in terms.items()}
"""The terms that some method has."""


def without_weights(terms: Mapping[str, Term]) -> dict[str, dict[str, str]]:
    """What terms measure: their values can be told as one curve where this is the same."""
    return {name: term.model_dump(exclude={"weight"}) for name, term in terms.items()}


def learned_losses(terms: Mapping[str, Term]) -> list[str]:
    """Names of what the measures that learn tell of themselves: `gan.real`, `gan.fake`."""
    return [f"{name}.{what}" for name, term in terms.items() for what in _TOLD.get(term.by, ())]


class _Named(Term):
    """A term in a list."""

    name: str | None = None


class Loss(RootModel[dict[str, Term]]):
    """Terms of the loss by name: a weight λ (`rec: 5`), or what to change in a term (`rec: {by: mse}`). Those below
    apply if the method has them; the paper's weight of `rec` is 5 for EDSR and SwinIR, 1 for RCAN. Any other name is a
    new term, for all methods. `border` is that of every term. A list of terms replaces those of the method."""

    model_config = ConfigDict(frozen=True)

    def of(self, method: str) -> dict[str, Term]:
        """The terms that are trained with: those of `method` and the user's own; without those of weight 0."""
        ours = KNOWN.keys() - METHODS[method].keys()
        return {name: term for name, term in self.root.items() if term.is_on and name not in ours}

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, given: object) -> object:
        """Every term whole, the methods' first: equal losses are written alike, and summed in one order."""
        if isinstance(given, list):
            given = dict.fromkeys(KNOWN, 0) | _by_name(_LIST.validate_python(given))
        if not isinstance(given, Mapping | None):
            return given
        asked: dict[str, Any] = {**(given or {})}
        of_all = _BORDER.validate_python({name: asked.pop(name) for name in ("border",) if name in asked})
        unknown = [name for name, value in asked.items() if name not in KNOWN and not _is_whole(value)]
        if unknown:
            errors = [{"type": "extra_forbidden", "loc": (name,), "input": asked[name]} for name in unknown]
            raise ValidationError.from_exception_data(cls.__name__, errors)  # type: ignore[arg-type]
        plain = {name: value for name, value in asked.items() if not isinstance(value, Mapping | Term)}
        asked |= {name: {"weight": weight} for name, weight in _WEIGHTS.validate_python(plain).items()}
        known = {name: {**dict(term), **dict(asked.get(name, {})), **of_all} for name, term in KNOWN.items()}
        return known | {name: {**dict(asked[name]), **of_all} for name in sorted(asked.keys() - KNOWN.keys())}

    @model_validator(mode="after")
    def _names_can_be_columns(self) -> "Loss":
        for name in self.root:
            if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) or name in BEFORE_TERMS:
                words = f"letters, digits and _, and not {', '.join(BEFORE_TERMS)}"
                raise ValueError(f"expected names of {words} for its terms, got {name!r}")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        reference = handler(core)
        whole = handler.resolve_ref_schema(reference)
        term = handler.resolve_ref_schema(whole["additionalProperties"])
        change = {key: term[key] for key in ("type", "properties", "additionalProperties", "short")}
        weight = term["properties"]["weight"]["anyOf"][0]
        terms = {
            name: {"anyOf": [weight, change], "default": known.weight, "description": f"{known}: {known.by}."}
            for name, known in KNOWN.items()
        }
        border = term["properties"]["border"]
        terms["border"] = border | {"description": f"For every term. {border['description']}"}
        name = {"type": "string", "description": "VIEW_TO_BY if not given."}
        listed = change | {"properties": change["properties"] | {"name": name}, "required": term["required"]}
        by_name = {"type": "object", "properties": terms, "additionalProperties": whole.pop("additionalProperties")}
        del whole["type"]
        whole["anyOf"] = [by_name, {"type": "array", "items": listed}]
        return reference


_LIST, _WEIGHTS = TypeAdapter(list[_Named]), TypeAdapter(dict[str, Weight], config=ConfigDict(allow_inf_nan=False))
_BORDER = TypeAdapter(dict[str, Count])


def _is_whole(given: object) -> bool:
    """Whether it is meant for a term of one's own: it says what is compared."""
    return isinstance(given, Term) or (isinstance(given, Mapping) and not given.keys().isdisjoint(("view", "to")))


def _by_name(terms: list[_Named]) -> dict[str, Term]:
    found: dict[str, Term] = {}
    for term in terms:
        name = term.name or re.sub(r"\W", "_", f"{term.view}_{term.to}_{term.by}")
        if name in KNOWN:
            raise ValueError(f"a list takes the place of the methods' terms, and {name!r} is one of them: rename it")
        if name in found:
            raise ValueError(f"two terms of the list are called {name!r}: give one of them another name")
        found[name] = Term(**term.model_dump(exclude={"name"}))
    return found
