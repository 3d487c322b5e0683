"""Defects seen in public code, each beside the property it breaks: ours holds it, the defective variant does not.

Trap 5, the min-norm formula without its square, is in ``test_balancers.py``; trap 8, the classifier that never trains,
in ``test_balancing.py``; the jump of the usual margin fallback in ``test_margins.py``.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from voxangle.objectives import (
    Objective,
    ObjectiveConfig,
    aam_softmax_loss,
    additive_angular_margin,
    class_aware_attention,
    supervised_contrastive_loss,
)

FORMS = ["numerator", "positive", "arcface"]


def speakers(samples: int = 12, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(samples) % 4
    centres = torch.randn(4, 8, generator=generator, dtype=dtype)
    return centres[labels] + 0.5 * torch.randn(samples, 8, generator=generator, dtype=dtype), labels


def sine_unclamped(cosine: Tensor, margin: float) -> Tensor:
    return cosine * math.cos(margin) - (1 - cosine.square()).sqrt() * math.sin(margin)


def by_arc_cosine(cosine: Tensor, margin: float) -> Tensor:
    return (cosine.acos() + margin).cos()


def where_instead_of_clamp(cosine: Tensor, margin: float) -> Tensor:
    # The branch that is not taken still sends 0 * inf back.
    return torch.where(cosine < 1, sine_unclamped(cosine, margin), cosine)


@pytest.mark.parametrize("defective", [sine_unclamped, by_arc_cosine, where_instead_of_clamp])
@pytest.mark.parametrize("end", [1.0, -1.0])
def test_trap_1_duplicates_and_antipodes_send_no_nan_back(defective: object, end: float) -> None:
    def gradient(margin_of: object) -> Tensor:
        cosine = torch.tensor([end], dtype=torch.float64, requires_grad=True)
        return torch.autograd.grad(margin_of(cosine, 0.2).sum(), cosine)[0]

    if not (end < 0 and defective is where_instead_of_clamp):
        assert not gradient(defective).isfinite().all()
    assert gradient(additive_angular_margin).isfinite().all()


@pytest.mark.parametrize("margin_form", FORMS)
def test_trap_1_a_batch_of_duplicates_has_a_finite_gradient(margin_form: str) -> None:
    z = torch.tensor([[1.0, 0.0]] * 3 + [[-1.0, 0.0]] * 3, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1, 0, 2])
    supervised_contrastive_loss(z, labels, margin=0.3, margin_form=margin_form).backward()
    assert z.grad.isfinite().all()


def supcon_with_bare_exponentials(embeddings: Tensor, labels: Tensor, temperature: float) -> Tensor:
    unit = functional.normalize(embeddings, dim=1)
    weight = (unit @ unit.T / temperature).exp()
    others = ~torch.eye(len(unit), dtype=torch.bool)
    positive = (labels[:, None] == labels) & others
    log_share = (weight / (weight * others).sum(dim=1, keepdim=True)).log()
    return -((log_share * positive).sum(dim=1) / positive.sum(dim=1)).mean()


def test_trap_2_exponentials_do_not_overflow() -> None:
    embeddings, labels = speakers()
    exact = supcon_with_bare_exponentials(embeddings, labels, 0.07)
    assert not supcon_with_bare_exponentials(embeddings.half(), labels, 0.07).isfinite()
    ours = supervised_contrastive_loss(embeddings.half(), labels, temperature=0.07)
    torch.testing.assert_close(ours.double(), exact, rtol=1e-2, atol=1e-2)
    # In float64 nothing overflows at this temperature: shifting by the maximum must not change the value.
    torch.testing.assert_close(supervised_contrastive_loss(embeddings, labels, temperature=0.07), exact)


def weighted_logits(embeddings: Tensor, attention: Tensor, *, shift_first: bool) -> Tensor:
    unit = functional.normalize(embeddings, dim=1)
    logits = unit @ unit.T / 0.2
    if shift_first:
        logits = logits - logits.amax(dim=1, keepdim=True)
    return attention * logits


def test_trap_2_the_maximum_is_subtracted_after_the_weighting() -> None:
    embeddings, labels = speakers()
    generator = torch.Generator().manual_seed(1)
    attention = torch.rand(12, generator=generator, dtype=torch.float64)
    pairwise = torch.minimum(attention[:, None], attention)

    def loss(logits: Tensor) -> Tensor:
        others = ~torch.eye(12, dtype=torch.bool)
        positive = (labels[:, None] == labels) & others
        share = logits - logits.masked_fill(~others, -torch.inf).logsumexp(dim=1, keepdim=True)
        return -(share.masked_fill(~positive, 0.0).sum(dim=1) / positive.sum(dim=1)).mean()

    ours = supervised_contrastive_loss(
        embeddings, labels, temperature=0.2, attention=pairwise, attention_form="logit", pairs="all"
    )
    torch.testing.assert_close(ours, loss(weighted_logits(embeddings, pairwise, shift_first=False)))
    assert (ours - loss(weighted_logits(embeddings, pairwise, shift_first=True))).abs() > 0.01


def test_trap_2_masking_by_multiplication_gives_nan() -> None:
    embeddings, labels = speakers()
    z = embeddings.clone().requires_grad_()
    unit = functional.normalize(z, dim=1)
    masked = torch.eye(12, dtype=torch.float64) * -torch.inf  # 0 * -inf off the diagonal
    assert (unit @ unit.T + masked).logsumexp(dim=1).isnan().all()
    loss = supervised_contrastive_loss(z, labels)
    loss.backward()
    assert loss.isfinite()
    assert z.grad.isfinite().all()


def attention_over_an_axis_of_one(embeddings: Tensor, labels: Tensor, prototypes: Tensor) -> Tensor:
    unit, centres = functional.normalize(embeddings, dim=1), functional.normalize(prototypes, dim=1)
    own = (unit * centres[labels]).sum(dim=1, keepdim=True)
    belongs = (10 * own).softmax(dim=1).squeeze(1)  # a softmax over one entry
    return torch.minimum(belongs[:, None], belongs)


def attention_by_broadcast_labels(embeddings: Tensor, labels: Tensor, prototypes: Tensor) -> Tensor:
    unit, centres = functional.normalize(embeddings, dim=1), functional.normalize(prototypes, dim=1)
    posterior = (10 * unit @ centres.T).softmax(dim=1)
    return (
        posterior.gather(1, labels.expand(len(labels), -1)).amax(dim=1, keepdim=True).expand(-1, len(labels))
    )


@pytest.mark.parametrize("defective", [attention_over_an_axis_of_one, attention_by_broadcast_labels])
def test_trap_3_attention_tells_a_mislabelled_sample_from_the_others(defective: object) -> None:
    embeddings, labels = speakers(24)
    generator = torch.Generator().manual_seed(0)
    prototypes = torch.randn(4, 8, generator=generator, dtype=torch.float64)  # the centres of `speakers`
    labels = labels.clone()
    labels[5] = (labels[5] + 1) % 4

    def tells(attention: Tensor) -> bool:
        others = [i for i in range(24) if i != 5]
        symmetric = torch.equal(attention, attention.T)
        return symmetric and bool(attention[5, others].max() < 0.2 * attention[others][:, others].median())

    assert tells(class_aware_attention(embeddings, labels, prototypes))
    assert not tells(defective(embeddings, labels, prototypes))


def margin_on_every_pair(embeddings: Tensor, labels: Tensor, margin: float) -> Tensor:
    unit = functional.normalize(embeddings, dim=1)
    itself = torch.eye(len(unit), dtype=torch.bool)
    logits = additive_angular_margin((unit @ unit.T).masked_fill(itself, 0.0), margin) / 0.5
    positive = (labels[:, None] == labels) & ~itself
    share = logits - logits.masked_fill(itself, -torch.inf).logsumexp(dim=1, keepdim=True)
    count = positive.sum(dim=1)
    return -(share.masked_fill(~positive, 0.0).sum(dim=1) / count.clamp(min=1))[count > 0].mean()


@pytest.mark.parametrize("margin_form", FORMS)
def test_trap_4_the_margin_separates_a_positive_from_a_negative_at_the_same_angle(margin_form: str) -> None:
    # Two positives and one negative, each at 60 degrees from the other two.
    z = torch.ones(3, 3, dtype=torch.float64) - torch.eye(3, dtype=torch.float64)
    labels = torch.tensor([0, 0, 1])
    ours = supervised_contrastive_loss(z, labels, temperature=0.5, margin=0.3, margin_form=margin_form)
    gap = (math.cos(math.pi / 3) - math.cos(math.pi / 3 + 0.3)) / 0.5
    expected = math.log(2) + gap if margin_form == "numerator" else math.log1p(math.exp(gap))
    assert float(ours) == pytest.approx(expected)
    assert float(margin_on_every_pair(z, labels, 0.3)) == pytest.approx(math.log(2))  # as without a margin


def supcon_with_normalised_rows(embeddings: Tensor, labels: Tensor, temperature: float) -> Tensor:
    unit = functional.normalize(embeddings, dim=1)
    logits = functional.normalize(unit @ unit.T, dim=1) / temperature
    itself = torch.eye(len(unit), dtype=torch.bool)
    positive = (labels[:, None] == labels) & ~itself
    share = logits - logits.masked_fill(itself, -torch.inf).logsumexp(dim=1, keepdim=True)
    return -(share.masked_fill(~positive, 0.0).sum(dim=1) / positive.sum(dim=1)).mean()


def test_trap_6_a_duplicate_has_cosine_1_whoever_else_is_in_the_batch() -> None:
    z = torch.eye(2, dtype=torch.float64).repeat_interleave(2, dim=0)
    labels = torch.tensor([0, 0, 1, 1])
    expected = math.log1p(2 * math.exp(-1 / 0.2))
    assert float(supervised_contrastive_loss(z, labels, temperature=0.2)) == pytest.approx(expected)
    assert float(supcon_with_normalised_rows(z, labels, 0.2)) > 3 * expected


def test_trap_7_views_are_neighbours_and_labels_repeat_they_do_not_tile() -> None:
    generator = torch.Generator().manual_seed(0)
    utterances = torch.randn(6, 16, generator=generator, dtype=torch.float64)
    views = utterances[:, None] + 0.1 * torch.randn(6, 3, 16, generator=generator, dtype=torch.float64)
    z, labels = views.flatten(0, 1), torch.arange(6)
    right = supervised_contrastive_loss(z, labels.repeat_interleave(3))
    tiled = supervised_contrastive_loss(z, labels.repeat(3))
    assert right < math.log(3)
    assert tiled > 5


def test_trap_9_the_classifier_sees_every_view() -> None:
    embeddings, labels = speakers(16, dtype=torch.float32)
    objective = Objective(ObjectiveConfig(contrastive=None), speakers=4, dimension=8)

    def moved(loss_of: object) -> Tensor:
        z = embeddings.clone().requires_grad_()
        return torch.autograd.grad(loss_of(z), z)[0].norm(dim=1) > 0

    assert moved(lambda z: objective(z, labels)["classification"]).all()
    first_views = moved(lambda z: aam_softmax_loss(z[::2], labels[::2], objective.classification.prototypes))
    assert first_views.sum() == 8
