"""What the cache of decoded images spares: CamVid (480×360) without it, while it fills, and from it.

Needs the images beside the checkout; run it on a machine that does nothing else:
python tests/benchmarks/bench_cache.py
"""

import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.conftest import IMAGES, ROOT
from tuner.sizing.trial_config import with_data_root
from tuner.training.config import config as configs
from tuner.training.data.image_cache import remember_images

REPLICATE_OF = 3
ROOMY, HALF = 4.0, 0.1
"""GiB; for all of CamVid's 367 training images and their labels, and for about half of them."""


def main() -> None:
    if not (IMAGES / "camvid").is_dir():
        print("bench_cache: skipped, as it needs the images of camvid beside the checkout")
        return
    logging.getLogger("mmseg").setLevel(logging.WARNING)
    plain, seconds = training_set(), {}
    with cache_of(HALF) as half:
        epoch(half)
        seconds["from a full cache of half of them"] = min(epoch(half) for _ in range(REPLICATE_OF))
    with cache_of(ROOMY) as kept:
        seconds["filling the cache, first epoch"] = epoch(kept)
        for _ in range(REPLICATE_OF):
            for name, dataset in (("without", plain), ("from the cache, second epoch", kept)):
                seconds[name] = min(epoch(dataset), seconds.get(name, float("inf")))
    table = Table("CamVid, image and labels", "s an epoch", "ms a sample", "times faster")
    for name, took in seconds.items():
        cells = f"{took:.2f}", f"{1000 * took / len(plain):.2f}", f"{seconds['without'] / took:.1f}"
        table.add_row(name, *cells)
    Console(width=100).print(table)


@contextmanager
def cache_of(gibibytes: float) -> Iterator[Any]:
    """A training set with an empty cache."""
    dataset = training_set()
    with tempfile.TemporaryDirectory() as folder, patch("tempfile.tempdir", folder):
        remember_images(dataset, gibibytes)
        yield dataset


def training_set() -> Any:
    from mmseg.datasets import build_dataset

    config = configs.read(ROOT / "configs/sem_fpn/fpn_coc_nano_camvid.py")
    return build_dataset(with_data_root(config, IMAGES / "camvid")["data"]["train"])


def epoch(dataset: Any) -> float:
    """Seconds that loading alone takes, without augmentation."""
    load, load_labels, *_ = dataset.pipeline.transforms
    begun = time.perf_counter()
    for index, info in enumerate(dataset.img_infos):
        results = {"img_info": info, "ann_info": dataset.get_ann_info(index)}
        dataset.pre_pipeline(results)
        load_labels(load(results))
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
