"""Supervised contrastive loss with an additive angular margin and weighted pairs."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

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
) -> Tensor:
    r"""Pull every sample towards the others of its speaker, push it from everybody else.

    .. math::
        L_i = -\frac1{|P(i)|} \sum_{p \in P(i)} \Big[ \phi_{ip}/\tau - \log D_{ip} \Big]

    where P(i) are the other samples of the anchor's speaker, N(i) those of other speakers, and the margin's
    form chooses the denominator:

    - ``numerator``: :math:`D = \sum_{a \ne i} e^{\cos_{ia}/\tau}`, free of the margin;
    - ``positive``: :math:`D = \sum_{p' \in P(i)} e^{\phi_{ip'}/\tau} + \sum_{n \in N(i)} e^{\cos_{in}/\tau}`;
    - ``arcface``: :math:`D_{ip} = e^{\phi_{ip}/\tau} + \sum_{n \in N(i)} e^{\cos_{in}/\tau}`.

    Attention A weighs pairs: ``logit`` multiplies the logit, :math:`A_{ij} \cos_{ij} / \tau`; ``log_weight``
    multiplies the exponential, :math:`\cos_{ij} / \tau + \log A_{ij}`.

    Args:
        embeddings: (N, D), any norm but zero.
        labels: (N,) integers.
        temperature: tau > 0.
        margin: m in radians, >= 0; 0 gives SupCon in the first two forms.
        margin_form: see above.
        attention: (N, N) positive weights, or None for no weights.
        attention_form: see above.
        pairs: the pairs that attention weighs: ``negatives``, or ``all``.

    Returns:
        The mean over the anchors that have a positive, a scalar; 0 (with a zero gradient) where none has.

    Sources: SupCon (L_out), arXiv 2004.11362, equation 2; margin: arXiv 2210.16636; class-aware attention:
    arXiv 2210.16622.
    """
    with full_precision(embeddings):
        unit = functional.normalize(promote(embeddings), dim=1)
        itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
        # The diagonal goes before the margin's square root sees it: its gradient there is infinite.
        cosine = (unit @ unit.T).masked_fill(itself, 0.0)
        same = labels[:, None] == labels[None, :]
        positive = same & ~itself

        plain = cosine / temperature
        widened = additive_angular_margin(cosine, margin) / temperature
        if attention is not None:
            weight = promote(attention)
            if pairs == "negatives":
                weight = weight.masked_fill(same, 1.0)
            weight = weight.masked_fill(itself, 1.0)
            if attention_form == "logit":
                plain, widened = weight * plain, weight * widened
            else:
                plain, widened = plain + weight.log(), widened + weight.log()

        if margin_form == "arcface":
            against = plain.masked_fill(same, -torch.inf).logsumexp(dim=1, keepdim=True)
            log_denominator = torch.logaddexp(widened, against)
        else:
            contrast = plain if margin_form == "numerator" else torch.where(positive, widened, plain)
            log_denominator = contrast.masked_fill(itself, -torch.inf).logsumexp(dim=1, keepdim=True)

        pair_loss = (log_denominator - widened).masked_fill(~positive, 0.0)
        count = positive.sum(dim=1)
        anchor_loss = pair_loss.sum(dim=1) / count.clamp(min=1)
        # An anchor without a positive has loss 0 here and does not count in the mean.
        return anchor_loss.sum() / (count > 0).sum().clamp(min=1)
