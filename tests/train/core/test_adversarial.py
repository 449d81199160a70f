"""The discriminator of dukd-gan: against torch's losses and an SVD, in whole runs, stopped, and by two processes."""

import copy
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.train.interruptions import in_step, interrupt
from tests.train.processes import start_together
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from dukd_cache.system.errors import SettingError
from dukd_train.core import checkpoint
from dukd_train.core.adversarial import Adversary, Discriminator
from dukd_train.core.parallel import World
from dukd_train.core.run import run
from dukd_train.errors import RunError
from dukd_train.settings import TrainConfig

Settings = Callable[..., TrainConfig]
CPU = World(torch.device("cpu"))


@pytest.fixture(scope="module")
def gan_of(settings_of: Settings, teacher_file: Path) -> Settings:
    """Settings of a short run with a small discriminator, changed by keywords; its student starts as the teacher."""

    def make(**changes: Any) -> TrainConfig:
        student = {"architecture": "EDSR", "settings": {"channels": 8, "blocks": 2}, "init": teacher_file}
        small = {"method": "dukd-gan", "student": student, "discriminator": {"width": 4, "relative_lr": 0.5}}
        return settings_of(**small | changes)

    return make


def rows(out: Path) -> list[dict[str, float]]:
    with (out / "curve.csv").open(newline="") as stream:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]


def learned(out: Path) -> dict[str, Tensor]:
    """The discriminator's tensors in the last checkpoint."""
    found = checkpoint.newest(out)
    assert found is not None
    network: dict[str, Tensor] = found.checkpoint.learned["gan"]["network"]
    return network


def alike(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def pair(side: int = 16) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(3)
    output = torch.rand(2, 3, side, side, generator=random) * 1.2 - 0.1
    return output, torch.randint(0, 256, output.shape, generator=random, dtype=torch.uint8)


def test_it_is_of_the_published_size_and_takes_pictures_of_any_sides() -> None:
    network = Discriminator(64)
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_376_897
    small = Discriminator(2)
    for height, width in ((8, 8), (9, 15), (24, 31)):
        assert small(torch.rand(1, 3, height, width)).shape == (1, 1, height, width)
    with pytest.raises(RuntimeError):
        small(torch.rand(1, 3, 7, 8))


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
def test_spectral_norms_are_one(dtype: torch.dtype | None) -> None:
    """In float32 whatever the precision of the computation is; all but the first and the last convolution's."""
    torch.manual_seed(0)
    network = Discriminator(4)
    for _ in range(60):
        with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype is not None):
            network(torch.zeros(1, 3, 8, 8))
    normed = [*network.down, *network.up, *network.mixed]
    assert len(normed) == 8
    for convolution in normed:
        assert convolution.weight.dtype == torch.float32
        norm = torch.linalg.svdvals(convolution.weight.detach().flatten(1))[0]
        assert norm.item() == pytest.approx(1, abs=1e-3)


