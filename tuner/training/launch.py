"""A training outside any search: from stop to stop to its end, in one process or several."""

import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.multiprocessing.spawn import spawn

from tuner.errors import BadInput
from tuner.files import write_text
from tuner.overrides import value_at
from tuner.paths import TrialFolder
from tuner.training import checkpoint
from tuner.training.config import text
from tuner.training.engine import Training, segmentor, validation_set
from tuner.training.evaluation import evaluate
from tuner.training.process_group import join
from tuner.training.sweep import sweep
from tuner.trial import Config, Measurement, Place, Swept

Tell = Callable[[Measurement], None]


def train(config: Config, folder: Path, ranks: int, tell: Tell) -> None:
    """Trains the config to its end, from the folder's checkpoint on; `tell` hears every evaluation.

    With GPUs, one process a GPU; without, gloo processes that share the cores.
    Raises BadInput when the folder belongs to another training.
    """
    _claim(folder, config)
    if torch.cuda.is_available() and ranks > torch.cuda.device_count():
        raise BadInput.of("--gpus", f"this machine has {torch.cuda.device_count()} GPUs, got {ranks}")
    if ranks == 1:
        _train_rank(0, 1, "", config, folder, tell)
    else:
        arguments = (ranks, _free_address(), config, folder, tell)
        spawn(_train_rank, arguments, nprocs=ranks)  # type: ignore[no-untyped-call]


def evaluate_checkpoint(config: Config, weights: Path) -> dict[str, float]:
    """The metrics of a checkpoint on the validation pictures. Raises BadInput when it does not fit."""
    model, place = _loaded(config, weights)
    return evaluate(model, validation_set(config), config["data"], place)


def sweep_checkpoint(
    config: Config, weights: Path, counts: Sequence[int], per_stage: bool
) -> Iterator[Swept]:
    """A checkpoint at several numbers of centers. Raises BadInput when it or its config does not fit."""
    model, place = _loaded(config, weights)
    dataset = validation_set(config)
    return sweep(
        model, counts, per_stage, lambda: evaluate(model, dataset, config["data"], place), len(dataset)
    )


def _loaded(config: Config, weights: Path) -> tuple[nn.Module, Place]:
    place = Place(device="cuda:0" if torch.cuda.is_available() else "cpu")
    model = segmentor(config, place)
    checkpoint.load(weights, model)
    return model, place


def _train_rank(rank: int, ranks: int, address: str, config: Config, folder: Path, tell: Tell) -> None:
    logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING, format="%(message)s")
    if torch.cuda.is_available():
        torch.cuda.set_device(rank)
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // ranks))
    training = Training(config, folder, join(rank, ranks, address, float(torch.cuda.is_available())))
    length, every = config["runner"]["max_iters"], value_at(config, "evaluation.interval")
    stops = (*range(every, length, every), length)
    while training.iteration < length or training.has_news:
        measurement = training.step(stops)
        if rank == 0:
            tell(measurement)


def _claim(folder: Path, config: Config) -> None:
    file = TrialFolder(folder).config
    wanted = text(config)
    if file.exists() and file.read_text() != wanted:
        raise BadInput.of(str(folder), "holds another training: remove it, or name another --work-dir")
    write_text(file, wanted)


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
