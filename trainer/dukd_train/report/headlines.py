"""What scores say in words: who is best, whether by more than chance, how near the teacher that is, at what cost."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from dukd_train.report.comparison import BICUBIC, TEACHER
from dukd_train.report.groups import BASELINES
from dukd_train.report.spreads import MINUS
from dukd_train.report.standings import GAIN_DIGITS, Standing, best_groups
from dukd_train.report.tables import Contender, digits

_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Student's t, two-sided, by degrees of freedom from 1: 95 times of 100 chance alone stays within so many standard
errors. The last stands for more degrees, which errs on the side of caution."""

_LEAST_GAP = 0.1
"""dB: of a smaller gap no share is told, as seeds alone can make as much."""

_WORTH_TELLING = 1.1
"""Times smaller or faster."""


def headline(standings: Sequence[Standing], references: Sequence[Contender], set_name: str) -> str:
    """Sentences about one set: the best group, how sure that is, bicubic, and the share of the gap to the teacher.

    Args:
        standings: of all groups.
        references: bicubic and perhaps the teacher.
        set_name: the set.
    """
    best = best_groups(standings, set_name)
    if not best:
        return "there is no image of which a mean can be had."
    first = best[0]
    score = first.scores[set_name]["psnr_y"]
    reached = f"{score.text(digits('psnr_y'))} dB"
    if len(standings) == 1:
        parts = [f"{first.group.name} reaches {reached} ({_seeds(first)})"]
    elif len(best) > 1:
        parts = [f"{_listed([each.group.name for each in best])} are equal at {reached} ({_seeds(first)})"]
    else:
        parts = [f"{first.group.name} is best with {reached}, {_sureness(first, standings, set_name)}"]
    bicubic = _reference(references, BICUBIC, set_name)
    if score.mean < bicubic:
        parts.append(f"below bicubic by {bicubic - score.mean:.2f} dB: enlarging without a network is better")
    gains = [
        f"{gain[set_name]['psnr_y'].text(GAIN_DIGITS, signed=True)} dB over {method}{_elsewhere(first, method)}"
        for method in BASELINES
        if set_name in (gain := first.gains.get(method, {}))
    ]
    if gains and len(best) == 1:
        parts.append(_listed(gains))
    shares = [f"{share} of the gap from {name}" for name, share in gap_shares(first, references, set_name).items()]
    if shares and score.mean >= bicubic:
        parts.append(f"{_listed(shares)} to the teacher is closed")
    return "; ".join(parts) + "."


def distinguishable(one: Standing, other: Standing, set_name: str) -> bool | None:
    """Whether two groups differ in PSNR-Y by more than seeds do by chance (Student's t, 95 %); None: not known.

    Seeds that both have are compared in pairs; where fewer than two are shared, the groups as a whole.
    """
    ours, theirs = (each.scores[set_name]["psnr_y"].values for each in (one, other))
    pairs = dict(zip(one.group.seeds, ours, strict=True)), dict(zip(other.group.seeds, theirs, strict=True))
    shared = [pairs[0][seed] - pairs[1][seed] for seed in pairs[0].keys() & pairs[1].keys()]
    if not all(map(math.isfinite, (*ours, *theirs))) or min(len(ours), len(theirs)) < 2:
        return None
    if len(shared) > 1:
        mean, error, freedom = fmean(shared), stdev(shared) / math.sqrt(len(shared)), len(shared) - 1
    else:
        mean, freedom = fmean(ours) - fmean(theirs), min(len(ours), len(theirs)) - 1
        error = math.hypot(*(stdev(values) / math.sqrt(len(values)) for values in (ours, theirs)))
    return round(mean, GAIN_DIGITS) != 0 and abs(mean) > _T95[min(freedom, len(_T95)) - 1] * error


