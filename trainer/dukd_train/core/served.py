"""What a training asks of its cache: terms and order of the batches, refused in one line where it cannot be served."""

from collections.abc import Mapping
from typing import NamedTuple

import torch

from dukd_cache import networks
from dukd_cache.format.header import Declared
from dukd_cache.networks import Network
from dukd_cache.settings import presets
from dukd_cache.system.errors import SettingError, unknown_name
from dukd_train.core.parallel import World
from dukd_train.core.targets import MIXED, arrays_of, with_target
from dukd_train.data.mixing import eco_of
from dukd_train.data.order import Order
from dukd_train.data.rows import targets_in
from dukd_train.data.sampling import refuse_missing_column
from dukd_train.measures import OF_PLAIN_PICTURES, SMALLEST
from dukd_train.objective import GAN, KNOWN, Term
from dukd_train.scoring.perceptual import lpips_network
from dukd_train.settings import Eco, TrainConfig


class Served(NamedTuple):
    """What of a run is known from its settings and from what its cache declares."""

    terms: dict[str, Term]
    eco: Eco
    order: Order
    """Of all records; what `sampling` leaves is to be read from them."""
    student: Network
    """With weights drawn from the seed."""


def served(config: TrainConfig, cache: Declared, world: World) -> Served:
    """What of a run is known from what its cache declares, which may only be planned: no record is read.

    Raises:
        SettingError: what a run refuses before its first step, but for what records and images say.
    """
    terms = terms_of(config, cache, world.device)
    eco = eco_of(config.eco, cache, arrays_of(terms, cache.manifest), config.target)
    if config.sampling.names_column:
        refuse_missing_column(cache, config.sampling)
    order = order_of(config, cache, terms, world)
    torch.manual_seed(config.seed)
    student = networks.build(config.student.architecture, cache.manifest.scale, config.student.settings)
    return Served(terms, eco, order, student)


def terms_of(config: TrainConfig, cache: Declared, device: torch.device) -> dict[str, Term]:
    """The terms of the loss, all of which the cache can serve, and `device` compute.

    Raises:
        SettingError: it cannot, or a term needs something that is not here.
    """
    terms = with_target(config.loss.of(config.method), config.target, cache.manifest)
    if not terms:
        raise SettingError("every part of its loss has weight 0", f"method {config.method}")
    for name, term in terms.items():
        _refuse_missing(config.method, cache, name, term)
        _refuse_learned(config, name, term, device)
    if config.scale not in (None, cache.manifest.scale):
        reason = f"{cache.root} has scale {cache.manifest.scale}"
        raise SettingError(reason, f"scale {config.scale}", cure=_fitting(config, cache))
    if config.patch and config.patch > cache.manifest.patch:
        raise SettingError(f"the cache's patches have {cache.manifest.patch} pixels", f"patch {config.patch}")
    return terms


def _fitting(config: TrainConfig, cache: Declared) -> str:
    """What to do about a cache of another scale: the preset of the same student, where there is one for that."""
    preset = f"{config.student.architecture.lower()}_x{cache.manifest.scale}"
    is_there = preset in presets.names(config.presets)
    return f"take the preset {preset}" if is_there else "set scale=null, it follows from the cache"


def _refuse_missing(method: str, cache: Declared, name: str, term: Term) -> None:
    """Refuse a term whose view or target the cache has not."""
    targets = targets_in(cache.manifest)
    everywhere = {array for of_view in targets.values() for array in of_view}
    if term.to in MIXED and cache.manifest.answers:
        everywhere |= {*MIXED}
        targets = {view: [*of_view, *MIXED] for view, of_view in targets.items()}
    off = f"loss.{name}=0"
    if everywhere == {"truth"} and name in KNOWN and term.to not in everywhere:
        raise SettingError(f"{cache.root} holds pairs without a teacher", f"method {method}", cure="use method scratch")
    if term.to not in everywhere:
        raise SettingError(f"{cache.root}: {unknown_name('array', term.to, everywhere)}", f"loss.{name}")
    if term.view not in targets and term.view not in {each.view for each in KNOWN.values()}:
        raise SettingError(f"{cache.root}: {unknown_name('view', term.view, targets)}", f"loss.{name}")
    if term.view not in targets:
        cure = f"build it with `views.{term.view}=N`, or set {off}"
        raise SettingError(f"{cache.root} has no view {term.view}", f"method {method}", cure=cure)
    if term.to not in targets[term.view]:
        there = " and ".join(targets[term.view])
        raise SettingError(f"records of {term.view} have no {term.to}, only {there}; set {off}", f"loss.{name}")


def _refuse_learned(config: TrainConfig, name: str, term: Term, device: torch.device) -> None:
    """Refuse a term by what learned from photographs, where their colours are changed or its weights are missing; and
    one by what will learn with the student, where that was never trained."""
    if term.by == GAN and config.student.init is None:
        reason = "a discriminator needs a student that was trained without it"
        raise SettingError(reason, f"loss.{name}", cure="set student.init to its run folder")
    if term.by not in OF_PLAIN_PICTURES:
        return
    augment = config.augment
    group = term.view if term.view == "base" or (term.view == "zoom_out" and augment.zoom_out) else "zoom"
    drawn = [step for step in ("invert", "permute") if getattr(augment.of(term.view), step)]
    if drawn:
        reason = f"{term.by} is of colours as they are, and augmentation changes those of {term.view}"
        raise SettingError(
            reason, f"loss.{name}", cure="set " + " and ".join(f"augment.{group}.{step}=0" for step in drawn)
        )
    try:
        lpips_network(device)
    except SettingError as error:
        raise error.about(f"loss.{name}") from error


def order_of(config: TrainConfig, cache: Declared, terms: Mapping[str, Term], world: World) -> Order:
    """What the batches of a run are, of all records.

    Raises:
        SettingError: `patch` or a border leaves nothing, or the batch cannot be shared.
    """
    window = config.data.shuffle_window if config.data.shuffle == "shards" else None
    order = Order(cache.manifest, config.batch, config.patch, config.seed, world.rank, world.size, window)
    order.check_patch(arrays_of(terms, cache.manifest))
    for name, term in terms.items():
        side = order.side(term.view) * cache.manifest.scale
        smallest = SMALLEST.get(term.by, 1)
        if side < smallest:
            reason = f"needs {smallest}×{smallest} pixels, and the answers to {term.view} have {side}×{side}"
            raise SettingError(reason, f"loss.{name}.by {term.by}")
        if side - 2 * term.border < smallest:
            left = "nothing" if smallest == 1 else f"less than {smallest}×{smallest} pixels"
            reason = f"leaves {left} of the answers to {term.view}, which have {side}×{side} pixels"
            raise SettingError(
                reason, f"loss.{name}.border {term.border}", cure=f"take at most {(side - smallest) // 2}"
            )
    return order
