"""NT-Xent with an additive margin: contrast without classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from voxangle.objectives.checks import demand_cosine_margin, demand_embeddings, demand_labels, demand_positive
from voxangle.objectives.precision import full_precision, promote

__all__ = ["nt_xent_am_loss"]


def nt_xent_am_loss(
    embeddings: Tensor, labels: Tensor, *, temperature: float = 0.07, margin: float = 0.1
) -> Tensor:
    r"""Tell each positive, made less similar by a margin, from all negatives of its anchor.

    .. math::
        L = -\frac{1}{|P|} \sum_{(i, p) \in P} \log \frac{e^{(\cos_{ip} - m) / \tau}}
        {e^{(\cos_{ip} - m) / \tau} + \sum_{n \in N(i)} e^{\cos_{in} / \tau}}

    over the ordered pairs P of equal labels: every sample is an anchor in turn (the symmetric form), and an anchor's
    other positives are not in the denominator. Labels name what counts as the same: utterances for self-supervision
    from two views of each, speakers for supervision. A margin of 0 is NT-Xent.

    Args:
        embeddings: (N, D), any norm but zero.
        labels: (N,) integers.
        temperature: tau > 0.
        margin: m in units of cosine, in [0, 2).

    Returns:
        The mean over the pairs of equal labels, a scalar in float32 (float64 if the embeddings are); 0 (with a zero
        gradient) where there is none. A pair whose anchor has no negative has loss 0 and counts.

    Raises:
        ValueError: an argument of another shape, type or range; it is named.

    Example:
        >>> import torch
        >>> from voxangle.objectives import nt_xent_am_loss
        >>> views = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1], [0.1, 1.0]])
        >>> nt_xent_am_loss(views, torch.tensor([0, 1, 0, 1]), temperature=0.2)
        tensor(0.0389)

    Sources: SNT-Xent-AM, arXiv 2306.03664 and 2404.14913 (their published settings: tau = 1/5 with m = 0.4, and
    tau = 1/30 with m = 0.1); NT-Xent, arXiv 2002.05709, equation 1.
    """
    demand_embeddings(embeddings)
    demand_labels(labels, len(embeddings))
    demand_positive(temperature, "temperature")
    demand_cosine_margin(margin)
    with full_precision(embeddings):
        unit = functional.normalize(promote(embeddings), dim=1)
        logits = unit @ unit.T / temperature
        same = labels[:, None] == labels[None, :]
        positive = same ^ torch.eye(len(unit), dtype=torch.bool, device=unit.device)
        against = logits.masked_fill(same, -math.inf).logsumexp(dim=1, keepdim=True)
        pair_loss = -functional.logsigmoid(logits - margin / temperature - against)
        return pair_loss.masked_fill(~positive, 0.0).sum() / positive.sum().clamp(min=1)
