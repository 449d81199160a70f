"""Which crops are cut: bounds, independence of one another, and the remedies for images that are too small."""

import hashlib
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cache.samples import crop_spec

from dukd_cache.format.manifest import shard_ranges
from dukd_cache.pictures.sources import SourceImage
from dukd_cache.plan.crops import Crop, CropSpec, Plan, smallest_image
from dukd_cache.plan.views import VIEWS
from dukd_cache.system.errors import ImageError


def source(number: int, width: int = 97, height: int = 131, name: str = "") -> SourceImage:
    name = name or f"{number}.png"
    return SourceImage(name, Path("hr", name), hashlib.sha256(b"%d" % number).hexdigest(), width, height, None)


Asked = dict[str, Any]
"""Arguments of `crop_spec`."""


def crops_of(plan: Plan, name: str) -> list[Crop]:
    view = plan.spec.view(name)
    return list(plan.crops(view, 0, plan.total(view)))


def places(plan: Plan, view: str) -> dict[tuple[str, int], tuple[int, int]]:
    """(content hash, which crop) → where."""
    return {(crop.image.sha256, crop.index): (crop.x, crop.y) for crop in crops_of(plan, view)}


specs = st.fixed_dictionaries(
    {
        "scale": st.sampled_from([2, 3, 4]),
        "patch": st.integers(1, 40),
        "zoom_out_patch": st.none() | st.integers(1, 12),
        "seed": st.integers(-3, 2**70),
    }
)


@pytest.mark.parametrize(
    ("total", "per_shard", "expected"),
    [
        (0, 5, []),
        (1, 5, [range(1)]),
        (4, 5, [range(4)]),
        (5, 5, [range(5)]),
        (6, 5, [range(5), range(5, 6)]),
        (10, 5, [range(5), range(5, 10)]),
        (3, 1, [range(1), range(1, 2), range(2, 3)]),
    ],
)
def test_shard_ranges(total: int, per_shard: int, expected: list[range]) -> None:
    assert shard_ranges(total, per_shard) == expected


@pytest.mark.parametrize(
    ("scale", "patch", "zoom_out_patch", "view", "side", "smallest"),
    [
        (2, 48, 24, "base", 48, 96),
        (3, 48, 16, "base", 48, 144),
        (4, 48, 12, "base", 48, 192),
        (2, 48, 24, "zoom_in", 48, 48),
        (4, 48, 12, "zoom_in", 48, 48),
        (4, 50, 12, "zoom_in", 50, 52),
        (3, 50, 16, "zoom_in", 50, 51),
        (2, 48, 24, "zoom_out", 48, 96),
        (3, 48, 16, "zoom_out", 48, 144),
        (4, 48, 12, "zoom_out", 48, 192),
        (2, 48, 48, "zoom_out", 96, 192),
        (4, 48, 48, "zoom_out", 192, 768),
        (4, 50, 12, "zoom_out", 48, 192),
    ],
)
def test_box_and_smallest_image(
    scale: int, patch: int, zoom_out_patch: int, view: str, side: int, smallest: int
) -> None:
    found = crop_spec(scale, patch, zoom_out_patch).view(view)
    assert found.box == side
    assert smallest_image(found, scale) == smallest


@given(asked=specs, number=st.integers(0, 99), more_x=st.integers(0, 30), more_y=st.integers(0, 30))
def test_crops_lie_within_their_image(asked: Asked, number: int, more_x: int, more_y: int) -> None:
    spec = crop_spec(**asked)
    needed = max(smallest_image(view, spec.scale) for view in spec.views)
    image = source(number, needed + more_x, needed + more_y)
    plan = Plan((image,), spec)
    lr_width, lr_height = image.width // spec.scale, image.height // spec.scale
    for view in spec.views:
        found = crops_of(plan, view.name)
        assert [crop.index for crop in found] == list(range(view.crops))
        factor = spec.scale if view.name == "zoom_in" else 1
        for crop in found:
            assert (crop.view, crop.image) == (view, image)
            assert 0 <= crop.x <= lr_width * factor - view.box
            assert 0 <= crop.y <= lr_height * factor - view.box


