"""The clustering operator of Context Cluster (Ma et al., ICLR 2023, section 3.2), the model's one hot place.

In every region each point goes to the one center that it is most similar to. So only the similarities
themselves are a matrix of centers × points, and none of it is kept: what a center sums up reads the points in
the order of their centers, and what a point receives reads its center's row.

Shapes: n regions, p points a region, m centers a region, h heads, d channels a head.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.linalg import vector_norm
from torch.nn.functional import adaptive_avg_pool2d, embedding_bag

SHORTEST = 1e-12
"""A shorter vector counts as one of this length."""


def cluster(points: Tensor, side: int, alpha: Tensor, beta: Tensor) -> Tensor:
    """Group the points of each region around side × side centers; a point receives its group's aggregate.

    points is [n, height, width, 2, h, d], a feature and a value for each point of each head; the result is
    [n, height, width, h, d]. Similarity is sigmoid(beta + alpha · cosine); alpha and beta have shape [1].
    """
    points = points.contiguous()
    centers = _centers(points, side)
    wide = torch.promote_types(points.dtype, torch.float32)
    received: Tensor = _Cluster.apply(  # type: ignore[no-untyped-call]
        points.flatten(1, 2), centers.to(wide), alpha.to(wide), beta.to(wide)
    )
    return received.view(points[:, :, :, 0].shape)


def _centers(points: Tensor, side: int) -> Tensor:
    """[n, height, width, 2, h, d] → [n, m, 2, h, d], adaptive average pools; of equal centers the first."""
    pooled = adaptive_avg_pool2d(points.flatten(3).permute(0, 3, 1, 2), side).permute(0, 2, 3, 1)
    for axis in (1, 2):
        different = _different_windows(points.shape[axis], side)
        if len(different) < side:
            kept = torch.tensor(different).to(points.device, non_blocking=True)
            pooled = pooled.index_select(axis, kept)
    return pooled.reshape(len(points), -1, *points.shape[3:])


@lru_cache
def _different_windows(size: int, side: int) -> tuple[int, ...]:
    """Returns which of the windows that adaptive pooling cuts a side into equal no earlier one."""
    windows = [(index * size // side, -(-(index + 1) * size // side)) for index in range(side)]
    return tuple(index for index, window in enumerate(windows) if window not in windows[:index])


class _Groups(NamedTuple):
    """Says which point belongs to which center; both are counted over all regions and heads, the heads innermost."""

    center: Tensor
    """[n·p·h], each point's center."""
    order: Tensor
    """[n·p·h], the points in the order of their centers."""
    starts: Tensor
    """[n·m·h], where in that order the points of each center begin."""

    @classmethod
    def of(cls, nearest: Tensor, m: int) -> "_Groups":
        """Takes [n, p, h], the number of each point's center in its region."""
        n, _, h = nearest.shape
        region, head = (torch.arange(size, dtype=nearest.dtype, device=nearest.device) for size in (n, h))
        center = ((nearest + m * region[:, None, None]) * h + head).flatten()
        sorted_centers, order = center.sort(stable=True)
        return cls(center, order.int(), _form(center.device).starts(sorted_centers, n * m * h))

    def sums(self, points: Tensor, kind: int, weights: Tensor) -> Tensor:
        """[n, p, kinds, h, d] and [n, p, h] → [n·m·h, d], each center's weighted sum of one kind."""
        kinds, h, d = points.shape[2:]
        rows = self.order + self.order // h * (h * (kinds - 1)) + kind * h
        weights = weights.flatten().index_select(0, self.order)
        return embedding_bag(rows, points.view(-1, d), self.starts, mode="sum", per_sample_weights=weights)

    def spread(self, centers: Tensor, shape: torch.Size) -> Tensor:
        """[n·m·h, …] → shape, to each point what belongs to its center."""
        return centers.index_select(0, self.center).view(shape)


