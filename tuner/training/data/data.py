"""Registers what our configs name for data: the stream of samples, aligned images."""

import logging
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import mmcv
import numpy as np
import torch
from mmcv.parallel import collate
from mmseg.datasets import DATASETS, PIPELINES
from mmseg.datasets.pipelines import Compose, Resize
from torch.utils.data import DataLoader, Dataset, Sampler

from tuner.errors import CorruptImage
from tuner.spec.trial import Config, RankInfo
from tuner.training.data.datasets import build, plain_datasets
from tuner.training.data.images import is_readable
from tuner.training.data.seeding import SAMPLE, drawing_from
from tuner.training.transfer import Batch

logger = logging.getLogger("tuner.training")

SKIPPED = "skipped"
"""The key of a sample's meta data that says how many images were skipped for it."""


@DATASETS.register_module()
class SampleStream(Dataset[Any]):
    """Is a training set as one long stream: every epoch is shuffled again, sample k a function of seed and k.

    An image that cannot be read raises CorruptImage; with corrupt="skip", the epoch's next has its turn.
    With shuffle=False every epoch has the data set's own order.
    """

    def __init__(
        self,
        dataset: Config | list[Config],
        seed: int,
        samples: int,
        corrupt: str = "fail",
        shuffle: bool = True,
    ) -> None:
        self.dataset = build(dataset)
        name_corrupt_images(self.dataset)
        self._skips = corrupt == "skip"
        self.CLASSES, self.PALETTE = self.dataset.CLASSES, self.dataset.PALETTE
        self._seed = seed
        self._samples = samples
        self._order = lru_cache(maxsize=2)(self._shuffled if shuffle else self._in_order)

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, index: int) -> Any:
        skipped = 0
        while True:
            try:
                sample = self._sample(index, skipped)
                break
            except CorruptImage as error:
                skipped += 1
                if not self._skips or skipped == len(self.dataset):
                    raise
                logger.warning("skipped: %s", error)
        sample["img_metas"].data.update({SAMPLE: index, SKIPPED: skipped})
        return sample

    def _sample(self, index: int, skipped: int) -> Any:
        epoch, position = divmod(index, len(self.dataset))
        turn = (position + skipped) % len(self.dataset)
        with drawing_from(self._seed, index):
            return self.dataset[int(self._order(epoch)[turn])]

    def _shuffled(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self._seed, epoch)).permutation(len(self.dataset))

    def _in_order(self, _epoch: int) -> np.ndarray:
        return np.arange(len(self.dataset))