def gap_shares(standing: Standing, references: Sequence[Contender], set_name: str) -> dict[str, str]:
    """How much of the way to the teacher a group has come, as `62 %`, from bicubic and from scratch where there is one.

    Without a teacher, or where it is hardly better than what is started from, that share is missing.
    """
    mean, teacher = standing.scores[set_name]["psnr_y"].mean, _reference(references, TEACHER, set_name)
    bicubic = _reference(references, BICUBIC, set_name)
    gaps = {BICUBIC: (mean - bicubic, teacher - bicubic)}
    if gain := standing.gains.get("scratch", {}).get(set_name):
        gained = gain["psnr_y"].mean
        gaps["scratch"] = gained, teacher - (standing.paired("scratch", set_name) - gained)
    return {name: _percent(gained / gap) for name, (gained, gap) in gaps.items() if gap >= _LEAST_GAP}


def in_short(standings: Sequence[Standing], rows: Sequence[Contender], sets: Sequence[str]) -> str:
    """The report in a sentence or two, for people who read no tables; empty where nothing was scored."""
    known = [name for name in sets if best_groups(standings, name)]
    if not known:
        return ""

    def overall(standing: Standing) -> float:
        return fmean(standing.scores[name]["psnr_y"].mean for name in known)

    first = max(standings, key=overall)
    by_name = {row.name: row for row in rows}
    student, teacher = by_name[first.group.runs[0].name], by_name.get(TEACHER)
    gained = overall(first) - fmean(by_name[BICUBIC].scores[name]["psnr_y"] for name in known)
    gap = overall(first) - gained
    gap = fmean(teacher.scores[name]["psnr_y"] for name in known) - gap if teacher else math.nan
    which = f"the student of {first.group.name}" if len(standings) > 1 else "the student"
    if gained <= 0:
        text = f"{which} enlarges no better than plain interpolation (bicubic) does"
    elif gap >= _LEAST_GAP:
        text = f"{which} comes {_percent(gained / gap)} of the way from plain interpolation (bicubic) to the teacher"
    else:
        text = f"{which} comes {gained:.1f} dB nearer to the truth than plain interpolation (bicubic) does"
    if teacher and (fewer := _times_less(student, teacher)):
        text += f"; it is {_listed(fewer)} than the teacher"
    rivals = [each for each in standings if each is not first]
    if any(distinguishable(first, rival, name) is not True for rival in rivals for name in known):
        text += ". The seeds do not tell it from every other training"
    return text[0].upper() + text[1:] + "."


def times(less: float | None, more: float | None) -> float | None:
    """How many times `less` goes into `more`; None where that is not known."""
    return more / less if less and more else None


def _times_less(student: Contender, teacher: Contender) -> list[str]:
    found = {
        "smaller": times(student.parameters, teacher.parameters),
        "faster": times(student.milliseconds, teacher.milliseconds),
    }
    return [f"{_rounded(each)} times {what}" for what, each in found.items() if each and each >= _WORTH_TELLING]


def _sureness(first: Standing, standings: Sequence[Standing], set_name: str) -> str:
    told = {each.group.name: distinguishable(first, each, set_name) for each in standings if each is not first}
    if level := [name for name, apart in told.items() if apart is False]:
        return f"but not distinguishable from {_listed(level)} ({_seeds(first)})"
    if None in told.values():
        return "1 seed: no spread known" if len(first.group.runs) == 1 else "but not all others have two seeds or more"
    return f"by more than seeds differ by chance ({_seeds(first)})"


def _elsewhere(standing: Standing, method: str) -> str:
    """Whom `method` names, where that is not what a reader takes it for."""
    return f" ({standing.elsewhere[method]}, of another cache)" if method in standing.elsewhere else ""


def _seeds(standing: Standing) -> str:
    count = len(standing.group.runs)
    return f"n = {count}" if count > 1 else "1 seed: no spread known"


def _reference(references: Sequence[Contender], name: str, set_name: str) -> float:
    """In dB; NaN where it is not there."""
    return next((row.scores[set_name]["psnr_y"] for row in references if row.name == name), math.nan)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %".replace("-", MINUS)


def _rounded(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:,.0f}"


def _listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
