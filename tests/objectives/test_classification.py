"""Softmax, AM-softmax and AAM-softmax against the definition, one sample and class at a time, and a library."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import (
    ArcFaceLoss,
    CosFaceLoss,
    NormalizedSoftmaxLoss,
    SubCenterArcFaceLoss,
)
from torch import Tensor
from torch.nn import functional

from voxangle.objectives.classification import (
    aam_softmax_loss,
    am_softmax_loss,
    cosine_to_prototypes,
    softmax_loss,
)

Loss = Callable[..., Tensor]
ANGULAR_LOSSES = [am_softmax_loss, aam_softmax_loss]


def batch(
    seed: int = 0, *, samples: int = 15, classes: int = 5, subcentres: int | None = None, spread: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (classes, 8) if subcentres is None else (classes, subcentres, 8)
    prototypes = torch.randn(shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (samples,), generator=generator)
    noise = torch.randn(samples, 8, generator=generator, dtype=torch.float64)
    centres = prototypes if subcentres is None else prototypes[:, 0]
    return centres[labels] + spread * noise, labels, prototypes


def naive(
    embeddings: Tensor,
    labels: Tensor,
    prototypes: Tensor,
    *,
    angle: float = 0.0,
    constant: float = 0.0,
    scale: float = 32.0,
    inter_topk: int = 0,
    inter_margin: float = 0.06,
) -> float:
    """The definition, with angles."""

    def widened(theta: float, margin: float) -> float:
        if theta > math.pi - margin:
            return math.cos(theta) - (1 - math.cos(margin))
        if theta < -margin:
            return math.cos(theta) + (1 - math.cos(margin))
        return math.cos(theta + margin)

    total = 0.0
    for z, y in zip(embeddings, labels.tolist(), strict=True):
        angles = []
        for centres in prototypes:
            cosines = [
                float(z @ w / z.norm() / w.norm()) for w in (centres if centres.ndim == 2 else [centres])
            ]
            angles.append(math.acos(min(1.0, max(-1.0, *cosines))))
        rivals = sorted((k for k in range(len(angles)) if k != y), key=lambda k: angles[k])[:inter_topk]
        scores = [
            scale * widened(theta, angle if k == y else -inter_margin if k in rivals else 0.0)
            for k, theta in enumerate(angles)
        ]
        scores[y] -= scale * constant
        top = max(scores)
        total += top + math.log(sum(math.exp(score - top) for score in scores)) - scores[y]
    return total / len(labels)


@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5, 1.5])
@pytest.mark.parametrize("subcentres", [None, 1, 3])
@pytest.mark.parametrize("inter_topk", [0, 1, 2, 4])
def test_aam_softmax_is_the_naive_double_loop(margin: float, subcentres: int | None, inter_topk: int) -> None:
    problem = batch(subcentres=subcentres)
    ours = aam_softmax_loss(*problem, margin=margin, scale=20, inter_topk=inter_topk, inter_margin=0.1)
    expected = naive(*problem, angle=margin, scale=20, inter_topk=inter_topk, inter_margin=0.1)
    assert float(ours) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("margin", [0.0, 0.2, 1.9])
@pytest.mark.parametrize("subcentres", [None, 3])
def test_am_softmax_is_the_naive_double_loop(margin: float, subcentres: int | None) -> None:
    problem = batch(subcentres=subcentres)
    ours = am_softmax_loss(*problem, margin=margin, scale=20)
    assert float(ours) == pytest.approx(naive(*problem, constant=margin, scale=20), rel=1e-10)


def test_softmax_is_the_naive_double_loop() -> None:
    embeddings, labels, weights = batch()
    bias = torch.linspace(-1, 1, 5, dtype=torch.float64)
    for offset in (None, bias):
        total = 0.0
        for z, y in zip(embeddings, labels, strict=True):
            scores = [float(z @ w) for w in weights]
            if offset is not None:
                scores = [s + float(b) for s, b in zip(scores, offset, strict=True)]
            total += math.log(sum(math.exp(s) for s in scores)) - scores[y]
        assert float(softmax_loss(embeddings, labels, weights, offset)) == pytest.approx(
            total / 15, rel=1e-12
        )


def gradients(loss: Tensor, *inputs: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, inputs))


def test_a_library_agrees_in_value_and_gradient() -> None:
    embeddings, labels, prototypes = batch(1)
    subcentres = batch(1, subcentres=3)[2]
    sizes = {"num_classes": 5, "embedding_size": 8}
    for theirs, ours, weight in (
        (
            ArcFaceLoss(**sizes, margin=math.degrees(0.2), scale=30),
            lambda z, w: aam_softmax_loss(z, labels, w, margin=0.2, scale=30),
            prototypes,
        ),
        (
            SubCenterArcFaceLoss(**sizes, margin=math.degrees(0.2), scale=30, sub_centers=3),
            lambda z, w: aam_softmax_loss(z, labels, w, margin=0.2, scale=30),
            subcentres,
        ),
        (
            CosFaceLoss(**sizes, margin=0.35, scale=30),
            lambda z, w: am_softmax_loss(z, labels, w, margin=0.35, scale=30),
            prototypes,
        ),
        (
            NormalizedSoftmaxLoss(**sizes, temperature=1 / 30),
            lambda z, w: aam_softmax_loss(z, labels, w, margin=0, scale=30),
            prototypes,
        ),
    ):
        theirs.W = torch.nn.Parameter(weight.flatten(0, -2).T.contiguous())
        z, w = embeddings.clone().requires_grad_(), weight.clone().requires_grad_()
        value, expected = ours(z, w), theirs(z, labels)
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)
        by_embedding, by_prototype = gradients(value, z, w)
        their_embedding, their_prototype = gradients(expected, z, theirs.W)
        torch.testing.assert_close(by_embedding, their_embedding, rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(by_prototype.flatten(0, -2), their_prototype.T, rtol=1e-7, atol=1e-9)


def test_past_pi_minus_m_the_library_jumps_and_ours_does_not() -> None:
    margin, tiny, scale = 0.2, 1e-6, 4.0
    prototypes = torch.eye(2, dtype=torch.float64)
    theirs = ArcFaceLoss(2, 2, margin=math.degrees(margin), scale=scale)
    theirs.W = torch.nn.Parameter(prototypes.clone())
    label = torch.zeros(1, dtype=torch.long)
    steps = {}
    for name, loss in (
        ("theirs", theirs),
        ("ours", lambda z, y: aam_softmax_loss(z, y, prototypes, margin=margin, scale=scale)),
    ):
        before, after = (
            float(loss(torch.tensor([[math.cos(a), math.sin(a)]], dtype=torch.float64), label).detach())
            for a in (math.pi - margin - tiny, math.pi - margin + tiny)
        )
        steps[name] = after - before
    assert abs(steps["ours"]) < 1e-4
    # The wrong class holds nearly all of the posterior here, so that the loss rises by nearly scale times the jump.
    jump = margin * math.sin(margin) - (1 - math.cos(margin))
    assert steps["theirs"] == pytest.approx(scale * jump, rel=0.05)


@pytest.mark.parametrize("loss", ANGULAR_LOSSES)
@pytest.mark.parametrize("subcentres", [None, 3])
def test_gradients_are_those_of_finite_differences(loss: Loss, subcentres: int | None) -> None:
    embeddings, labels, prototypes = batch(subcentres=subcentres)
    assert torch.autograd.gradcheck(
        lambda z, w: loss(z, labels, w, margin=0.2, scale=4),
        (embeddings.requires_grad_(), prototypes.requires_grad_()),
    )


def test_gradients_through_the_penalty_and_a_linear_layer_are_those_of_finite_differences() -> None:
    embeddings, labels, prototypes = (x.requires_grad_() if x.is_floating_point() else x for x in batch(2))
    bias = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda z, w: aam_softmax_loss(z, labels, w, scale=4, inter_topk=2, inter_margin=0.3),
        (embeddings, prototypes),
    )
    assert torch.autograd.gradcheck(
        lambda z, w, b: softmax_loss(z, labels, w, b), (embeddings, prototypes, bias)
    )


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.01, 100))
def test_length_rotation_and_order_do_not_matter(seed: int, length: float) -> None:
    embeddings, labels, prototypes = batch(seed, subcentres=2)
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64)).Q
    samples, classes = torch.randperm(15, generator=generator), torch.randperm(5, generator=generator)
    for loss in (am_softmax_loss, lambda *x: aam_softmax_loss(*x, inter_topk=2)):
        expected = loss(embeddings, labels, prototypes)
        for changed in (
            (length * embeddings, labels, prototypes),
            (embeddings, labels, length * prototypes),
            (embeddings @ rotation, labels, prototypes @ rotation),
            (embeddings[samples], labels[samples], prototypes),
            (embeddings, classes.argsort()[labels], prototypes[classes]),
            (embeddings, labels, prototypes.flip(1)),
        ):
            torch.testing.assert_close(loss(*changed), expected)


@pytest.mark.parametrize("option", ["margin", "inter_margin"])
def test_the_loss_grows_with_either_margin(option: str) -> None:
    problem = batch(3, samples=60)
    values = [
        float(aam_softmax_loss(*problem, inter_topk=2, **{option: m})) for m in (0.0, 0.05, 0.1, 0.2, 0.5)
    ]
    assert values == sorted(set(values))
    values = [float(am_softmax_loss(*problem, margin=m)) for m in (0.0, 0.1, 0.5, 1.5)]
    assert values == sorted(set(values))


def test_a_cosine_to_sub_centres_is_the_one_to_the_nearest() -> None:
    embeddings, _, prototypes = batch(subcentres=3)
    cosine = cosine_to_prototypes(embeddings, prototypes)
    for i, z in enumerate(embeddings):
        for k, centres in enumerate(prototypes):
            nearest = max(float(functional.cosine_similarity(z, w, dim=0)) for w in centres)
            assert float(cosine[i, k]) == pytest.approx(nearest, rel=1e-12)
    torch.testing.assert_close(cosine_to_prototypes(embeddings, prototypes, scale=7), 7 * cosine)
    single = batch()[2]
    assert torch.equal(
        cosine_to_prototypes(embeddings, single), cosine_to_prototypes(embeddings, single[:, None])
    )


def test_only_the_nearest_sub_centre_learns() -> None:
    prototypes = torch.eye(6).view(3, 2, 6).requires_grad_()
    embedding = torch.tensor([[0.9, 0.4, 0.3, 0.0, 0.0, 0.1]])
    aam_softmax_loss(embedding, torch.tensor([0]), prototypes, scale=1).backward()
    assert [[bool(w.any()) for w in centres] for centres in prototypes.grad] == [
        [True, False],
        [True, False],
        [False, True],
    ]


def test_the_penalty_meets_the_nearest_wrong_classes_and_never_the_true_one() -> None:
    cosine = torch.tensor([[0.9, 0.1, 0.5, 0.3]], dtype=torch.float64)
    embeddings = torch.cat([cosine, torch.sqrt(1 - cosine.square().sum(dim=1, keepdim=True) + 1)], dim=1)
    embeddings = functional.normalize(embeddings, dim=1)
    prototypes = torch.eye(5, dtype=torch.float64)[:4]
    theta = embeddings[0, :4].acos()
    scores = theta.cos()
    scores[0] = (theta[0] + 0.2).cos()
    for k in (2, 3):
        scores[k] = (theta[k] - 0.06).cos()
    expected = functional.cross_entropy(10 * scores[None], torch.tensor([0]))
    ours = aam_softmax_loss(embeddings, torch.tensor([0]), prototypes, scale=10, inter_topk=2)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=0)

    # The trap: the most similar classes of all, the true one among them, whose margin the penalty then undoes.
    scores[3] = theta[3].cos()
    scores[0] = (theta[0] - 0.06).cos()
    defective = functional.cross_entropy(10 * scores[None], torch.tensor([0]))
    assert defective < aam_softmax_loss(embeddings, torch.tensor([0]), prototypes, scale=10)


def test_no_penalty_is_a_penalty_of_nothing() -> None:
    problem = batch(4)
    plain = aam_softmax_loss(*problem)
    torch.testing.assert_close(aam_softmax_loss(*problem, inter_topk=4, inter_margin=0), plain)
    assert torch.equal(aam_softmax_loss(*problem, inter_topk=0, inter_margin=0.5), plain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("loss", ANGULAR_LOSSES)
def test_on_the_prototype_and_opposite_it_the_gradient_is_finite(
    dtype: torch.dtype, side: float, loss: Loss
) -> None:
    prototypes = torch.eye(4, dtype=dtype)[[0, 1, 2, 2]].requires_grad_()  # two classes in one place
    embeddings = (side * torch.eye(4, dtype=dtype)).requires_grad_()
    options = {"inter_topk": 2} if loss is aam_softmax_loss else {}
    value = loss(embeddings, torch.arange(4), prototypes, **options)
    value.backward()
    assert value.isfinite()
    assert embeddings.grad.isfinite().all()
    assert prototypes.grad.isfinite().all()


def test_an_arc_cosine_on_the_prototype_would_give_nan() -> None:
    embeddings = torch.eye(3, requires_grad=True)
    theta = (embeddings @ torch.eye(3)).acos() + 0.2 * torch.eye(3)
    functional.cross_entropy(32 * theta.cos(), torch.arange(3)).backward()
    assert not embeddings.grad.isfinite().all()


@pytest.mark.parametrize("loss", ANGULAR_LOSSES)
def test_ten_thousand_classes_are_close_to_float64(loss: Loss) -> None:
    generator = torch.Generator().manual_seed(5)
    prototypes = torch.randn(10_000, 64, generator=generator, requires_grad=True)
    labels = torch.randint(10_000, (16,), generator=generator)
    embeddings = (prototypes.detach()[labels] + torch.randn(16, 64, generator=generator)).requires_grad_()
    value = loss(embeddings, labels, prototypes)
    exact = loss(embeddings.double(), labels, prototypes.double())
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(
        gradients(value, embeddings, prototypes), gradients(exact, embeddings, prototypes), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)
    extreme = loss(embeddings, labels, prototypes, scale=1e6)
    assert extreme.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients(extreme, embeddings, prototypes))


@pytest.mark.parametrize("loss", [*ANGULAR_LOSSES, softmax_loss])
def test_it_is_computed_in_float32_whatever_comes_in(loss: Loss) -> None:
    embeddings, labels, prototypes = batch(6)
    exact = loss(embeddings, labels, prototypes)
    assert exact.dtype == torch.float64
    assert loss(embeddings, labels, prototypes.float()).dtype == torch.float64
    single = loss(embeddings.float(), labels, prototypes.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(embeddings.float(), labels, prototypes.float()), single)
    for half, tolerance in ((torch.float16, 5e-3), (torch.bfloat16, 5e-2)):
        low = loss(embeddings.to(half), labels, prototypes.float())
        assert low.dtype == torch.float32
        torch.testing.assert_close(low.double(), exact, rtol=tolerance, atol=tolerance)


def test_cosines_to_prototypes_are_computed_in_float32_too() -> None:
    embeddings, _, prototypes = batch(6, subcentres=2)
    single = cosine_to_prototypes(embeddings.float(), prototypes.float(), scale=30)
    torch.testing.assert_close(
        single.double(), cosine_to_prototypes(embeddings, prototypes, scale=30), rtol=1e-5, atol=1e-5
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(cosine_to_prototypes(embeddings.float(), prototypes.float(), scale=30), single)


@pytest.mark.parametrize("loss", [*ANGULAR_LOSSES, softmax_loss])
def test_the_kind_of_integer_does_not_matter_and_nothing_given_is_changed(loss: Loss) -> None:
    problem = batch(7)
    before = [tensor.clone() for tensor in problem]
    expected = loss(*problem)
    for kind in (torch.int32, torch.int16, torch.int8, torch.uint8):
        assert torch.equal(loss(problem[0], problem[1].to(kind), problem[2]), expected)
    assert all(torch.equal(now, then) for now, then in zip(problem, before, strict=True))


@pytest.mark.parametrize("loss", [*ANGULAR_LOSSES, softmax_loss])
def test_one_sample_is_enough_and_a_single_class_costs_nothing(loss: Loss) -> None:
    embeddings, labels, prototypes = batch(8)
    values = [loss(embeddings[i : i + 1], labels[i : i + 1], prototypes) for i in range(15)]
    torch.testing.assert_close(loss(embeddings, labels, prototypes), torch.stack(values).mean())
    embeddings.requires_grad_()
    alone = loss(embeddings, torch.zeros_like(labels), prototypes[:1])
    alone.backward()
    assert float(alone.detach()) == 0
    assert not embeddings.grad.any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embeddings": torch.ones(15, 8, dtype=torch.long)}, "embeddings must be floating-point"),
        ({"embeddings": torch.ones(15)}, r"embeddings must have shape \(N, D\).*got \(15,\)"),
        ({"labels": torch.full((15,), 5)}, r"labels must lie in \[0, 5\).*got 5"),
        ({"labels": torch.full((15,), -1)}, r"labels must lie in \[0, 5\).*got -1"),
        ({"labels": torch.zeros(14, dtype=torch.long)}, r"labels must have shape \(15,\).*got \(14,\)"),
        ({"labels": torch.zeros(15)}, "labels must be integers, got torch.float32"),
        ({"prototypes": torch.ones(5, 7)}, r"prototypes must have shape \(C, 8\) or \(C, K, 8\).*\(5, 7\)"),
        ({"prototypes": torch.ones(5, 2, 2, 8)}, "prototypes must have shape"),
        ({"prototypes": torch.ones(5, 8, dtype=torch.long)}, "prototypes must be floating-point"),
        ({"scale": 0.0}, "scale must be finite and > 0, got 0.0"),
        ({"scale": math.inf}, "scale must be finite and > 0, got inf"),
        ({"margin": -0.1}, r"margin must lie in \[0, .*got -0.1"),
        ({"margin": 2.0}, r"margin must lie in \[0, .*got 2.0"),
        ({"inter_topk": 5}, r"inter_topk must lie in \[0, 4\], the wrong classes, got 5"),
        ({"inter_topk": -1}, r"inter_topk must lie in \[0, 4\], the wrong classes, got -1"),
        ({"inter_margin": math.pi / 2}, r"inter_margin must lie in \[0, pi / 2\) radians"),
    ],
)
def test_bad_input_is_named(changes: dict[str, object], message: str) -> None:
    embeddings, labels, prototypes = batch()
    arguments = {"embeddings": embeddings, "labels": labels, "prototypes": prototypes} | changes
    with pytest.raises(ValueError, match=message):
        aam_softmax_loss(**arguments)
    if not any(name.startswith("inter") for name in changes):
        with pytest.raises(ValueError, match=message):
            am_softmax_loss(**arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embeddings": torch.ones(15)}, "embeddings must have shape"),
        ({"labels": torch.full((15,), 5)}, r"labels must lie in \[0, 5\)"),
        ({"weights": torch.ones(5, 7)}, r"weights must have shape \(C, 8\) for .*\(5, 7\)"),
        ({"weights": torch.ones(5, 8, dtype=torch.long)}, "weights must be floating-point, got torch.int64"),
        ({"weights": torch.ones(())}, "weights must have shape"),
        ({"weights": torch.ones(0, 8)}, "weights must have shape"),
        ({"bias": torch.ones(4)}, r"bias must be floating-point of shape \(5,\).*got torch.float32 \(4,\)"),
        ({"bias": torch.ones(5, dtype=torch.long)}, "bias must be floating-point"),
    ],
)
def test_bad_input_of_the_linear_layer_is_named(changes: dict[str, Tensor], message: str) -> None:
    embeddings, labels, weights = batch()
    with pytest.raises(ValueError, match=message):
        softmax_loss(**({"embeddings": embeddings, "labels": labels, "weights": weights} | changes))
