"""Supervised contrastive loss with an additive angular margin and weighted pairs."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from voxangle.objectives.blockwise import choose_block_size, sum_over_blocks
from voxangle.objectives.checks import (
    demand_choice,
    demand_constant,
    demand_count,
    demand_embeddings,
    demand_labels,
    demand_margin,
    demand_positive,
    demand_tensor,
)
from voxangle.objectives.margins import additive_angular_margin
from voxangle.objectives.precision import full_precision, promote

__all__ = ["AttentionForm", "MarginForm", "PairSelection", "supervised_contrastive_loss"]

MarginForm = Literal["numerator", "positive", "arcface"]
AttentionForm = Literal["logit", "log_weight"]
PairSelection = Literal["negatives", "all"]


def supervised_contrastive_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    temperature: float = 0.07,
    margin: float = 0.0,
    margin_form: MarginForm = "numerator",
    attention: Tensor | None = None,
    attention_form: AttentionForm = "logit",
    pairs: PairSelection = "negatives",
    block_size: int | None = None,
) -> Tensor:
    r"""Pull every sample towards the others of its speaker, push it from everybody else.

    .. math::
        L_i = -\frac1{|P(i)|} \sum_{p \in P(i)} \Big[ \phi_{ip}/\tau - \log D_{ip} \Big]

    where P(i) are the other samples of the anchor's speaker, N(i) those of other speakers,
    :math:`\phi_{ip} = \phi(\theta_{ip})` is ``additive_angular_margin``, and the margin's form chooses the
    denominator:

    - ``numerator``: :math:`D = \sum_{a \ne i} e^{\cos_{ia}/\tau}`, free of the margin;
    - ``positive``: :math:`D = \sum_{p' \in P(i)} e^{\phi_{ip'}/\tau} + \sum_{n \in N(i)} e^{\cos_{in}/\tau}`;
    - ``arcface``: :math:`D_{ip} = e^{\phi_{ip}/\tau} + \sum_{n \in N(i)} e^{\cos_{in}/\tau}`.

    Attention A weighs pairs: ``logit`` multiplies the logit, :math:`A_{ij} \cos_{ij} / \tau`; ``log_weight``
    multiplies the exponential, :math:`\cos_{ij} / \tau + \log A_{ij}`.

    Memory is O(N * block_size): no (N, N) matrix is kept, though one that is given as attention is there anyway;
    give ``own_class_posterior``, (N,), instead. The loss may be differentiated twice; ``torch.compile`` leaves it as it
    is, in a break of the graph (``fullgraph=True`` refuses it), and ``torch.func`` cannot transform it.

    Args:
        embeddings: (N, D), any norm but zero (a zero vector has cosine 0 to everybody and a huge
            gradient). NaN gives NaN.
        labels: (N,) integers of any value; equal labels are positives.
        temperature: tau > 0, a constant.
        margin: m in [0, pi / 2) radians, a constant; 0 gives SupCon in the first two forms.
        margin_form: see above.
        attention: (N, N) weights of the pairs; or (N,) weights of the samples, of which a pair has the smaller
            one; finite and >= 0. Or None for no weights. Under ``log_weight`` a weight of 0 is taken as the
            smallest normal number.
        attention_form: see above.
        pairs: the pairs that attention weighs: ``negatives``, or ``all``.
        block_size: anchors at once; None chooses them for speed (all of them where N is small).

    Returns:
        The mean over the anchors that have a positive, a scalar in float32 (float64 if the embeddings are); 0
        with a zero gradient where none has.

    Raises:
        ValueError: an argument of another shape, type or range; it is named.

    Example:
        >>> import torch
        >>> from voxangle.objectives import supervised_contrastive_loss
        >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> round(float(supervised_contrastive_loss(embeddings, labels, temperature=0.5, margin=0.2)), 4)
        1.141

    Sources: SupCon (L_out), arXiv 2004.11362, equation 2; margin: arXiv 2210.16636; class-aware attention:
    arXiv 2210.16622.
    """
    demand_embeddings(embeddings)
    demand_labels(labels, len(embeddings))
    for constant, name in ((temperature, "temperature"), (margin, "margin")):
        demand_constant(constant, name)
    demand_positive(temperature, "temperature")
    demand_margin(margin)
    demand_choice(margin_form, "margin_form", MarginForm)
    demand_choice(attention_form, "attention_form", AttentionForm)
    demand_choice(pairs, "pairs", PairSelection)
    if attention is not None:
        _demand_attention(attention, len(embeddings))
    if block_size is None:
        block_size = choose_block_size(len(embeddings), embeddings.device)
    else:
        demand_count(block_size, "block_size")
    block_loss = partial(
        _block_loss,
        labels=labels,
        temperature=temperature,
        margin=margin,
        margin_form=margin_form,
        attention_form=attention_form,
        pairs=pairs,
    )
    with full_precision(embeddings):
        unit = functional.normalize(promote(embeddings), dim=1)
        total = sum_over_blocks(unit, attention, block_loss, block_size)
        speakers = torch.unique(labels, return_counts=True)[1]
        # An anchor without a positive has loss 0 and does not count in the mean.
        mean: Tensor = total / speakers[speakers > 1].sum().clamp(min=1)
        return mean


def _block_loss(
    cosine: Tensor,
    attention: Tensor | None,
    rows: slice,
    *,
    labels: Tensor,
    temperature: float,
    margin: float,
    margin_form: MarginForm,
    attention_form: AttentionForm,
    pairs: PairSelection,
) -> Tensor:
    """The sum of the losses of a block of anchors."""
    same = labels[rows, None] == labels
    positive = same.clone()
    positive.diagonal(rows.start).fill_(False)
    # Positives are few: what concerns only them is computed on their list, not on the block.
    anchor, other = positive.nonzero(as_tuple=True)
    count = positive.sum(dim=1)

    plain = cosine / temperature
    widened = additive_angular_margin(cosine[anchor, other], margin) / temperature
    if attention is not None:
        log = attention_form == "log_weight"
        exempt = same if pairs == "negatives" else same ^ positive
        weight = _pair_weights(attention, rows, exempt, log=log)
        plain = plain + weight if log else plain * weight
        at_positives = weight[anchor, other]
        widened = widened + at_positives if log else widened * at_positives

    if margin_form == "positive":
        plain = plain.index_put((anchor, other), widened)
    plain = plain.masked_fill(same if margin_form == "arcface" else same ^ positive, -torch.inf)
    contrast = plain.logsumexp(dim=1)
    if margin_form == "arcface":
        return ((torch.logaddexp(widened, contrast[anchor]) - widened) / count[anchor]).sum()
    return contrast.masked_fill(count == 0, 0.0).sum() - (widened / count[anchor]).sum()


def _pair_weights(attention: Tensor, rows: slice, exempt: Tensor, *, log: bool) -> Tensor:
    """The weights (or their logarithms) of a block's pairs, (B, N); exempt pairs weigh 1."""
    weight = attention.clamp(min=torch.finfo(attention.dtype).tiny).log() if log else attention
    if weight.ndim == 1:
        weight = torch.minimum(weight[rows, None], weight)
    return weight.masked_fill(exempt, 0.0 if log else 1.0)


def _demand_attention(attention: Tensor, samples: int) -> None:
    demand_tensor(attention, "attention")
    if not attention.is_floating_point():
        raise ValueError(f"attention must be floating-point, got {attention.dtype}")
    if attention.shape not in {(samples, samples), (samples,)}:
        raise ValueError(
            f"attention must have shape ({samples}, {samples}) or ({samples},) for {samples} embeddings, got "
            f"{tuple(attention.shape)}"
        )
    low, high = (float(edge) for edge in attention.detach().aminmax())
    if not (low >= 0 and high < torch.inf):  # a comparison with NaN is false
        raise ValueError(f"attention must be finite and >= 0, got entries in [{low:g}, {high:g}]")
