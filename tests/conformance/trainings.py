"""The same config trained and evaluated by mmseg itself and by the tuner."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import mmcv.runner.iter_based_runner as runners
import mmseg.apis
import torch
from mmcv.cnn.utils import revert_sync_batchnorm
from mmcv.parallel import MMDataParallel
from mmcv.utils import Config as MmcvConfig
from mmseg.apis import single_gpu_test
from mmseg.core import build_optimizer  # noqa: F401 - registers mmseg's own optimizer constructors
from mmseg.datasets import build_dataset
from mmseg.models import build_segmentor
from torch import nn

from tuner.sizing.trial_config import reproducible
from tuner.spec.trial import Config, RankInfo
from tuner.training.config import config as configs
from tuner.training.data.data import loader
from tuner.training.data.datasets import build
from tuner.training.engine import Training, segmentor
from tuner.training.evaluation.evaluation import compare_share
from tuner.training.evaluation.scored import is_scored_by_mmseg, parts

SEED = 3


@dataclass(frozen=True)
class Differences:
    """The greatest between mmseg's result and ours."""

    weights: float
    areas: float
    """In pixels, of the intersections, unions, predictions and labels of all classes."""


def compared(content: Config, folder: Path) -> Differences:
    """Trains a config, written as a file, by both, and evaluates the tuner's weights by both."""
    file = folder / "config.py"
    file.write_text(configs.text(content))
    resolved = reproducible(configs.read(file), SEED, ranks=1)
    with quick_ends():
        wanted = trained_by_mmseg(file, resolved, folder / "mmseg")
    weights = trained_by_tuner(resolved, folder / "tuner")
    model = segmentor(resolved, RankInfo())
    model.load_state_dict(weights, strict=False)
    return Differences(_greatest(wanted.state_dict(), weights), _areas(file, resolved, model))


def trained_by_mmseg(file: Path, resolved: Config, folder: Path) -> nn.Module:
    """As mmseg's tools/train.py does it, with the resolved config's order of samples alone."""
    config = MmcvConfig.fromfile(str(file))
    stream = MmcvConfig({"data": resolved["data"], "hook": resolved["custom_hooks"][-1]})
    config.data.train = stream.data.train
    config.data.train_dataloader = {**config.data.get("train_dataloader", {}), "shuffle": False}
    config.custom_hooks = [*(config.get("custom_hooks") or []), stream.hook]
    config.work_dir, config.gpu_ids, config.device, config.seed = str(folder), [0], "cpu", SEED
    mmseg.apis.set_random_seed(config.seed)
    model = build_segmentor(config.model, train_cfg=config.get("train_cfg"), test_cfg=config.get("test_cfg"))
    model.init_weights()
    model = revert_sync_batchnorm(model)
    data = build_dataset(config.data.train)
    config.checkpoint_config = {**(config.get("checkpoint_config") or {}), "meta": {"CLASSES": data.CLASSES}}
    mmseg.apis.train_segmentor(model, [data], config, meta={})
    return model


def trained_by_tuner(config: Config, folder: Path) -> dict[str, torch.Tensor]:
    """The weights in its checkpoint."""
    length = config["runner"]["max_iters"]
    Training(config, folder, RankInfo()).step((length,))
    weights: dict[str, torch.Tensor] = torch.load(folder / "checkpoint.pth", weights_only=True)["state_dict"]
    return weights


def _greatest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one)


def _areas(file: Path, resolved: Config, model: nn.Module) -> float:
    """Evaluated with spread logits, as softmax rounds those of a fresh model to ties."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "conv_seg.weight" in name:
            nn.init.normal_(parameter, std=1.0)
    raw = MmcvConfig.fromfile(str(file))
    dataset = build_dataset(raw.data.val, {"test_mode": True})
    wrapped = MMDataParallel(copy.deepcopy(model), device_ids=[-1])
    wanted = single_gpu_test(wrapped, loader(dataset, resolved["data"], batch_size=1), pre_eval=True)
    ours = build(resolved["data"]["val"], test_mode=True)
    assert is_scored_by_mmseg(ours)
    sizes = [len(part) for part in parts(ours)]
    found = compare_share(model, ours, resolved["data"], RankInfo())[0].double()
    greatest = 0.0
    for part, size in zip(found, sizes, strict=True):
        own, wanted = wanted[:size], wanted[size:]
        hits, predicted, true = part.diag()[:-1], part[:, :-1].sum(0), part[:-1].sum(1)
        areas = (hits, predicted + true - hits, predicted, true)
        for area, each in zip(areas, zip(*own, strict=True), strict=True):
            greatest = max(greatest, float((area - sum(a.double() for a in each)).abs().max()))
    return greatest


@contextmanager
def quick_ends() -> Iterator[None]:
    """Mmcv's runner sleeps for its loggers."""
    time, runners.time = runners.time, SimpleNamespace(sleep=lambda _seconds: None)
    try:
        yield
    finally:
        runners.time = time
