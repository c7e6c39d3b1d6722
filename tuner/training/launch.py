"""A training outside any search: from stop to stop to its end, in one process or several."""

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn

from tuner.errors import BadInput, TunerError
from tuner.files.paths import TrialFolder
from tuner.files.writing import write_text
from tuner.sizing.config_paths import value_at
from tuner.sizing.trial_config import with_metric
from tuner.spec.trial import Config, Measurement, RankInfo, Swept
from tuner.training import checkpoint
from tuner.training.config.config import text
from tuner.training.engine import Training, segmentor, validation_set
from tuner.training.evaluation.evaluation import evaluate
from tuner.training.evaluation.sweep import sweep
from tuner.training.messages import said
from tuner.training.process_group import join

Tell = Callable[[Measurement], None]


def train(config: Config, folder: Path, ranks: int, tell: Tell) -> None:
    """Trains the config to its end, from the folder's checkpoint on; `tell` hears every evaluation.

    With GPUs, one process a GPU; without, gloo processes that share the cores.
    Raises BadInput when the folder belongs to another training.
    """
    claim(folder, config)
    if torch.cuda.is_available() and ranks > torch.cuda.device_count():
        raise BadInput.of("--gpus", f"this machine has {torch.cuda.device_count()} GPUs, got {ranks}")
    if ranks == 1:
        _train_rank(0, 1, "", config, folder, tell)
    else:
        # They meet in a file: a port might be taken until rank 0 has loaded torch.
        with TemporaryDirectory(prefix="tuner-") as meeting:
            arguments = (ranks, f"file://{meeting}/ranks", config, folder, tell)
            spawn(_train_rank, arguments, nprocs=ranks)  # type: ignore[no-untyped-call]


def evaluate_checkpoint(config: Config, weights: Path) -> dict[str, float]:
    """Returns the metrics of a checkpoint on the validation images. Raises BadInput when it does not fit."""
    model, rank_info = _loaded(config, weights)
    return evaluate(model, validation_set(config), config["data"], rank_info, config.get("evaluation"))


def sweep_checkpoint(
    config: Config, weights: Path, counts: Sequence[int], per_stage: bool
) -> Iterator[Swept]:
    """Measures a checkpoint at several numbers of centers. Raises BadInput when it or its config does not fit."""
    model, rank_info = _loaded(config, weights)
    dataset, asked = validation_set(config), with_metric(config, "mIoU").get("evaluation")

    def measure() -> dict[str, float]:
        return evaluate(model, dataset, config["data"], rank_info, asked)

    return sweep(model, counts, per_stage, measure, len(dataset))


def _loaded(config: Config, weights: Path) -> tuple[nn.Module, RankInfo]:
    rank_info = RankInfo(device="cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        model = segmentor(config, rank_info)
    except TunerError:
        raise
    except Exception as error:
        raise BadInput.of("config", f"model: {said(error)}") from error
    checkpoint.load(weights, model)
    return model, rank_info


def _train_rank(rank: int, ranks: int, address: str, config: Config, folder: Path, tell: Tell) -> None:
    logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING, format="%(message)s")
    if torch.cuda.is_available():
        torch.cuda.set_device(rank)
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // ranks))
    training = Training(config, folder, join(rank, ranks, address, float(torch.cuda.is_available())))
    length, every = config["runner"]["max_iters"], value_at(config, "evaluation.interval")
    evaluation_points = (*range(every, length, every), length)
    while training.iteration < length or training.has_news:
        measurement = training.step(evaluation_points)
        if rank == 0:
            tell(measurement)
    if ranks > 1:
        dist.destroy_process_group()
        del training
        gc.collect()  # the model refers to itself and to the group, whose threads may abort a process that ends


def claim(folder: Path, config: Config) -> None:
    """Refuses a folder with the training of another config. Raises BadInput."""
    file = TrialFolder(folder).config
    wanted = text(config)
    if file.exists() and file.read_text() != wanted:
        raise BadInput.of(str(folder), "holds another training: remove it, or name another --work-dir")
    write_text(file, wanted)