def test_every_place_is_reached() -> None:
    spec = crop_spec(2, 6, base=400, zoom_in=400, zoom_out=400)
    plan = Plan((source(0, 16, 18),), spec)
    for view, width, height in [("base", 3, 4), ("zoom_in", 11, 13), ("zoom_out", 3, 4)]:
        found = crops_of(plan, view)  # type: ignore[arg-type]
        assert {crop.x for crop in found} == set(range(width))
        assert {crop.y for crop in found} == set(range(height))
        assert len({(crop.x, crop.y) for crop in found}) > 0.9 * width * height, "x and y are drawn apart"


@pytest.mark.parametrize("view", VIEWS)
@given(numbers=st.lists(st.integers(0, 20), min_size=1, max_size=6, unique=True), seed=st.integers(0, 9))
def test_other_images_move_no_crop(view: str, numbers: list[int], seed: int) -> None:
    spec = crop_spec(seed=seed)
    alone = places(Plan((source(3),), spec), view)
    together = places(Plan(tuple(source(n) for n in {*numbers, 3}), spec), view)
    assert {key: place for key, place in together.items() if key[0] == source(3).sha256} == alone


@pytest.mark.parametrize("view", VIEWS)
def test_a_larger_count_extends_the_smaller(view: str) -> None:
    images = (source(0), source(1))
    few, many = (Plan(images, crop_spec(base=n, zoom_in=n, zoom_out=n)) for n in (3, 10))
    assert places(few, view).items() < places(many, view).items()


@pytest.mark.parametrize("view", VIEWS)
def test_seed_and_content_move_crops_but_names_do_not(view: str) -> None:
    images = (source(0, 400, 400),)
    here = places(Plan(images, crop_spec()), view)
    assert places(Plan(images, crop_spec(seed=1)), view) != here
    assert list(places(Plan((source(1, 400, 400),), crop_spec()), view).values()) != list(here.values())
    assert places(Plan((source(0, 400, 400, name="renamed/x.jpg"),), crop_spec()), view) == here


def test_views_are_cut_at_different_places() -> None:
    spec = crop_spec(2, 12, 6, base=4, zoom_in=4, zoom_out=4)  # base and zoom-out cut equal boxes from LR
    plan = Plan((source(0, 400, 400),), spec)
    assert places(plan, "base") != places(plan, "zoom_out")


@pytest.mark.parametrize("view", VIEWS)
def test_a_window_of_the_stream_equals_a_slice_of_it(view: str) -> None:
    plan = Plan((source(0), source(1), source(2)), crop_spec())
    everything, of = crops_of(plan, view), plan.spec.view(view)
    assert len(everything) == plan.total(of) == 3 * of.crops
    for start in range(plan.total(of) + 1):
        for stop in range(start, plan.total(of) + 1):
            assert list(plan.crops(of, start, stop)) == everything[start:stop]


@given(data=st.data(), count=st.integers(1, 9), view=st.sampled_from([*VIEWS]))
def test_a_part_of_a_plan_says_what_the_plan_says(data: st.DataObject, count: int, view: str) -> None:
    """Also a part of a part, in another process; and it holds the images that it needs."""
    plan = Plan([source(number) for number in range(count)], crop_spec())
    of = plan.spec.view(view)
    bounds = sorted(data.draw(st.lists(st.integers(0, plan.total(of)), min_size=6, max_size=6)))
    outer, (start, stop), inner = bounds[::5], bounds[1:5:3], bounds[2:4]
    part = pickle.loads(pickle.dumps(plan.part(of, *outer).part(of, start, stop)))
    assert list(part.crops(of, start, stop)) == list(plan.crops(of, start, stop))
    assert list(part.crops(of, *inner)) == list(plan.crops(of, *inner))
    needed = {crop.image.name for crop in plan.crops(of, start, stop)}
    assert [image.name for image in part.images] == sorted(needed)


