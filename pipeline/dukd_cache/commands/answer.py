"""What a user asks of `dukd-cache answer`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from dukd_cache.build import teacher
from dukd_cache.build.add_answer import WORK, add_answer, finish_addition
from dukd_cache.build.costs import costs
from dukd_cache.build.reuse import Tally
from dukd_cache.build.teacher import Teacher
from dukd_cache.build.trial import doubts_about, no_whole_windows, spoken
from dukd_cache.build.write import LOCAL
from dukd_cache.commands.answer_names import ALONE, named_after, refuse_no_name
from dukd_cache.format import manifest
from dukd_cache.format.header import Header
from dukd_cache.format.lifecycle import finish, header_of, refuse_other_kind
from dukd_cache.format.manifest import MANIFEST, Manifest
from dukd_cache.format.reader import Cache
from dukd_cache.format.record import Dtype
from dukd_cache.format.shards import software
from dukd_cache.networks.devices import choose_device
from dukd_cache.places import Address, Place
from dukd_cache.places.choice import place_at
from dukd_cache.settings.choices import Asked, Device, Precision, SelfEnsemble
from dukd_cache.settings.model import Number, Settings, WholeNumber
from dukd_cache.settings.takes import USUAL, Takes
from dukd_cache.system.errors import CacheError, SettingError
from dukd_cache.system.terminal import progress, say


class HowAsked(Settings):
    """How a teacher is asked about a cache that is there."""

    precision: Precision = "fp32"
    """It computes in this."""
    device: Device = "auto"
    """Where."""
    compile: bool = False
    """By torch.compile."""
    batch_size: Annotated[int, Field(ge=1, le=4096), Number] = 16
    """Records asked at once."""
    self_ensemble: Annotated[SelfEnsemble, WholeNumber, Number] = 1
    """Each answer is the mean of so many."""
    dtype: Dtype | None = None
    """Of its answers; None: that of the others, uint8 where there are none."""
    mixed_workers: bool = False
    """They may be computed on something else than the others."""
    takes: Takes = USUAL
    """What it takes its inputs for."""
    of: Asked = "input"
    """What it is asked about: `input` or `clean`."""


def add(root: Address, weights: Path, name: str | None, how: HowAsked, tally: Tally) -> Manifest:
    """Ask the teacher in `weights` about all records at `root`, and keep its answers there as `name`.

    Where they are there, nothing is done.

    Args:
        name: None: made of the file's, with `_clean` where it is asked about that; `teacher` in a cache of pairs.
        tally: counts what becomes of the records.

    Raises:
        DukdError: anything the user can mend. The cache stays as it is.
    """
    place = place_at(root)
    there = header_of(place) or manifest.read(place)  # where there is no cache, that is told before a teacher is loaded
    asked = _loaded(weights, how, there, place)
    if place.size(MANIFEST) is None:
        finish_addition(place, asked.info)
    cache = Cache(root, reading="in order")
    if not all(how.of in view.arrays for view in cache.manifest.views):
        cure = "`answers_of=[input, clean]` keeps them, in a cache of degraded inputs"
        raise CacheError(f"its records hold no {how.of} inputs", cache.root, cure=cure)
    wanted = (asked.info.asked, how.of)
    known = [each for each, info in cache.manifest.answers.items() if (info.asked, info.of) == wanted]
    as_asked = how.dtype in (None, *map(cache.manifest.dtype_of, known))
    if known and name in (None, *known):
        if not as_asked:
            reason = f"has these answers already, called {known[0]}, as {cache.manifest.dtype_of(known[0])}"
            raise CacheError(reason, cache.root, cure=f"give another `name` to keep them as {how.dtype}, too")
        with place.locked(WORK):  # what an attempt may have left that was killed at its very end
            finish(place)
        say(f"{cache.root}: has these answers already, called {known[0]}")
        tally.kept += sum(map(cache.count, cache.views))
        return cache.manifest
    found = _name(cache, weights.stem + "_clean" * (how.of == "clean"), name)
    if known and as_asked:
        say(f"note: {cache.root} has the same answers already, called {known[0]}")
    header = _header(cache, asked, found, how)
    who = spoken(found, header.answers)
    sides = {f"views.{view.name}.patch": view.input_side for view in header.views}
    for line in (*costs(header), *no_whole_windows(sides, asked.info.window, 0, who), *doubts_about(cache, asked, who)):
        say(line)
    with progress("asking the teacher", sum(map(cache.count, cache.views)), "records") as advance:
        return add_answer(cache, header, {found: asked}, how.batch_size, tally, advance)


def _loaded(weights: Path, how: HowAsked, there: Header, place: Place) -> Teacher:
    """The teacher, with answers of the cache's scale."""
    asked = teacher.load(
        weights,
        choose_device(how.device),
        how.precision,
        compiled=how.compile,
        self_ensemble=how.self_ensemble,
        takes=how.takes,
    )
    try:
        return asked.of_scale(there.scale).about(how.of)
    except SettingError:
        others = ", ".join(dict.fromkeys(info.file for info in there.answers.values()))
        of = f"{place} is of scale {there.scale}{f' ({others})' if others else ''}"
        raise SettingError(f"{asked.info.file} is a teacher of scale {asked.network.scale}, {of}") from None


def _name(cache: Cache, stem: str, name: str | None) -> str:
    answers = cache.manifest.answers
    if name is None:
        return named_after([f"{stem}."], answers)[0] if answers else ALONE
    try:
        refuse_no_name(name)
    except ValueError as error:
        raise SettingError(str(error), f"`name={name}`") from error
    if name in answers:
        raise CacheError(f"has answers called {name} already, of {answers[name].file}", cache.root)
    return name


def _header(cache: Cache, asked: Teacher, name: str, how: HowAsked) -> Header:
    there = cache.manifest.header
    if around := max((info.context for info in there.answers.values()), default=0):
        reason = f"its answers are of inputs with {around} pixels around, which only the images have"
        raise CacheError(reason, cache.root, cure="build it anew with all teachers")
    computed: str | None = f"{LOCAL.computes_on({name: asked})}, batches of {how.batch_size}"
    if how.mixed_workers or (there.answers and there.computed is None):
        computed = None
    dtype = how.dtype or (there.dtype_of(next(iter(there.answers))) if there.answers else "uint8")
    versions = {"software": there.software | teacher.software([asked.info]) | software(there.encoding.store)}
    made = there.with_answer(name, asked.info, dtype, computed).model_copy(update=versions)
    refuse_other_kind(cache.place, there, made)
    return made
