"""The layers of Context Cluster; their attributes' names are those of the authors' checkpoints."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuner.models.clustering import Layout, cluster


class Cluster(nn.Module):
    def __init__(self, width: int, head_dim: int, layout: Layout) -> None:
        super().__init__()
        inner = layout.heads * head_dim
        self.layout = layout
        self.f = nn.Conv2d(width, inner, 1)
        self.v = nn.Conv2d(width, inner, 1)
        self.proj = nn.Conv2d(inner, width, 1)
        self.sim_alpha = nn.Parameter(torch.ones(1))
        self.sim_beta = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(cluster(self.f(x), self.v(x), self.sim_alpha, self.sim_beta, self.layout))


class Mlp(nn.Module):
    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, ratio * width)
        self.fc2 = nn.Linear(ratio * width, width)
        for layer in (self.fc1, self.fc2):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc2(F.gelu(self.fc1(x.permute(0, 2, 3, 1))))
        return x.permute(0, 3, 1, 2)


class DropPath(nn.Module):
    """Stochastic depth: drops a branch for a whole picture with the given rate."""

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

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.layer_scale_1[:, None, None] * self.token_mixer(self.norm1(x)))
        return x + self.drop_path(self.layer_scale_2[:, None, None] * self.mlp(self.norm2(x)))


class PointReducer(nn.Module):
    def __init__(self, inputs: int, outputs: int, size: int, stride: int, padding: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, outputs, size, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)
