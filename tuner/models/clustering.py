"""The clustering operator of Context Cluster (Ma et al., ICLR 2023, section 3.2), the model's one hot place.

In every region each point goes to the one center that it is most similar to. So only the similarities
themselves are a matrix of centers × points, and none of it is kept: what a center sums up reads the points in
the order of their centers, and what a point receives reads its center's row.

Shapes: n regions, p points a region, m centers a region, h heads, d channels a head.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

SMALLEST_LENGTH = 1e-12


def cluster(points: Tensor, side: int, alpha: Tensor, beta: Tensor) -> Tensor:
    """Group the points of each region around side × side centers; a point receives its group's aggregate.

    points is [n, height, width, 2, h, d], a feature and a value for each point of each head; the result is
    [n, height, width, h, d]. The similarity is sigmoid(beta + alpha · cosine), alpha and beta are of shape [1].
    """
    n, height, width, _, h, d = points.shape
    points = points.contiguous()
    centers = _centers(points, side)
    wide = torch.promote_types(points.dtype, torch.float32)
    received = _Cluster.apply(
        points.view(n, height * width, 2, h, d), centers.to(wide), alpha.to(wide), beta.to(wide)
    )
    return received.view(n, height, width, h, d)  # type: ignore[no-any-return]


def _centers(points: Tensor, side: int) -> Tensor:
    """Adaptive average pool: [n, height, width, 2, h, d] → [n, m, 2, h, d], of equal centers only the first."""
    maps = points.flatten(3).permute(0, 3, 1, 2)
    pooled = F.adaptive_avg_pool2d(maps, side).permute(0, 2, 3, 1)
    for axis, size in ((1, points.shape[1]), (2, points.shape[2])):
        different = _different_windows(size, side)
        if len(different) < side:
            pooled = pooled.index_select(axis, torch.tensor(different, device=points.device))
    return pooled.flatten(1, 2).unflatten(2, points.shape[3:])


@lru_cache
def _different_windows(size: int, side: int) -> tuple[int, ...]:
    """Which of the windows that adaptive pooling cuts a side of this size into are not like an earlier one."""
    windows = [(index * size // side, -(-(index + 1) * size // side)) for index in range(side)]
    return tuple(index for index, window in enumerate(windows) if window not in windows[:index])


class _Groups(NamedTuple):
    """Who belongs to whom; points and centers are counted over all regions and heads, the heads innermost."""

    center: Tensor
    """[n·p·h], each point's center."""
    order: Tensor
    """[n·p·h], the points in the order of their centers."""
    starts: Tensor
    """[n·m·h], where in that order the points of each center begin."""

    @classmethod
    def of(cls, nearest: Tensor, m: int) -> "_Groups":
        """nearest is [n, p, h], the number of each point's center in its region."""
        n, _, h = nearest.shape
        region, head = (torch.arange(size, dtype=nearest.dtype, device=nearest.device) for size in (n, h))
        center = ((nearest + m * region[:, None, None]) * h + head).flatten()
        sizes = torch.bincount(center, minlength=n * m * h)
        return cls(center, center.sort(stable=True).indices.int(), (sizes.cumsum(0) - sizes).int())

    def sums(self, rows: Tensor, kind: int, weights: Tensor) -> Tensor:
        """[n, p, kinds, h, d] and [n, p, h] → [n·m·h, d], the weighted sum of one kind over a center's points."""
        kinds, h, d = rows.shape[2:]
        ids = self.order + self.order // h * (h * (kinds - 1)) + kind * h
        weights = weights.flatten().index_select(0, self.order)
        return F.embedding_bag(ids, rows.view(-1, d), self.starts, mode="sum", per_sample_weights=weights)

    def spread(self, of_centers: Tensor, shape: torch.Size) -> Tensor:
        """[n·m·h, …] → shape, to each point what belongs to its center."""
        return of_centers.index_select(0, self.center).view(shape)


