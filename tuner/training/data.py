"""What configs name of ours for data: the stream of samples, the seeding of iterations, aligned pictures."""

import logging
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from mmcv.cnn.bricks.drop import Dropout as MmcvDropout
from mmcv.cnn.bricks.drop import DropPath as MmcvDropPath
from mmcv.parallel import collate
from mmcv.runner import HOOKS, Hook
from mmseg.datasets import DATASETS, PIPELINES, build_dataset
from mmseg.datasets.pipelines import Compose, Resize
from mmseg.models.segmentors.base import BaseSegmentor
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from tuner.errors import CorruptPicture
from tuner.models.layers import DropPath
from tuner.training.pictures import is_readable
from tuner.trial import Config, Place

logger = logging.getLogger("tuner.training")

SAMPLE = "sample"
"""A picture's number in the stream, in its meta data."""
SKIPPED = "skipped"
"""How many pictures were skipped before it, beside."""
RATES = {
    nn.Dropout: "p",
    nn.Dropout2d: "p",
    MmcvDropout: "p",
    DropPath: "rate",
    MmcvDropPath: "drop_prob",
}
"""The layers that draw, and their attribute that is 0 when they do not."""


@DATASETS.register_module()
class SampleStream(Dataset[Any]):
    """A training set as one long stream: every epoch shuffled anew, sample k a function of seed and k.

    A picture that cannot be read raises CorruptPicture; with corrupt="skip", the epoch's next has its turn.
    """

    def __init__(self, dataset: Config, seed: int, samples: int, corrupt: str = "fail") -> None:
        self.dataset = build_dataset(dataset)
        name_corrupt_pictures(self.dataset)
        self._skips = corrupt == "skip"
        self.CLASSES, self.PALETTE = self.dataset.CLASSES, self.dataset.PALETTE
        self._seed = seed
        self._samples = samples
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, index: int) -> Any:
        skipped = 0
        while True:
            try:
                sample = self._sample(index, skipped)
                break
            except CorruptPicture as error:
                skipped += 1
                if not self._skips or skipped == len(self.dataset):
                    raise
                logger.warning("skipped: %s", error)
        sample["img_metas"].data.update({SAMPLE: index, SKIPPED: skipped})
        return sample

    def _sample(self, index: int, skipped: int) -> Any:
        epoch, position = divmod(index, len(self.dataset))
        turn = (position + skipped) % len(self.dataset)
        with _drawing_from(self._seed, index):
            return self.dataset[int(self._order(epoch)[turn])]

    def _shuffled(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self._seed, epoch)).permutation(len(self.dataset))


