"""What a trial's model costs, beside what it is worth: by the name that the config has under `against`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from tuner.memory import GIB, training_memory
from tuner.objective import COSTS
from tuner.overrides import ACCUMULATION, AGAINST
from tuner.training.prediction import Sample
from tuner.trial import Config, Place

WARM_UP, PASSES = 3, 10


def cost(config: Config, segmentor: nn.Module, picture: Sample, place: Place) -> dict[str, float]:
    """The metric of that name; none where the config has no `against`. It is the same for any weights.

    latency_milliseconds: the model's way from one picture, of the size that the evaluation gives it, to its
    logits: the fastest of some passes. It depends on the machine, and still a little on what else runs there.
    parameters_millions: of the whole segmentor.
    memory_gibibytes: of a training step on one rank, as memory.py reckons it, whatever a GPU had room for.
    """
    match config.get(AGAINST):
        case "latency":
            found = 1000 * _seconds(segmentor, picture, torch.device(place.device))
        case "parameters":
            found = sum(parameter.numel() for parameter in segmentor.parameters()) / 1e6
        case "memory":
            memory = training_memory({**config, ACCUMULATION: 1})
            assert memory is not None  # `tuner check` refuses other models
            found = memory.total / GIB
        case _:
            return {}
    return {COSTS[config[AGAINST]]: found}


@torch.no_grad()
def _seconds(segmentor: Any, sample: Sample, device: torch.device) -> float:
    metas = [sample["img_metas"][0].data]
    picture = sample["img"][0][None].to(device)
    taken = []
    with _evaluating(segmentor):
        for _ in range(WARM_UP + PASSES):
            begun = time.perf_counter()
            features = segmentor.extract_feat(picture)
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