@PIPELINES.register_module(force=True)
class AlignResize(Resize):  # type: ignore[misc]
    """Resizes as mmseg's Resize, then up to the next multiple of `size_divisor` on both sides.

    For test images: the folds of a Context Cluster must divide every feature map.
    """

    def __init__(self, size_divisor: int = 32, **resize: Any) -> None:
        super().__init__(**resize)
        self._divisor = size_divisor

    def _resize_img(self, results: dict[str, Any]) -> None:
        height, width = results["img"].shape[:2]
        super()._resize_img(results)
        resized = results["img"]
        aligned_height, aligned_width = (
            -(-side // self._divisor) * self._divisor for side in resized.shape[:2]
        )
        image = mmcv.imresize(resized, (aligned_width, aligned_height))
        scale = (aligned_width / width, aligned_height / height)
        results["img"] = image
        results["img_shape"] = results["pad_shape"] = image.shape
        results["scale_factor"] = np.array([*scale, *scale], dtype=np.float32)


@PIPELINES.register_module(force=True)
class ShrinkImages:
    """Shrinks image and labels to a shorter side of `side` pixels, where it is longer: as if they were stored so.

    Directly after the loading transforms, so that the node's cache keeps what it leaves.
    """

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        results["img"] = shrunk(results["img"], self.side, "area")
        for key in ("img_shape", "ori_shape", "pad_shape"):
            results[key] = results["img"].shape
        for key in results["seg_fields"]:
            results[key] = shrunk(results[key], self.side, "nearest")
        return results


def shrunk(image: np.ndarray, side: int, interpolation: str) -> np.ndarray:
    height, width = image.shape[:2]
    shorter = min(height, width)
    if shorter <= side:
        return image
    size = round(width * side / shorter), round(height * side / shorter)
    return mmcv.imresize(image, size, interpolation=interpolation)  # type: ignore[no-any-return]


class BatchesOf(Sampler[list[int]]):
    """Yields the batches of one rank from an iteration on; together the ranks take consecutive samples."""

    def __init__(self, rank_info: RankInfo, batch: int, first: int, last: int) -> None:
        self._rank_info = rank_info
        self._batch = batch
        self._iterations = range(first, last)

    def __len__(self) -> int:
        return len(self._iterations)

    def __iter__(self) -> Iterator[list[int]]:
        rank, ranks = self._rank_info.rank, self._rank_info.ranks
        for iteration in self._iterations:
            start = iteration * self._batch
            yield [index * ranks + rank for index in range(start, start + self._batch)]


class TrainBatches:
    """Gives an mmcv runner the training's batches, from an iteration on: one long epoch."""

    epoch = 0

    def __init__(self, dataset: Any, config: Config, rank_info: RankInfo, first: int) -> None:
        data = config["data"]
        sampler = BatchesOf(rank_info, data["samples_per_gpu"], first, config["runner"]["max_iters"])
        self._batches = iter(loader(dataset, data, batch_sampler=sampler))
        self._count = len(sampler)
        self.waited = 0.0
        """Seconds that the training stood still for data."""
        self.skipped = 0
        """Images of this rank that could not be read."""

    def __len__(self) -> int:
        return self._count

    def __next__(self) -> Any:
        begun = time.perf_counter()
        batch = next(self._batches)
        self.waited += time.perf_counter() - begun
        metas = batch["img_metas"].data[0]
        self.skipped += sum(meta.get(SKIPPED, 0) for meta in metas)
        return batch


class _Naming:
    """Is a pipeline that names the file that it could not read."""

    def __init__(self, pipeline: Compose) -> None:
        self._pipeline = pipeline
        self.transforms = pipeline.transforms

    def __call__(self, results: dict[str, Any]) -> Any:
        try:
            return self._pipeline(results)
        except Exception as error:
            for file in _files(results):
                if not is_readable(file):
                    what_next = "put a whole one in its place, or let the job say `corrupt_images: skip`"
                    raise CorruptImage(f"{file} cannot be read: {what_next}") from error
            raise


def _files(results: dict[str, Any]) -> Iterator[Path]:
    """Yields a sample's image, and its labels where it has them."""
    info = results["img_info"]
    yield Path(results["img_prefix"] or "", info["filename"])
    if "ann" in info:
        yield Path(results["seg_prefix"] or "", info["ann"]["seg_map"])


def name_corrupt_images(dataset: Any) -> None:
    """Makes the data sets below raise CorruptImage, with the file's name."""
    for plain in plain_datasets(dataset):
        plain.pipeline = _Naming(plain.pipeline)


def loader(dataset: Any, data: Mapping[str, Any], **batches: Any) -> DataLoader[Any]:
    """Returns a loader with the config's number of worker processes."""
    per_gpu = 1 if "batch_size" in batches else data["samples_per_gpu"]
    return DataLoader(
        dataset,
        num_workers=data["workers_per_gpu"],
        collate_fn=_Collate(per_gpu),
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=one_thread,
        **batches,
    )


def one_thread(_worker: int) -> None:
    """Keeps OpenCV to one thread: the loader's processes are as many as the cores that they may use."""
    cv2.setNumThreads(0)


class _Collate:
    """Collates as mmcv does for one device; it is a class so that loader processes can be spawned."""

    def __init__(self, samples_per_gpu: int) -> None:
        self._samples_per_gpu = samples_per_gpu

    def __call__(self, batch: list[Any]) -> Any:
        return Batch(collate(batch, samples_per_gpu=self._samples_per_gpu))
