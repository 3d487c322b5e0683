"""SphereFace2 against the definition, one binary classifier at a time; where its bias should start; its traps."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from voxangle.objectives.sphereface2 import sphereface2_initial_bias, sphereface2_loss

FORMS = ["additive", "angular"]


def batch(seed: int = 0, *, samples: int = 12, classes: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    prototypes = torch.randn(classes, 8, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (samples,), generator=generator)
    noise = torch.randn(samples, 8, generator=generator, dtype=torch.float64)
    return prototypes[labels] + noise, labels, prototypes, torch.tensor(0.7, dtype=torch.float64)


def naive(
    embeddings: Tensor,
    labels: Tensor,
    prototypes: Tensor,
    bias: Tensor,
    *,
    margin: float = 0.2,
    scale: float = 32.0,
    balance: float = 0.7,
    sharpness: float = 3.0,
    margin_form: str = "additive",
) -> float:
    """The definition, with angles."""

    def g(cosine: float) -> float:
        return 2 * ((cosine + 1) / 2) ** sharpness - 1

    total = 0.0
    for z, y in zip(embeddings, labels.tolist(), strict=True):
        for k, w in enumerate(prototypes):
            theta = math.acos(min(1.0, max(-1.0, float(z @ w / z.norm() / w.norm()))))
            if margin_form == "additive":
                right, wrong = g(math.cos(theta)) - margin, g(math.cos(theta)) + margin
            else:
                right = g(math.cos(min(math.pi, theta + margin)))
                near = theta < margin
                wrong = g(math.cos(theta) + 1 - math.cos(margin) if near else math.cos(theta - margin))
            if k == y:
                total += balance / scale * math.log1p(math.exp(-scale * right - float(bias)))
            else:
                total += (1 - balance) / scale * math.log1p(math.exp(scale * wrong + float(bias)))
    return total / len(labels)


@pytest.mark.parametrize("margin_form", FORMS)
@pytest.mark.parametrize("margin", [0.0, 0.2, 0.9])
@pytest.mark.parametrize("sharpness", [1.0, 2.0, 3.0, 2.5])
@pytest.mark.parametrize(("scale", "balance"), [(32.0, 0.7), (5.0, 0.2)])
def test_it_is_the_naive_double_loop(
    margin_form: str, margin: float, sharpness: float, scale: float, balance: float
) -> None:
    problem = batch()
    options = {
        "margin": margin,
        "margin_form": margin_form,
        "sharpness": sharpness,
        "scale": scale,
        "balance": balance,
    }
    assert float(sphereface2_loss(*problem, **options)) == pytest.approx(
        naive(*problem, **options), rel=1e-10
    )


@pytest.mark.parametrize("margin_form", FORMS)
def test_gradients_are_those_of_finite_differences(margin_form: str) -> None:
    embeddings, labels, prototypes, bias = batch(1)
    assert torch.autograd.gradcheck(
        lambda z, w, b: sphereface2_loss(z, labels, w, b, scale=5, margin_form=margin_form),
        (embeddings.requires_grad_(), prototypes.requires_grad_(), bias.requires_grad_()),
    )


def test_its_gradient_is_that_of_g_and_not_of_the_cosine_alone() -> None:
    # The face recognition code lets the gradient pass as if g and the margin were the identity.
    embedding, prototype = torch.tensor([[0.2, 0.98]]), torch.tensor([[1.0, 0.0]])
    cosine = functional.normalize(embedding, dim=1)[0, 0]
    pull = torch.sigmoid(-32 * (2 * ((cosine + 1) / 2) ** 3 - 1 - 0.2))
    embedding.requires_grad_()
    loss = sphereface2_loss(embedding, torch.tensor([0]), prototype, torch.tensor(0.0))
    (gradient,) = torch.autograd.grad(loss, embedding)
    (direction,) = torch.autograd.grad(functional.normalize(embedding, dim=1)[0, 0], embedding)
    slope = 3 * ((cosine + 1) / 2) ** 2
    torch.testing.assert_close(gradient, -0.7 * pull * slope * direction, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("margin_form", FORMS)
@pytest.mark.parametrize("margin", [0.0, 0.15, 0.8])
@pytest.mark.parametrize("classes", [2, 3, 4, 6000])
@pytest.mark.parametrize("balance", [0.5, 0.7])
def test_the_initial_bias_is_the_best_one_of_a_fresh_classifier(
    margin_form: str, margin: float, classes: int, balance: float
) -> None:
    options = {"margin": margin, "margin_form": margin_form, "balance": balance, "scale": 20.0}
    start = sphereface2_initial_bias(classes, **options)
    prototypes = torch.eye(2, dtype=torch.float64)[:1].expand(classes, 2)  # every cosine is 0
    embeddings, labels = torch.tensor([[0.0, 1.0]], dtype=torch.float64), torch.tensor([1])

    def loss(bias: float) -> float:
        return float(sphereface2_loss(embeddings, labels, prototypes, torch.tensor(bias).double(), **options))

    assert loss(start) < min(loss(start - 0.1), loss(start + 0.1), loss(0.0) + 1e-12)
    bias = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(sphereface2_loss(embeddings, labels, prototypes, bias, **options), bias)
    assert abs(float(slope)) < 1e-12


def test_no_class_competes_with_another() -> None:
    embeddings, labels, prototypes, bias = batch(2)
    moved = prototypes.clone()
    moved[4] = -moved[4]
    by_prototype = []
    for weights in (prototypes, moved):
        weights.requires_grad_()
        (gradient,) = torch.autograd.grad(sphereface2_loss(embeddings, labels, weights, bias), weights)
        by_prototype.append(gradient)
    assert torch.equal(by_prototype[0][:4], by_prototype[1][:4])
    assert not torch.equal(by_prototype[0][4], by_prototype[1][4])


def falls(values: list[float]) -> bool:
    return all(later <= earlier + 1e-12 for earlier, later in pairwise(values))


@pytest.mark.parametrize("margin_form", FORMS)
@pytest.mark.parametrize("sharpness", [1.0, 2.0, 3.0])
def test_nearer_is_better_for_the_right_class_and_worse_for_a_wrong_one(
    margin_form: str, sharpness: float
) -> None:
    options = {"margin": 0.3, "margin_form": margin_form, "sharpness": sharpness, "scale": 8.0}
    bias = torch.zeros((), dtype=torch.float64)
    # The other class stands at right angles, in a dimension of its own.
    prototypes = torch.eye(3, dtype=torch.float64)[:2]
    angles = torch.linspace(0, math.pi, 400, dtype=torch.float64)
    arc = torch.stack([angles.cos(), torch.zeros_like(angles), angles.sin()], dim=1)
    right = [float(sphereface2_loss(z[None], torch.tensor([0]), prototypes, bias, **options)) for z in arc]
    wrong = [float(sphereface2_loss(z[None], torch.tensor([1]), prototypes, bias, **options)) for z in arc]
    assert falls(right[::-1])
    assert falls(wrong)


def test_a_plain_angle_minus_margin_would_draw_a_wrong_class_in() -> None:
    theta = torch.linspace(0, 0.3, 100, dtype=torch.float64)
    defective = functional.softplus(8 * (2 * (((theta - 0.3).cos() + 1) / 2) ** 3 - 1)).tolist()
    assert not falls(defective)


def test_an_even_power_of_the_continued_cosine_would_reward_opposition() -> None:
    theta = torch.linspace(math.pi - 0.29, math.pi, 100, dtype=torch.float64)
    continued = theta.cos() - (1 - math.cos(0.3))  # below -1
    defective = functional.softplus(-8 * (2 * ((continued + 1) / 2) ** 2 - 1)).tolist()
    assert not falls(defective[::-1])


def test_the_plain_logarithm_overflows_and_softplus_is_coarse() -> None:
    embeddings, labels, prototypes, bias = batch(3)
    assert torch.log(1 + torch.exp(torch.tensor(400.0 * 1.2))).isinf()
    for side in (embeddings, -embeddings):  # wrong classes too near, right ones too far
        exact = sphereface2_loss(side, labels, prototypes, bias, scale=400.0)
        ours = sphereface2_loss(side.float(), labels, prototypes.float(), bias.float(), scale=400.0)
        torch.testing.assert_close(ours.double(), exact, rtol=1e-5, atol=1e-6)
    far = torch.tensor(20.5, dtype=torch.float64)
    assert float(functional.softplus(far) - far) == 0.0
    assert math.log1p(math.exp(20.5)) - 20.5 > 1e-9


@pytest.mark.parametrize("margin_form", FORMS)
@pytest.mark.parametrize("sharpness", [1.0, 1.5, 3.0])
@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_on_the_prototype_and_opposite_it_the_gradient_is_finite(
    margin_form: str, sharpness: float, side: float, dtype: torch.dtype
) -> None:
    # These unit vectors have a norm that rounds past 1 in float32.
    generator = torch.Generator().manual_seed(4)
    prototypes = torch.randn(50, 7, generator=generator).to(dtype).requires_grad_()
    embeddings = (side * prototypes.detach()).requires_grad_()
    bias = torch.zeros(1, dtype=dtype, requires_grad=True)
    loss = sphereface2_loss(
        embeddings, torch.arange(50), prototypes, bias, margin_form=margin_form, sharpness=sharpness
    )
    loss.backward()
    assert loss.isfinite()
    for leaf in (embeddings, prototypes, bias):
        assert leaf.grad.isfinite().all()


def test_a_fractional_power_of_a_cosine_past_minus_one_would_be_nan() -> None:
    cosine = torch.tensor(-1 - 1e-7)
    assert ((cosine + 1) / 2).pow(2.5).isnan()


@pytest.mark.parametrize("margin_form", FORMS)
def test_it_is_computed_in_float32_whatever_comes_in(margin_form: str) -> None:
    embeddings, labels, prototypes, bias = batch(5)
    exact = sphereface2_loss(embeddings, labels, prototypes, bias, margin_form=margin_form)
    assert exact.dtype == torch.float64
    single = sphereface2_loss(
        embeddings.float(), labels.int(), prototypes.float(), bias.float(), margin_form=margin_form
    )
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = sphereface2_loss(
            embeddings.float(), labels, prototypes.float(), bias.float(), margin_form=margin_form
        )
    assert torch.equal(under_autocast, single)
    half = sphereface2_loss(embeddings.half(), labels, prototypes.float(), bias, margin_form=margin_form)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), exact, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("margin_form", FORMS)
def test_ten_thousand_classes_and_a_single_one_are_finite(margin_form: str) -> None:
    generator = torch.Generator().manual_seed(6)
    embeddings = torch.randn(4, 16, generator=generator, requires_grad=True)
    for classes in (10_000, 1):
        prototypes = torch.randn(classes, 16, generator=generator, requires_grad=True)
        labels = torch.arange(4) % classes
        bias = torch.tensor(sphereface2_initial_bias(10_000, margin_form=margin_form))
        loss = sphereface2_loss(embeddings, labels, prototypes, bias, margin_form=margin_form)
        gradients = torch.autograd.grad(loss, (embeddings, prototypes))
        assert loss.isfinite()
        assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embeddings": torch.ones(12)}, "embeddings must have shape"),
        ({"labels": torch.full((12,), 5)}, r"labels must lie in \[0, 5\).*got 5"),
        ({"prototypes": torch.ones(5, 7)}, "prototypes must have shape"),
        ({"bias": torch.zeros(5)}, r"bias must be one floating-point number, got torch.float32 \(5,\)"),
        ({"bias": torch.tensor(0)}, "bias must be one floating-point number, got torch.int64"),
        ({"margin": 1.0}, r"margin must lie in \[0, 1\), in units of cosine, got 1.0"),
        ({"margin": 1.6, "margin_form": "angular"}, r"margin must lie in \[0, pi / 2\) radians, got 1.6"),
        ({"margin_form": "C"}, "margin_form must be one of 'additive', 'angular', got 'C'"),
        ({"scale": -1.0}, "scale must be finite and > 0, got -1.0"),
        ({"balance": 1.0}, r"balance must lie in \(0, 1\), got 1.0"),
        ({"balance": math.nan}, r"balance must lie in \(0, 1\), got nan"),
        ({"sharpness": 0.5}, "sharpness must be finite and >= 1, got 0.5"),
    ],
)
def test_bad_input_is_named(changes: dict[str, object], message: str) -> None:
    given = dict(zip(("embeddings", "labels", "prototypes", "bias"), batch(), strict=True))
    with pytest.raises(ValueError, match=message):
        sphereface2_loss(**(given | changes))
    if not changes.keys() & given.keys():
        with pytest.raises(ValueError, match=message):
            sphereface2_initial_bias(5, **changes)


def test_a_lone_class_has_no_initial_bias() -> None:
    with pytest.raises(ValueError, match="classes must be >= 2, got 1"):
        sphereface2_initial_bias(1)