def test_a_part_refuses_what_it_lacks_and_is_small() -> None:
    plan = Plan([source(number) for number in range(3000)], crop_spec())
    of = plan.spec.view("base")
    part = plan.part(of, 5000, 5128)
    assert len(pickle.dumps(part)) < 10_000
    for start, stop in ((4999, 5001), (5128, 5132), (0, 1), (0, plan.total(of))):
        with pytest.raises(ValueError, match="here are 1000 to 1026"):
            list(part.crops(of, start, stop))
    assert not list(part.crops(of, 7, 7))


def followed(asked: Asked, message: str, default_zoom_out: bool) -> Asked | None:
    """`asked` after doing what the message advises; None where it advises another image."""
    if found := re.search(r"use `patch=(\d+)` or less", message):
        return asked | {"patch": int(found[1])} | ({"zoom_out_patch": None} if default_zoom_out else {})
    if found := re.search(r"use `views.zoom_out.patch=(\d+)` or less", message):
        return asked | {"zoom_out_patch": int(found[1])}
    if "use `views.zoom_out=0`," in message:
        return asked | {"zoom_out": 0}
    assert "use a larger image," in message
    return None


def refusal(spec: CropSpec, *images: SourceImage) -> str:
    """What a plan says against these images; empty where it accepts them."""
    try:
        Plan(images, spec)
    except ImageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("view", "counts", "remedy"),
    [
        ("base", {}, "`patch=24` or less"),
        ("zoom_in", {"base": 0, "zoom_out": 0}, "`patch=96` or less"),
        ("zoom_out", {"base": 0, "zoom_in": 0}, "`views.zoom_out.patch=6` or less"),
    ],
)
def test_one_step_of_the_remedy_is_enough_and_no_larger_patch_would_be(
    view: str, counts: dict[str, int], remedy: str
) -> None:
    image, asked = source(0, 120, 99), {"scale": 4, "patch": 200, **counts}
    message = refusal(crop_spec(**asked), image)
    assert f"{image.path}: 120×99 pixels" in message
    assert f"view {view} needs" in message
    assert remedy in message
    accepted = followed(asked, message, default_zoom_out=True)
    assert accepted is not None
    assert not refusal(crop_spec(**accepted), image)
    field = "zoom_out_patch" if view == "zoom_out" else "patch"
    assert refusal(crop_spec(**accepted | {field: accepted[field] + 1}), image)


@given(
    asked=specs,
    default_zoom_out=st.booleans(),
    dropped=st.sets(st.sampled_from([*VIEWS]), max_size=2),
    sizes=st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=4),
)
def test_following_the_remedies_ends_in_an_accepted_plan(
    asked: Asked, default_zoom_out: bool, dropped: set[str], sizes: list[tuple[int, int]]
) -> None:
    """Each message serves for all images at once, so there is at most one for each view."""
    asked = asked | dict.fromkeys(dropped, 0) | ({"zoom_out_patch": None} if default_zoom_out else {})
    images = [source(n, width, height) for n, (width, height) in enumerate(sizes)]
    for _ in VIEWS:
        message = refusal(crop_spec(**asked), *images)
        if not message:
            break
        assert "\n" not in message
        mended = followed(asked, message, default_zoom_out)
        if mended is None:
            assert min(map(min, sizes)) < asked["scale"], "no patch at all fits into such an image"
            return
        asked = mended
    assert not refusal(crop_spec(**asked), *images)


def test_images_of_just_the_needed_size_are_accepted() -> None:
    for view in VIEWS:
        spec = crop_spec(3, 20, 9, **{other: 0 for other in VIEWS if other != view})
        side = smallest_image(spec.view(view), 3)
        assert not refusal(spec, source(0, side, side))
        assert refusal(spec, source(0, side - 1, side + 9))
        assert refusal(spec, source(0, side + 9, side - 1))


def test_a_view_that_is_left_out_asks_for_no_size() -> None:
    spec = crop_spec(4, 48, 48, zoom_out=0)
    assert not refusal(spec, source(0, 192, 192))
