"""Builds once what a trial would, in a process of its own: data sets, model, optimizer, hooks, one step."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from copy import deepcopy
from multiprocessing import get_context
from typing import Any, TypeAlias

from tuner.errors import BadInput, Problem
from tuner.spec.trial import Config, RankInfo
from tuner.training.messages import said

Problems: TypeAlias = Callable[[], list[Problem]]
"""Waits for the process that builds, and lists what keeps a trial from its first step."""


def begin_build(config: Config, source: str) -> Problems:
    """Begins to build what a trial with this config would; of a trial without a model, nothing."""
    if config["runner"]["type"] == "Synthetic":
        return list
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    building = pool.submit(build, config, source)

    def problems() -> list[Problem]:
        with pool:  # a pool that nobody waits for may end while Python does, which Python then reports
            try:
                return building.result()
            except BrokenProcessPool:
                died = "the process that builds it once died, as it does when memory is short: --no-build leaves it out"
                return [Problem(source, died)]

    return problems


def build(config: Config, source: str) -> list[Problem]:
    """Builds it in this process, on the CPU. All that can be built is tried, whatever else fails."""
    import torch

    import tuner.models  # noqa: F401 - mmseg cannot be imported before it

    problems: list[Problem] = []

    def tried(path: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except BadInput as error:
            problems.extend(error.problems)
        except Exception as error:
            problems.append(Problem(source, f"{path}: {said(error)}"))
        return None

    from tuner.training.config.config import with_imports

    tried("custom_imports", lambda: with_imports(config, source))
    if problems:
        return problems
    from tuner.training.data.datasets import built_split
    from tuner.training.engine import segmentor
    from tuner.training.train_step import make_runner

    model = tried("model", lambda: segmentor(config, RankInfo()))
    train = tried("data.train", lambda: built_split(config, "train"))
    val = tried("data.val", lambda: built_split(config, "val"))
    sample = tried("data.train: its first image", lambda: train[0]) if train is not None else None
    tested = tried("data.val: its first image", lambda: val[0]) if val is not None else None
    if model is None:
        return problems
    tried("optimizer and hooks", lambda: make_runner(deepcopy(config), model, RankInfo(), "."))
    model.eval()  # one image has no statistics
    with torch.no_grad():
        if sample is not None:
            tried("model: its losses of one image", lambda: _losses(model, sample))
        if tested is not None:
            tried("model: its prediction of one image", lambda: _prediction(model, tested))
    return [*problems, *(Problem(source, message) for message in _class_problems(model, val))]


def _losses(model: Any, sample: Any) -> None:
    from mmcv.parallel import collate, scatter

    (batch,) = scatter(collate([sample], 1), [-1])
    model.forward_train(**batch)


def _prediction(model: Any, sample: Any) -> None:
    import torch

    from tuner.training.evaluation.prediction import predict

    predict(model, [sample], torch.device("cpu"))


def _class_problems(model: Any, val: Any) -> Iterator[str]:
    """Finds heads that predict another number of classes than the validation set has."""
    from torch import nn

    heads = model.decode_head if isinstance(model.decode_head, nn.ModuleList) else [model.decode_head]
    for number, head in enumerate(heads):
        classes = len(val.CLASSES) if val is not None else head.num_classes
        if head.num_classes != classes:
            path = f"model.decode_head.{number}" if len(heads) > 1 else "model.decode_head"
            yield f"{path}.num_classes: is {head.num_classes}, but data.val has {classes} classes: set one to the other"
