"""Measures what a trial's model costs, by the name that the config has as `tuner.secondary`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from tuner.sizing.memory import GIB, training_memory
from tuner.sizing.own_entry import own_entry, with_own
from tuner.spec.objective import COSTS
from tuner.spec.trial import Config, RankInfo
from tuner.training.evaluation.prediction import Sample

WARM_UP, PASSES = 3, 10


def cost(config: Config, segmentor: nn.Module, image: Sample, rank_info: RankInfo) -> dict[str, float]:
    """Returns the metric of that name; none where the config has no `secondary`. It is the same for any weights.

    latency_milliseconds: the model's way from one image, of the size that the evaluation gives it, to its
    logits: the fastest of some passes. It depends on the machine, and still a little on what else runs there.
    parameters_millions: of the whole segmentor.
    memory_gibibytes: of a training step on one rank, as memory.py reckons it, whatever a GPU had room for.
    """
    match secondary := own_entry(config).secondary:
        case "latency":
            found = 1000 * _seconds(segmentor, image, torch.device(rank_info.device))
        case "parameters":
            found = sum(parameter.numel() for parameter in segmentor.parameters()) / 1e6
        case "memory":
            memory = training_memory(with_own(config, accumulation=1))
            assert memory is not None  # `tuner check` refuses other models
            found = memory.step / GIB
        case _:
            return {}
    return {COSTS[secondary]: found}


@torch.no_grad()
def _seconds(segmentor: Any, sample: Sample, device: torch.device) -> float:
    metas = [sample["img_metas"][0].data]
    image = sample["img"][0][None].to(device)
    taken = []
    with _evaluating(segmentor):
        for _ in range(WARM_UP + PASSES):
            begun = time.perf_counter()
            if isinstance(segmentor.decode_head, nn.ModuleList):  # a cascade
                segmentor.encode_decode(image, metas)
            else:
                features = segmentor.extract_feat(image)
                segmentor.decode_head.forward_test(features, metas, segmentor.test_cfg)
            if device.type != "cpu":
                torch.cuda.synchronize(device)
            taken.append(time.perf_counter() - begun)
    return min(taken[WARM_UP:])


@contextmanager
def _evaluating(segmentor: nn.Module) -> Iterator[None]:
    segmentor.eval()
    try:
        yield
    finally:
        segmentor.train()
