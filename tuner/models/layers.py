"""Defines the layers of Context Cluster; their attributes have the names in the authors' checkpoints.

Within a stage the regions of an image stand in one column, [batch, channels, regions · h, w], channels last
in memory: no layer of a block has to move points about.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear
from torch.utils.checkpoint import checkpoint

from tuner.models.clustering import cluster

HIDDEN_BYTES = 2**23
"""The bytes of an MLP's hidden layer that a CPU computes at a time. Blocks of 32 MiB and more come from the system
again each time (glibc), which takes longer than filling them."""


class Cluster(nn.Module):
    def __init__(self, width: int, heads: int, head_dim: int, side: int, regions: int) -> None:
        super().__init__()
        self.heads = heads
        self.side = side
        """Centers a side of a region."""
        self.regions = regions
        self.f = nn.Conv2d(width, heads * head_dim, 1)
        self.v = nn.Conv2d(width, heads * head_dim, 1)
        self.proj = nn.Conv2d(heads * head_dim, width, 1)
        self.sim_alpha = nn.Parameter(torch.ones(1))
        self.sim_beta = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        """Maps [batch, regions · h, w, width] to the same shape, multiplied by scale, [width]."""
        batch, height, width, _ = x.shape
        (f, f_bias), (v, v_bias), (proj, proj_bias) = map(_matrix, (self.f, self.v, self.proj))
        points = linear(x, torch.cat([f, v]), torch.cat([f_bias, v_bias]))
        points = points.view(batch * self.regions, height // self.regions, width, 2, self.heads, -1)
        clustered = cluster(points, self.side, self.sim_alpha, self.sim_beta).view(batch, height, width, -1)
        return linear(clustered, scale.unsqueeze(1) * proj, scale * proj_bias)


def _matrix(convolution: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Returns weight and bias of a 1×1 convolution, for points of which the channels come last."""
    assert convolution.bias is not None
    return convolution.weight.flatten(1), convolution.bias


class Mlp(nn.Module):
    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, ratio * width)
        self.fc2 = nn.Linear(ratio * width, width)
        for layer in (self.fc1, self.fc2):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        """Maps […, width] to the same shape, multiplied by scale, [width]."""
        rows = x.flatten(0, -2)
        weight, bias = scale.unsqueeze(1) * self.fc2.weight, scale * self.fc2.bias
        parts = [
            linear(gelu(self.fc1(part)), weight, bias) for part in torch.split(rows, self._at_once(rows))
        ]
        return torch.cat(parts).view_as(x)

    def _at_once(self, rows: Tensor) -> int:
        if rows.device.type != "cpu":
            return len(rows)
        return max(1, HIDDEN_BYTES // (self.fc1.out_features * rows.element_size()))


SMALLEST = 1e-30
"""A layer scale whose greatest value is smaller is divided by this."""


class DropPath(nn.Module):
    """Drops a branch (stochastic depth); it drops a branch for a whole image with the given rate."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if self.rate == 0 or not self.training:
            return x
        kept = x.new_empty(len(x), 1, 1, 1).bernoulli_(1 - self.rate)
        return x * kept / (1 - self.rate)


class Block(nn.Module):
    def __init__(self, mixer: Cluster, mlp: Mlp, drop_rate: float, layer_scale: float) -> None:
        super().__init__()
        width = mixer.proj.out_channels
        self.norm1 = nn.GroupNorm(1, width)
        self.token_mixer = mixer
        self.norm2 = nn.GroupNorm(1, width)
        self.mlp = mlp
        self.drop_path = DropPath(drop_rate)
        self.layer_scale_1 = nn.Parameter(torch.full((width,), layer_scale))
        self.layer_scale_2 = nn.Parameter(torch.full((width,), layer_scale))

    def forward(self, x: Tensor, is_mixed: bool = False) -> Tensor:
        """Adds both branches to x; with `is_mixed` they are computed in less precision than x."""
        branch = self._mixed_branch if is_mixed else self._branch
        x = x + self.drop_path(branch(self.norm1(x), self.token_mixer, self.layer_scale_1))
        return x + self.drop_path(branch(self.norm2(x), self.mlp, self.layer_scale_2))  # type: ignore[no-any-return]

    def _branch(self, x: Tensor, layer: nn.Module, scale: Tensor) -> Tensor:
        return layer(x.permute(0, 2, 3, 1), scale).permute(0, 3, 1, 2)  # type: ignore[no-any-return]

    def _mixed_branch(self, x: Tensor, layer: nn.Module, scale: Tensor) -> Tensor:
        """Multiplies by the scale's magnitude afterwards: fp16 holds no weights of 1e-5 times theirs."""
        magnitude = scale.detach().abs().amax().clamp_min(SMALLEST)
        return self._branch(x, layer, scale / magnitude).to(scale.dtype) * magnitude


class Stage(nn.Sequential):
    def __init__(self, blocks: Iterable[Block], folds: int, with_cp: bool) -> None:
        super().__init__(*blocks)
        self.folds = folds
        """Regions a side."""
        self.with_cp = with_cp

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        h, w = height // self.folds, width // self.folds
        x = x.permute(0, 2, 3, 1).reshape(batch, self.folds, h, self.folds, w, channels)
        x = x.transpose(2, 3).reshape(batch, -1, w, channels).permute(0, 3, 1, 2)
        recompute = self.with_cp and torch.is_grad_enabled()
        wide = next(self.parameters()).dtype
        is_mixed, x = x.dtype != wide, x.to(wide)  # autocast narrows what the reducer gives
        for block in self:
            x = checkpoint(block, x, is_mixed, use_reentrant=False) if recompute else block(x, is_mixed)
        x = x.permute(0, 2, 3, 1).reshape(batch, self.folds, self.folds, h, w, channels)
        return x.transpose(2, 3).reshape(batch, height, width, channels).permute(0, 3, 1, 2)


class PointReducer(nn.Module):
    def __init__(self, inputs: int, outputs: int, size: int, stride: int, padding: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, outputs, size, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        reduced: Tensor = self.proj(x)
        return reduced
