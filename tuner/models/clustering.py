"""The clustering operator of Context Cluster (Ma et al., ICLR 2023, section 3.2), the model's one hot place."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Layout(NamedTuple):
    heads: int
    folds: int
    """Regions a side: the map is cut into folds × folds regions that are clustered by themselves."""
    side: int
    """Centers a side: every region has side × side centers."""


def cluster(features: Tensor, values: Tensor, alpha: Tensor, beta: Tensor, layout: Layout) -> Tensor:
    """Group the points of every region around their centers and give each point its center's aggregate.

    features and values are [batch, heads·head_dim, height, width], the folds must divide height and width;
    alpha and beta are scalars or of shape [1]. Returns the shape of values.
    """
    height, width = values.shape[-2:]
    f, v = _regions(features, layout), _regions(values, layout)
    f_centers, v_centers = _centers(f, layout.side), _centers(v, layout.side)
    f, v = f.flatten(2), v.flatten(2)
    cosine = F.normalize(f_centers, dim=1).transpose(1, 2) @ F.normalize(f, dim=1)
    similarity = torch.sigmoid(beta + alpha * cosine)
    best, index = similarity.max(dim=1, keepdim=True)
    assigned = torch.zeros_like(similarity).scatter(1, index, best)
    total = assigned.sum(dim=2) + 1
    aggregate = (v @ assigned.transpose(1, 2) + v_centers) / total.unsqueeze(1)
    return _map(aggregate @ assigned, layout, height, width)


def _regions(x: Tensor, layout: Layout) -> Tensor:
    """[batch, heads·d, height, width] → [batch·heads·regions, d, height / folds, width / folds]"""
    batch, channels, height, width = x.shape
    heads, folds, _ = layout
    d, h, w = channels // heads, height // folds, width // folds
    x = x.view(batch, heads, d, folds, h, folds, w).permute(0, 1, 3, 5, 2, 4, 6)
    return x.reshape(batch * heads * folds * folds, d, h, w)


def _map(x: Tensor, layout: Layout, height: int, width: int) -> Tensor:
    """The inverse of _regions, points flattened."""
    heads, folds, _ = layout
    d, h, w = x.shape[1], height // folds, width // folds
    x = x.reshape(-1, heads, folds, folds, d, h, w).permute(0, 1, 4, 2, 5, 3, 6)
    return x.reshape(-1, heads * d, height, width)


def _centers(regions: Tensor, side: int) -> Tensor:
    """[n, d, h, w] → [n, d, centers]"""
    return F.adaptive_avg_pool2d(regions, side).flatten(2)
