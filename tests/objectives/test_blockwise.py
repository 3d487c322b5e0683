"""Block by block the contrastive loss is the same loss, in less memory."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from voxangle.objectives import additive_angular_margin, supervised_contrastive_loss
from voxangle.objectives.blockwise import choose_block_size

FORMS = ["numerator", "positive", "arcface"]


def dense(
    embeddings: Tensor,
    labels: Tensor,
    *,
    temperature: float,
    margin: float,
    margin_form: str,
    attention: Tensor | None = None,
    attention_form: str = "logit",
    pairs: str = "negatives",
) -> Tensor:
    """The whole (N, N) matrix under autograd, the definition written down at once."""
    unit = functional.normalize(embeddings, dim=1)
    itself = torch.eye(len(unit), dtype=torch.bool)
    cosine = (unit @ unit.T).masked_fill(itself, 0.0)
    same = labels[:, None] == labels
    positive = same & ~itself
    plain, widened = cosine / temperature, additive_angular_margin(cosine, margin) / temperature
    if attention is not None:
        weight = attention if attention.ndim == 2 else torch.minimum(attention[:, None], attention)
        weight = weight.masked_fill(same if pairs == "negatives" else itself, 1.0)
        if attention_form == "logit":
            plain, widened = weight * plain, weight * widened
        else:
            plain, widened = plain + weight.log(), widened + weight.log()
    if margin_form == "arcface":
        against = plain.masked_fill(same, -torch.inf).logsumexp(dim=1, keepdim=True)
        denominator = torch.logaddexp(widened, against)
    else:
        contrast = plain if margin_form == "numerator" else torch.where(positive, widened, plain)
        denominator = contrast.masked_fill(itself, -torch.inf).logsumexp(dim=1, keepdim=True)
    losses = (denominator - widened).masked_fill(~positive, 0.0).sum(dim=1)
    count = positive.sum(dim=1)
    return (losses / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)


def batch(seed: int, samples: int = 23, speakers: int = 6) -> tuple[Tensor, Tensor]:
    """Speakers of unequal size, among them some with a single sample."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(speakers, (samples,), generator=generator)
    labels[0] = speakers + 5
    centres = torch.randn(speakers + 6, 7, generator=generator, dtype=torch.float64)
    return centres[labels] + torch.randn(samples, 7, generator=generator, dtype=torch.float64), labels


def belief(seed: int, shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.9 + 0.1


@pytest.mark.parametrize("margin_form", FORMS)
@pytest.mark.parametrize("attention_form", [None, "logit", "log_weight"])
@pytest.mark.parametrize("pairs", ["negatives", "all"])
@settings(max_examples=12)
@given(
    seed=st.integers(0, 10_000),
    block_size=st.integers(1, 40) | st.none(),
    margin=st.sampled_from([0.0, 0.2, 1.0]),
    shape=st.sampled_from([(23,), (23, 23)]),
)
def test_any_block_size_gives_the_dense_value_and_gradients(
    margin_form: str,
    attention_form: str | None,
    pairs: str,
    seed: int,
    block_size: int | None,
    margin: float,
    shape: tuple[int, ...],
) -> None:
    embeddings, labels = batch(seed)
    leaves = [embeddings.requires_grad_()]
    options: dict[str, object] = {"temperature": 0.2, "margin": margin, "margin_form": margin_form}
    if attention_form:
        leaves.append(belief(seed, shape).requires_grad_())
        options |= {"attention": leaves[1], "attention_form": attention_form, "pairs": pairs}
    ours = supervised_contrastive_loss(embeddings, labels, block_size=block_size, **options)
    expected = dense(embeddings, labels, **options)
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)
    for got, wanted in zip(
        torch.autograd.grad(ours, leaves), torch.autograd.grad(expected, leaves), strict=True
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(7,), (7, 7)])
@pytest.mark.parametrize("attention_form", ["logit", "log_weight"])
@pytest.mark.parametrize("margin_form", FORMS)
def test_gradients_and_second_gradients_are_those_of_finite_differences(
    margin_form: str, attention_form: str, shape: tuple[int, ...]
) -> None:
    generator = torch.Generator().manual_seed(3)
    embeddings = torch.randn(7, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 0, 2, 1, 0, 3])
    attention = belief(3, shape).requires_grad_()

    def loss(z: Tensor, a: Tensor) -> Tensor:
        return supervised_contrastive_loss(
            z,
            labels,
            temperature=0.5,
            margin=0.2,
            margin_form=margin_form,
            attention=a,
            attention_form=attention_form,
            pairs="all",
            block_size=3,
        )

    assert torch.autograd.gradcheck(loss, (embeddings, attention))
    assert torch.autograd.gradgradcheck(loss, (embeddings, attention))