@HOOKS.register_module()
class SeedEachIteration(Hook):  # type: ignore[misc]
    """What is dropped of sample k follows from the seed and k, whatever rank trains it beside what others.

    Every forward draws for all samples of its iteration, `batch` of them, and takes those of its own. Layers
    that mix samples before they drop, as window attention does, draw by the iteration alone.
    """

    def __init__(self, seed: int, batch: int) -> None:
        self._seed, self._batch = seed, batch
        self._own: list[int] = []

    def before_run(self, runner: Any) -> None:
        for module in runner.model.modules():
            if isinstance(module, BaseSegmentor):
                module.register_forward_pre_hook(self._seed_forward, with_kwargs=True)
            elif getattr(module, RATES.get(type(module), ""), 0.0) > 0:
                module.forward = partial(self._drop, module, module.forward)

    def _seed_forward(self, model: nn.Module, _arguments: Any, named: dict[str, Any]) -> None:
        if model.training:
            numbers = [meta[SAMPLE] for meta in named["img_metas"]]
            torch.manual_seed(_one_number(self._seed, numbers[0] // self._batch))
            self._own = [number % self._batch for number in numbers]

    def _drop(self, layer: nn.Module, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        if not layer.training or len(x) != len(self._own):
            return forward(x)
        shape = x.shape[1:] if isinstance(layer, nn.Dropout) else (*x.shape[1:2], *(1 for _ in x.shape[2:]))
        return x * forward(x.new_ones(self._batch, *shape))[self._own]


@PIPELINES.register_module()
class AlignResize(Resize):  # type: ignore[misc]
    """mmseg's Resize, then up to the next multiple of `size_divisor` on both sides.

    For test pictures: the folds of a Context Cluster must divide every feature map.
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


class BatchesOf(Sampler[list[int]]):
    """The batches of one rank from an iteration on; together the ranks take consecutive samples."""

    def __init__(self, place: Place, batch: int, first: int, last: int) -> None:
        self._place = place
        self._batch = batch
        self._iterations = range(first, last)

    def __len__(self) -> int:
        return len(self._iterations)

    def __iter__(self) -> Iterator[list[int]]:
        rank, ranks = self._place.rank, self._place.ranks
        for iteration in self._iterations:
            start = iteration * self._batch
            yield [index * ranks + rank for index in range(start, start + self._batch)]


class TrainBatches:
    """The training's batches for an mmcv runner, from an iteration on: one long epoch."""

    epoch = 0

    def __init__(self, dataset: Any, config: Config, place: Place, first: int) -> None:
        data = config["data"]
        sampler = BatchesOf(place, data["samples_per_gpu"], first, config["runner"]["max_iters"])
        self._batches = iter(loader(dataset, data, batch_sampler=sampler))
        self._count = len(sampler)
        self.skipped = 0

    def __len__(self) -> int:
        return self._count

    def __next__(self) -> Any:
        batch = next(self._batches)
        metas = batch["img_metas"].data[0]
        self.skipped += sum(meta.get(SKIPPED, 0) for meta in metas)
        return batch


class _Naming:
    """A pipeline that names the file that it could not read."""

    def __init__(self, pipeline: Compose) -> None:
        self._pipeline = pipeline
        self.transforms = pipeline.transforms

    def __call__(self, results: dict[str, Any]) -> Any:
        try:
            return self._pipeline(results)
        except Exception as error:
            for file in _files(results):
                if not is_readable(file):
                    what_next = "put a whole one in its place, or let the job say `corrupt_pictures: skip`"
                    raise CorruptPicture(f"{file} cannot be read: {what_next}") from error
            raise


def _files(results: dict[str, Any]) -> Iterator[Path]:
    """A sample's picture, and its labels where it has them."""
    info = results["img_info"]
    yield Path(results["img_prefix"] or "", info["filename"])
    if "ann" in info:
        yield Path(results["seg_prefix"] or "", info["ann"]["seg_map"])


def name_corrupt_pictures(dataset: Any) -> None:
    """Makes an mmseg data set raise CorruptPicture, with the file's name."""
    dataset.pipeline = _Naming(dataset.pipeline)


def loader(dataset: Any, data: Mapping[str, Any], **batches: Any) -> DataLoader[Any]:
    """A loader with the config's number of worker processes."""
    per_gpu = 1 if "batch_size" in batches else data["samples_per_gpu"]
    return DataLoader(
        dataset,
        num_workers=data["workers_per_gpu"],
        collate_fn=_Collate(per_gpu),
        pin_memory=torch.cuda.is_available(),
        **batches,
    )


class _Collate:
    """mmcv's collate for one device, as a class so that loader processes can be spawned."""

    def __init__(self, samples_per_gpu: int) -> None:
        self._samples_per_gpu = samples_per_gpu

    def __call__(self, batch: list[Any]) -> Any:
        return collate(batch, samples_per_gpu=self._samples_per_gpu)


@contextmanager
def _drawing_from(*parts: int) -> Iterator[None]:
    """Python's and NumPy's global generators, which mmseg's pipelines draw from, start at these numbers."""
    kept = random.getstate(), np.random.get_state()
    number = _one_number(*parts)
    random.seed(number)
    np.random.seed(number)
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])


def _one_number(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