class _Cluster(torch.autograd.Function):
    """Gives each point s · aggregate, where s is the similarity of the point and its center.

    Over the center's points, aggregate = (Σ s · value + the center's value) / (Σ s + 1).
    """

    @staticmethod
    def forward(ctx: Any, points: Tensor, centers: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        wide = points.to(alpha.dtype)
        center_lengths = vector_norm(centers[:, :, 0], dim=-1, keepdim=True).clamp_min_(SHORTEST)
        directions = centers[:, :, 0] / center_lengths
        nearest, product = most_similar(directions * alpha.sign(), wide[:, :, 0])
        lengths = vector_norm(wide[:, :, 0], dim=-1).clamp_min_(SHORTEST)
        cosine = product.mul_(alpha.sign()).div_(lengths)
        similarity = torch.sigmoid(beta + alpha * cosine)
        groups = _Groups.of(nearest, centers.shape[1])
        total = groups.sums(torch.ones_like(similarity)[:, :, None, :, None], 0, similarity).add_(1)
        aggregate = groups.sums(wide, 1, similarity).add_(centers[:, :, 1].flatten(0, 2)).div_(total)
        received = groups.spread(aggregate, points[:, :, 0].shape) * similarity.unsqueeze(-1)
        received = received.to(points.dtype)
        of_centers = (directions, center_lengths, aggregate, total)
        of_points = (similarity, cosine, lengths)
        ctx.save_for_backward(points, received, alpha, *groups, *of_centers, *of_points)
        return received

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        points, received, alpha, center, order, starts, *rest = ctx.saved_tensors
        directions, center_lengths, aggregate, total, similarity, cosine, lengths = rest
        groups = _Groups(center, order, starts)
        wide, grad = points.to(alpha.dtype), grad.to(alpha.dtype).contiguous()
        grad_points = torch.empty_like(wide)

        grad_sum = groups.sums(grad.unsqueeze(2), 0, similarity).div_(total)
        at_points = groups.spread(grad_sum, grad.shape)
        torch.mul(at_points, similarity.unsqueeze(-1), out=grad_points[:, :, 1])

        grad_similarity = (at_points * wide[:, :, 1]).sum(-1)
        grad_similarity -= groups.spread((grad_sum * aggregate).sum(-1), similarity.shape)
        grad_logit = grad_similarity.mul_(similarity).add_((grad * received).sum(-1)).mul_(1 - similarity)

        pull = grad_logit / lengths
        pulled = groups.sums(wide, 0, pull).view_as(directions)
        along = (directions * pulled).sum(-1, keepdim=True)
        pull *= alpha
        toward = groups.spread(directions.flatten(0, 2), grad.shape)
        torch.mul(toward, pull.unsqueeze(-1), out=grad_points[:, :, 0])
        back = (pull * cosine / lengths).unsqueeze(-1)
        grad_points[:, :, 0].addcmul_(wide[:, :, 0], back, value=-1)

        grad_directions = (pulled - directions * along) * alpha / center_lengths
        grad_centers = torch.stack([grad_directions, grad_sum.view_as(directions)], 2)
        return grad_points.to(points.dtype), grad_centers, along.sum().view(1), grad_logit.sum().view(1)


def most_similar(directions: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """[n, m, h, d] and [n, p, h, d] → the number of the first center of greatest product, and that product."""
    with torch.autocast(features.device.type, enabled=False):
        return _form(features.device).most_similar(directions, features)


def _head_by_head(directions: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """Takes an argmax in steps that run vectorised, in place and on what still lies in the cache."""
    m, (n, p, h, _) = directions.shape[1], features.shape
    nearest = torch.empty((n, p, h), dtype=torch.int32, device=features.device)
    product = features.new_empty((n, p, h))
    from_last = torch.arange(m - 1, -1, -1, dtype=features.dtype, device=features.device).unsqueeze(1)
    for head in range(h):
        products = torch.bmm(directions[:, :, head], features[:, :, head].transpose(1, 2))
        greatest = products.amax(1, keepdim=True)
        product[:, :, head] = greatest.squeeze(1)
        nearest[:, :, head] = m - 1 - products.eq_(greatest).mul_(from_last).amax(1)
    return nearest, product


def _all_heads(directions: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """Takes all heads' products at once, in few kernels; `max` gives the first of equal ones."""
    products = directions.transpose(1, 2) @ features.permute(0, 2, 3, 1)
    greatest, nearest = products.max(2)
    return nearest.int().transpose(1, 2), greatest.transpose(1, 2).contiguous()


def _counted(sorted_centers: Tensor, count: int) -> Tensor:
    """[count], where in sorted_centers those of each number begin."""
    sizes = torch.bincount(sorted_centers, minlength=count)
    return (sizes.cumsum(0) - sizes).int()


def _searched(sorted_centers: Tensor, count: int) -> Tensor:
    """Gives the same as `_counted` without making a GPU's host wait for the greatest number."""
    numbers = torch.arange(count, dtype=sorted_centers.dtype, device=sorted_centers.device)
    return torch.searchsorted(sorted_centers, numbers, out_int32=True)


class _Form(NamedTuple):
    """Names how a kind of device computes what has several ways to be computed."""

    most_similar: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    starts: Callable[[Tensor, int], Tensor]


FORMS = {"cpu": _Form(_head_by_head, _counted), "cuda": _Form(_all_heads, _searched)}
"""The form for each type of device. CUDA's is chosen by what makes the host wait and by the number of kernels;
it has not been timed on a GPU yet."""


def _form(device: torch.device) -> _Form:
    return FORMS.get(device.type, FORMS["cpu"])
