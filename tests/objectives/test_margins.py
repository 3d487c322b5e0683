"""The angular margin of either sign: continuous, monotone, finite; and the traps of public code beside it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from voxangle.objectives import additive_angular_margin
from voxangle.objectives.checks import demand_cosine_margin

ANGLES = torch.linspace(0, math.pi, 20_001, dtype=torch.float64)


def arcface_fallback(cosine: Tensor, margin: float) -> Tensor:
    """The usual fallback of ArcFace past pi - m: it jumps."""
    angle = cosine.acos()
    return torch.where(angle <= math.pi - margin, (angle + margin).cos(), cosine - margin * math.sin(margin))


def test_a_margin_widens_the_angle_and_a_negative_one_narrows_it() -> None:
    inside = ANGLES[(ANGLES - math.pi / 2).abs() < math.pi / 2 - 0.3]
    for margin in (-0.3, -0.06, 0.0, 0.06, 0.3):
        torch.testing.assert_close(
            additive_angular_margin(inside.cos(), margin), (inside + margin).cos(), rtol=1e-12, atol=1e-12
        )


@settings(max_examples=50)
@given(st.floats(-1.5, 1.5))
def test_it_never_rises_or_jumps_with_the_angle(margin: float) -> None:
    step = additive_angular_margin(ANGLES.cos(), margin).diff()
    assert step.max() <= 1e-12
    assert step.abs().max() < 1e-3


@settings(max_examples=50)
@given(st.floats(0.0, 1.5))
def test_narrowing_is_the_mirror_image_of_widening(margin: float) -> None:
    cosine = ANGLES.cos()
    mirrored = -additive_angular_margin(cosine.flip(0), margin)
    torch.testing.assert_close(additive_angular_margin(-cosine.flip(0), -margin), mirrored, rtol=0, atol=0)
    assert torch.equal(additive_angular_margin(cosine, 0.0), cosine)
    assert torch.equal(additive_angular_margin(cosine, -0.0), cosine)


def test_the_usual_fallback_of_arcface_jumps_and_ours_does_not() -> None:
    margin, tiny = 0.2, 1e-7
    beside = (math.pi - margin + torch.tensor([-tiny, tiny], dtype=torch.float64)).cos()
    jump = math.cos(margin) + margin * math.sin(margin) - 1
    assert jump == pytest.approx(0.0198, abs=5e-5)
    before, after = arcface_fallback(beside, margin)
    assert float((after - before).abs()) == pytest.approx(jump, abs=1e-6)
    before, after = additive_angular_margin(beside, margin)
    assert float((after - before).abs()) < 1e-6


def test_a_plain_narrowed_cosine_rewards_a_wrong_class_for_coming_nearer() -> None:
    near = ANGLES[ANGLES < 0.05]
    assert ((near - 0.06).cos().diff() > 0).all()  # falls as the angle closes: the class is drawn in
    assert (additive_angular_margin(near.cos(), -0.06).diff() <= 0).all()


@pytest.mark.parametrize("margin", [-0.3, -0.06, 0.06, 0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_duplicates_and_antipodes_have_finite_gradients(margin: float, dtype: torch.dtype) -> None:
    cosine = torch.tensor([1.0, -1.0], dtype=dtype, requires_grad=True)
    value = additive_angular_margin(cosine, margin)
    torch.testing.assert_close(
        value,
        # The continued branch is exact; the other keeps the floor of the sine.
        torch.tensor(
            [math.cos(margin), -1 - (1 - math.cos(margin))]
            if margin > 0
            else [1 + (1 - math.cos(margin)), -math.cos(margin)],
            dtype=dtype,
        ),
        rtol=0,
        atol=4 * math.sqrt(torch.finfo(dtype).eps),
    )
    value.sum().backward()
    assert cosine.grad.isfinite().all()


@pytest.mark.parametrize("margin", [-0.3, 0.3])
def test_beside_a_duplicate_the_slope_is_bounded(margin: float) -> None:
    eps = torch.finfo(torch.float32).eps
    beside = (1 - eps * torch.arange(40)) * (1 if margin > 0 else -1)
    beside.requires_grad_()
    additive_angular_margin(beside, margin).sum().backward()
    bound = 1 + math.sin(0.3) / math.sqrt(8 * eps)
    assert beside.grad.max() <= bound
    # A sine clamped at 0 only is steeper than that.
    assert math.sin(0.3) * (1 - eps) / math.sqrt(2 * eps) > bound


@pytest.mark.parametrize("edge", [1.0, -1.0])
def test_an_arc_cosine_or_an_unclamped_sine_would_not(edge: float) -> None:
    for defective in (
        lambda c: (c.acos() + 0.2).cos(),
        lambda c: c * math.cos(0.2) - (1 - c.square()).sqrt() * math.sin(0.2),
        # Neither does choosing the other branch stop the NaN of the one not taken.
        lambda c: torch.where(c.abs() < 1, (1 - c.square()).sqrt(), torch.zeros_like(c)),
    ):
        cosine = torch.tensor([edge], requires_grad=True)
        defective(cosine).sum().backward()
        assert not cosine.grad.isfinite().all()


@pytest.mark.parametrize("margin", [-math.pi / 2, math.pi / 2, 3.0, math.nan])
def test_an_angle_out_of_range_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match=rf"margin must lie in \(-pi / 2, pi / 2\) radians, got {margin}"):
        additive_angular_margin(torch.zeros(1), margin)


@pytest.mark.parametrize("margin", [-0.1, 2.0, math.inf, math.nan])
def test_a_cosine_margin_out_of_range_is_refused(margin: float) -> None:
    demand_cosine_margin(0.0)
    demand_cosine_margin(1.99)
    with pytest.raises(ValueError, match=rf"margin must lie in \[0, 2\), in units of cosine, got {margin}"):
        demand_cosine_margin(margin)
