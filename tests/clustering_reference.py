"""The clustering operator as the paper writes it down: every center sees every point, channel by channel."""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize

TIE = 1e-13
"""Centers of the same points are equally similar but for rounding: the first of them gets the point."""


def cluster(points: Tensor, side: int, alpha: Tensor, beta: Tensor) -> Tensor:
    """As tuner.models.clustering.cluster; holds tensors of [regions · heads, centers, points, channels]."""
    n, height, width, _, heads, _ = points.shape
    maps = points.permute(0, 4, 3, 5, 1, 2).flatten(0, 1)
    feature, value = maps[:, 0], maps[:, 1]
    feature_center, value_center = (adaptive_avg_pool2d(map_, side) for map_ in (feature, value))
    feature, value, feature_center, value_center = (
        map_.flatten(2).transpose(1, 2) for map_ in (feature, value, feature_center, value_center)
    )
    cosine = normalize(feature_center, dim=-1) @ normalize(feature, dim=-1).transpose(1, 2)
    similarity = torch.sigmoid(beta + alpha * cosine)
    nearest = (similarity >= similarity.amax(dim=1, keepdim=True) - TIE).max(dim=1, keepdim=True).indices
    similarity = similarity * torch.zeros_like(similarity).scatter(1, nearest, 1.0)
    weighted = value.unsqueeze(1) * similarity.unsqueeze(-1)
    total = similarity.sum(dim=2, keepdim=True) + 1
    aggregate = (weighted.sum(dim=2) + value_center) / total
    received = (aggregate.unsqueeze(2) * similarity.unsqueeze(-1)).sum(dim=1)
    return received.view(n, heads, height, width, -1).permute(0, 2, 3, 1, 4).contiguous()
