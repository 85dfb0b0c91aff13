"""LambdaRank: gradients of scores that raise the normalised discounted cumulative gain (NDCG)."""

from typing import Literal

import torch
from torch import Tensor

#: Whose order gives the ranks: that of the predicted scores, best first, as LambdaRank is defined; or that of the
#: relevances, worst first, as in the code released with AceNAS.
RankBy = Literal["predicted", "target"]


def lambda_gradients(scores: Tensor, relevances: Tensor, rank_by: RankBy = "predicted") -> Tensor:
    r"""Compute the gradients of the scores of one list; a step against them raises the NDCG.

    .. math:: \lambda_i = \sum_j \left(\frac{1 - S_{ij}}{2} - \frac{1}{1 + e^{s_i - s_j}}\right)
        \frac{|2^{r_i} - 2^{r_j}|}{\mathrm{IDCG}}
        \left|\frac{1}{\log_2(1 + \pi_i)} - \frac{1}{\log_2(1 + \pi_j)}\right|

    Here :math:`S_{ij}` is the sign of :math:`r_i - r_j`, and :math:`\pi` the rank. With ``rank_by="target"`` weights
    do not depend on scores, and the best item has the last rank: pairs of good items count little.

    Args:
        scores: :math:`s`, shape ``(R,)``; of equal scores the first one ranks first.
        relevances: :math:`r`, shape ``(R,)``, at least 0.
        rank_by: What gives the ranks.

    Returns:
        Shape ``(R,)``, double precision: gains of relevance 20 are a million. 0 where no item is relevant.

    Source: Burges, From RankNet to LambdaRank to LambdaMART (2010), section 4; Zhang et al., AceNAS (2021).
    """
    scores, relevances = scores.detach().double(), relevances.double()
    order = scores.argsort(descending=True, stable=True) if rank_by == "predicted" else relevances.argsort(stable=True)
    places = torch.arange(1, len(scores) + 1, dtype=torch.float64, device=scores.device)
    discounts = 1 / torch.log2(1 + places)
    ranked = torch.empty_like(discounts)
    ranked[order] = discounts
    ideal = (torch.expm1(relevances.sort(descending=True).values * torch.log(places.new_tensor(2.0))) * discounts).sum()
    gains = torch.exp2(relevances)
    changes = ((gains[:, None] - gains) * (ranked[:, None] - ranked)).abs()
    signs = torch.sign(relevances[:, None] - relevances)
    forces = (1 - signs) / 2 - torch.sigmoid(scores - scores[:, None])
    # without a relevant item all changes are 0, and so is the ideal
    return (forces * changes).sum(1) / torch.where(ideal > 0, ideal, 1.0)