class _Cluster(torch.autograd.Function):
    """With c = cosine of a point and its center, s = sigmoid(beta + alpha · c):

    aggregate = (Σ s · value + value of the center) / (Σ s + 1) over the center's points, result = s · aggregate.
    """

    @staticmethod
    def forward(ctx: Any, points: Tensor, centers: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        d, shape = points.shape[-1], points[:, :, 0].shape
        wide = points.to(alpha.dtype)
        lengths = torch.linalg.vector_norm(centers[:, :, 0], dim=-1, keepdim=True).clamp_min_(SMALLEST_LENGTH)
        directions = centers[:, :, 0] / lengths
        nearest, product = _most_similar(directions * alpha.sign(), wide[:, :, 0])
        length = torch.linalg.vector_norm(wide[:, :, 0], dim=-1).clamp_min_(SMALLEST_LENGTH)
        cosine = product.mul_(alpha.sign()).div_(length)
        similarity = torch.sigmoid(beta + alpha * cosine)
        groups = _Groups.of(nearest, centers.shape[1])
        total = groups.sums(torch.ones_like(similarity)[:, :, None, :, None], 0, similarity).add_(1)
        aggregate = groups.sums(wide, 1, similarity).add_(centers[:, :, 1].reshape(-1, d)).div_(total)
        received = groups.spread(aggregate, shape).mul_(similarity.unsqueeze(-1)).to(points.dtype)
        ctx.save_for_backward(
            points,
            received,
            directions,
            lengths,
            aggregate,
            total,
            *groups,
            similarity,
            cosine,
            length,
            alpha,
        )
        return received

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        points, received, directions, lengths, aggregate, total, *rest = ctx.saved_tensors
        groups, (similarity, cosine, length, alpha) = _Groups(*rest[:3]), rest[3:]
        wide, grad = points.to(alpha.dtype), grad.to(alpha.dtype).contiguous()
        shape = grad.shape
        of_value = groups.sums(grad.unsqueeze(2), 0, similarity).div_(total)
        at_points = groups.spread(of_value, shape)
        of_similarity = (at_points * wide[:, :, 1]).sum(-1)
        of_similarity -= groups.spread((of_value * aggregate).sum(-1), similarity.shape)
        of_logit = of_similarity.mul_(similarity).add_((grad * received).sum(-1)).mul_(1 - similarity)
        grad_points = torch.empty_like(wide)
        torch.mul(at_points, similarity.unsqueeze(-1), out=grad_points[:, :, 1])
        pull = of_logit / length
        pulled = groups.sums(wide, 0, pull).view_as(directions)
        along = (directions * pulled).sum(-1, keepdim=True)
        pull *= alpha
        toward = groups.spread(directions.flatten(0, 2), shape)
        torch.mul(toward, pull.unsqueeze(-1), out=grad_points[:, :, 0])
        grad_points[:, :, 0].addcmul_(wide[:, :, 0], (pull * cosine / length).unsqueeze(-1), value=-1)
        of_centers = torch.stack(
            [(pulled - directions * along) * alpha / lengths, of_value.view_as(directions)], 2
        )
        return grad_points.to(points.dtype), of_centers, along.sum().view(1), of_logit.sum().view(1)


def _most_similar(directions: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """[n, m, h, d] and [n, p, h, d] → the number of the first center of greatest product, and that product.

    An argmax in steps that run vectorised, in place, on what still lies in the cache: a head at a time.
    """
    m, (n, p, h, _) = directions.shape[1], features.shape
    nearest = torch.empty((n, p, h), dtype=torch.int32, device=features.device)
    product = features.new_empty((n, p, h))
    places_from_last = torch.arange(m - 1, -1, -1, dtype=features.dtype, device=features.device).unsqueeze(1)
    with torch.autocast(features.device.type, enabled=False):
        for head in range(h):
            products = torch.bmm(directions[:, :, head], features[:, :, head].transpose(1, 2))
            greatest = products.amax(1, keepdim=True)
            product[:, :, head] = greatest.squeeze(1)
            nearest[:, :, head] = m - 1 - products.eq_(greatest).mul_(places_from_last).amax(1)
    return nearest, product
