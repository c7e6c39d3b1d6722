"""What an evaluation costs beside the forward passes alone, and beside mmseg's own tester.

The nine ADE20K validation images beside the checkout, CoC-small with 4 centers, 150 classes; run it on a
machine that does nothing else: python tests/benchmarks/bench_evaluation.py
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from mmcv.parallel import scatter
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.bench_backbone import machine
from tests.conftest import IMAGES, ROOT
from tests.test_evaluation import by_mmseg
from tuner.sizing.config_paths import apply
from tuner.sizing.trial_config import with_data_root
from tuner.spec.trial import RankInfo
from tuner.training.config import config as configs
from tuner.training.data.data import loader
from tuner.training.engine import segmentor, validation_set
from tuner.training.evaluation.evaluation import evaluate

ROUNDS = 3
SETTING = ROOT / "configs/sem_fpn/fpn_coc_small_c4_ade20k_80k.py"
SAMPLE = IMAGES / "ade20k_sample"


def main() -> None:
    if not SAMPLE.is_dir():
        sys.stdout.write(f"evaluation: nothing measured, the real images are not at {SAMPLE}\n")
        return
    config = with_data_root(apply(configs.read(SETTING), {"data.workers_per_gpu": 0}, "bench"), SAMPLE)
    model, dataset, data = segmentor(config, RankInfo()), validation_set(config), config["data"]
    batches = [scatter(batch, [-1])[0] for batch in loader(dataset, data, batch_size=1)]
    ways: dict[str, Callable[[], Any]] = {
        "forward passes alone": lambda: forward(model, batches),
        "ours, all in": lambda: evaluate(model, dataset, data, RankInfo()),
        "mmseg's tester, all in": lambda: by_mmseg(model, dataset, data),
    }
    rounds = [{name: seconds(way) for name, way in ways.items()} for _ in range(ROUNDS)]
    fastest = {name: min(each[name] for each in rounds[1:]) for name in ways}
    table = Table(title=f"Evaluation of {len(dataset)} ADE20K images, CoC-small, 4 centers\n{machine()}")
    for heading in ("", "fastest", "to the forward passes"):
        table.add_column(heading, justify="right")
    for name, best in fastest.items():
        table.add_row(name, f"{best:.2f} s", f"{best / fastest['forward passes alone']:.2f}")
    Console(width=120).print(table)


@torch.no_grad()
def forward(model: Any, batches: list[Any]) -> None:
    """The images, loaded before, to logits at the network's input size."""
    model.eval()
    for batch in batches:
        model.encode_decode(batch["img"][0], batch["img_metas"][0])


def seconds(way: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    with patch("mmcv.ProgressBar"):
        way()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