def test_the_gradient_is_the_same_whether_or_not_it_will_be_differentiated() -> None:
    embeddings, labels = batch(11)
    embeddings.requires_grad_()
    weights = belief(11, (23,)).requires_grad_()

    def loss() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return supervised_contrastive_loss(
                embeddings.float(), labels, margin=0.2, attention=weights.float()
            )

    once = torch.autograd.grad(loss(), (embeddings, weights))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = torch.autograd.grad(loss(), (embeddings, weights), create_graph=True)
    for one, two in zip(once, again, strict=True):
        torch.testing.assert_close(one, two.detach(), rtol=1e-5, atol=1e-7)


def test_attention_learns_where_the_embeddings_are_frozen() -> None:
    embeddings, labels = batch(13)
    alone, beside = belief(13, (23,)).requires_grad_(), belief(13, (23,)).requires_grad_()
    moving = embeddings.clone().requires_grad_()
    frozen = supervised_contrastive_loss(embeddings, labels, attention=alone, block_size=5)
    free = supervised_contrastive_loss(moving, labels, attention=beside, block_size=5)
    (one,) = torch.autograd.grad(frozen, alone)
    torch.testing.assert_close(one, torch.autograd.grad(free, beside)[0])
    assert one.norm() > 0


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
@pytest.mark.parametrize("samples", [1, 256, 8192, 32_768, 10_000_000])
def test_a_chosen_block_is_bounded_in_rows_and_pairs(device: str, samples: int) -> None:
    rows = choose_block_size(samples, torch.device(device))
    assert rows >= 64
    assert rows == 64 or rows * samples <= 2**26


def test_weights_of_samples_are_the_smaller_weight_of_each_pair() -> None:
    embeddings, labels = batch(5)
    weights = belief(5, (23,))
    pairwise = torch.minimum(weights[:, None], weights[None, :])
    for form in ("logit", "log_weight"):
        one, two = (
            supervised_contrastive_loss(embeddings, labels, attention=a, attention_form=form)
            for a in (weights, pairwise)
        )
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def test_going_back_twice_gives_the_same_gradient_scaled() -> None:
    embeddings, labels = batch(7)
    embeddings.requires_grad_()
    loss = supervised_contrastive_loss(embeddings, labels, margin=0.2, block_size=4)
    once = torch.autograd.grad(loss, embeddings, retain_graph=True)[0]
    twice = torch.autograd.grad(loss, embeddings, torch.tensor(0.25, dtype=torch.float64))[0]
    torch.testing.assert_close(twice, once / 4)
    with torch.no_grad():
        quiet = supervised_contrastive_loss(embeddings, labels, margin=0.2, block_size=4)
    assert not quiet.requires_grad
    torch.testing.assert_close(quiet, loss.detach())


@pytest.mark.parametrize("block_size", [0, -3, 2.0])
def test_a_block_holds_at_least_one_anchor(block_size: object) -> None:
    with pytest.raises(ValueError, match=f"block_size must be an integer >= 1, got {block_size}"):
        supervised_contrastive_loss(*batch(9), block_size=block_size)


PEAK = """
import torch
from pathlib import Path
from voxangle.objectives import supervised_contrastive_loss

def peak(samples):
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far, that of the parent included
    embeddings = torch.randn(samples, 192, requires_grad=True)
    supervised_contrastive_loss(
        embeddings, torch.arange(samples) // 4, margin=0.1, margin_form="positive",
        attention=torch.rand(samples), attention_form="log_weight", block_size={block_size},
    ).backward()
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024

print(-peak(256) + peak({samples}))
"""


@pytest.mark.parametrize(("block_size", "least", "most"), [(None, 0, 300), (6144, 450, 10_000)])
def test_memory_follows_the_block(block_size: int | None, least: int, most: int) -> None:
    # The peak belongs to a process, hence a fresh one. The whole matrix at once shows that the measure measures.
    script = PEAK.format(samples=6144, block_size=block_size)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert least <= int(done.stdout) <= most