def test_losses_and_steps_are_those_of_cross_entropy(gan_of: Settings) -> None:
    """Against torch's own, written out with labels 1 and 0, on a copy."""
    adversary, (output, target) = Adversary(gan_of(), CPU), pair()
    network = copy.deepcopy(adversary._network)
    optimizer = torch.optim.Adam(network.parameters(), lr=1.25e-4, betas=(0.9, 0.99))
    for done in range(3):
        output.requires_grad_()
        found = adversary(output, target)
        answers = network(output)
        expected = binary_cross_entropy_with_logits(answers, torch.ones_like(answers))
        assert found.item() == pytest.approx(expected.item(), rel=1e-6)
        torch.testing.assert_close(*(torch.autograd.grad(loss, output)[0] for loss in (found, expected)))
        assert all(parameter.grad is None for parameter in adversary._parameters) or done > 0
        losses = adversary.learn(torch.tensor(2.5e-4) if done else 2.5e-4)  # of the student
        of_real, of_fake = network(target / 255), network(output.detach())
        real = binary_cross_entropy_with_logits(of_real, torch.ones_like(of_real))
        fake = binary_cross_entropy_with_logits(of_fake, torch.zeros_like(of_fake))
        assert losses["real"].item() == pytest.approx(real.item(), rel=1e-5)
        assert losses["fake"].item() == pytest.approx(fake.item(), rel=1e-5)
        optimizer.zero_grad()
        (real + fake).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        for ours, theirs in zip(adversary._network.state_dict().values(), network.state_dict().values(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-6)


def test_it_learns_to_tell_them_apart(gan_of: Settings) -> None:
    adversary, (output, target) = Adversary(gan_of(), CPU), pair()
    losses = []
    for _ in range(60):
        adversary(output, target)
        losses.append(sum(adversary.learn(2e-3).values()).item())  # type: ignore[union-attr]
    assert losses[0] == pytest.approx(2 * 0.693, abs=0.1)
    assert losses[-1] < 0.7


def test_its_start_is_a_function_of_the_seed_and_draws_from_nobody(gan_of: Settings) -> None:
    state = torch.get_rng_state()
    first = Adversary(gan_of(), CPU).state()["network"]
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    assert alike(Adversary(gan_of(), CPU).state()["network"], first)
    assert not alike(Adversary(gan_of(seed=1), CPU).state()["network"], first)


def test_a_run_shows_its_losses_and_leaves_nothing_of_it_in_the_student(
    gan_of: Settings, settings_of: Settings, tmp_path: Path
) -> None:
    gan = gan_of(steps=4)
    facts = run(gan, tmp_path / "gan")
    assert facts["method"] == "dukd-gan"
    assert list(facts["loss"]) == ["rec", "kd", "zoom_in", "zoom_out_rec", "zoom_out_kd", "gan"]
    found = rows(tmp_path / "gan")
    assert [*found[0]][3:] == [*facts["loss"], "gan.real", "gan.fake"]
    for row in found:
        terms = [row[name] for name in facts["loss"]]
        assert row["total"] == pytest.approx(sum(terms[:-1]) + 0.1 * row["gan"], abs=5e-6)
        assert 0.5 < row["gan.real"] < 0.9
        assert 0.5 < row["gan.fake"] < 0.9
    run(settings_of(steps=4, student=gan.student), tmp_path / "plain")
    students = [load_file(tmp_path / name / "student.safetensors") for name in ("gan", "plain")]
    assert students[0].keys() == students[1].keys()
    assert not alike(*students)
    off = run(gan_of(steps=4, loss={"gan": 0}), tmp_path / "off")
    assert "gan" not in off["loss"]
    assert alike(load_file(tmp_path / "off" / "student.safetensors"), students[1])


def test_what_is_real_is_a_setting(gan_of: Settings, tmp_path: Path) -> None:
    for name, loss in {"truth": {}, "teacher": {"gan": {"to": "teacher"}}}.items():
        run(gan_of(steps=2, loss=loss), tmp_path / name)
    (truth, *_), (teacher, *_) = (rows(tmp_path / name) for name in ("truth", "teacher"))
    assert truth["gan"] == teacher["gan"]
    assert truth["gan.fake"] == pytest.approx(teacher["gan.fake"], abs=1e-3)
    assert truth["gan.real"] != teacher["gan.real"]


@pytest.mark.parametrize("changes", [{}, {"precision": "fp16"}, {"precision": "bf16", "loss": {"rec": 5}}])
def test_a_run_that_was_stopped_goes_on_exactly(gan_of: Settings, tmp_path: Path, changes: dict[str, Any]) -> None:
    """The checkpoint of step 4 lies between two rows; step 6 is done again."""
    asked = gan_of(steps=8, log_every=3, checkpoint_every=4, **changes)
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    run(asked, straight)
    with pytest.MonkeyPatch.context() as patch:
        in_step(6, interrupt, patch)
        with pytest.raises(KeyboardInterrupt):
            run(asked, stopped)
    torch.rand(17)
    run(asked, stopped)
    assert (stopped / "curve.csv").read_bytes() == (straight / "curve.csv").read_bytes()
    assert alike(*(load_file(out / "student.safetensors") for out in (stopped, straight)))
    assert alike(learned(stopped), learned(straight))
    start = Adversary(asked, CPU).state()["network"]
    assert not alike(learned(straight), start)
    values = [row[name] for row in rows(straight) for name in ("gan", "gan.real", "gan.fake")]
    assert len({*values}) == len(values)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_recorded_step_is_the_step(gan_of: Settings, tmp_path: Path, precision: str) -> None:
    """With the same kernels: two networks that answer each other make more of a rounding from step to step."""
    for name, recorded in (("recorded", True), ("plain", False)):
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            run(gan_of(steps=8, device="cuda", precision=precision, cuda_graph=recorded), tmp_path / name)
    for row, wanted in zip(rows(tmp_path / "recorded"), rows(tmp_path / "plain"), strict=True):
        assert row == pytest.approx(wanted, abs=1e-4 if precision == "fp32" else 5e-3)


def test_two_processes_train_what_one_does(gan_of: Settings, tmp_path: Path) -> None:
    asked = gan_of(steps=4, checkpoint_every=4)
    ends = [each.end() for each in start_together(asked, tmp_path / "two")]
    assert [code for code, _ in ends] == [0, 0], ends
    run(asked, tmp_path / "one")
    for row, wanted in zip(rows(tmp_path / "two"), rows(tmp_path / "one"), strict=True):
        assert row == pytest.approx(wanted, abs=1e-5)
    found, expected = learned(tmp_path / "two"), learned(tmp_path / "one")
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=2e-4)


def test_a_student_that_was_never_trained_is_refused(gan_of: Settings, settings_of: Settings, tmp_path: Path) -> None:
    for asked in (settings_of(method="dukd-gan"),
                  settings_of(loss={"gan2": {"view": "zoom_in", "to": "teacher", "by": "gan"}})):  # fmt: skip
        with pytest.raises(SettingError) as caught:
            run(asked, tmp_path / "run")
        name = [*asked.loss.of(asked.method)][-1]
        reason = "a discriminator needs a student that was trained without it"
        assert str(caught.value) == f"loss.{name}: {reason}; set student.init to its run folder"
    with pytest.raises(
        SettingError, match=r"^loss.gan.border 13: leaves less than 8×8 pixels of the answers to base, "
    ):
        run(gan_of(loss={"gan": {"border": 13}}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_may_be_given_one_on_the_way_but_none_of_another_width(gan_of: Settings, tmp_path: Path) -> None:
    """It then begins anew, as it was not there before."""
    for steps, method in ((4, "dukd"), (6, "dukd-gan")):
        run(gan_of(steps=steps, method=method, schedule={"kind": "multistep"}), tmp_path / "run", allow_changes=True)
    assert learned(tmp_path / "run")
    with pytest.raises(RunError, match=r"discriminator\.width = 4, asked for 8"):
        run(gan_of(steps=8, discriminator={"width": 8}), tmp_path / "run", allow_changes=True)
