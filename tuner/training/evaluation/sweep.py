"""Measures one set of weights at several numbers of centers, as centers have no parameters."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tuner.errors import BadInput
from tuner.models.context_cluster import ContextCluster
from tuner.spec.architectures import STRIDES
from tuner.spec.trial import Swept

Evaluate = Callable[[], dict[str, float]]


def sweep(
    segmentor: Any, counts: Sequence[int], per_stage: bool, evaluate: Evaluate, images: int
) -> Iterator[Swept]:
    """Evaluates the first `images` images at each count; afterwards the backbone has its own centers again.

    Raises BadInput where the backbone is no Context Cluster, TunerError for counts that are no squares.
    """
    backbone = segmentor.backbone
    if not isinstance(backbone, ContextCluster):
        raise BadInput.of(type(backbone).__name__, "has no centers to sweep: name a Context Cluster's config")
    own = backbone.centers
    stages: Iterable[int | None] = range(1, len(STRIDES) + 1) if per_stage else [None]
    try:
        for stage in stages:
            for count in counts:
                backbone.centers = tuple(count if stage in (None, i) else c for i, c in enumerate(own, 1))
                begun = time.perf_counter()
                metrics = evaluate()
                yield Swept(stage, count, metrics, images / (time.perf_counter() - begun))
    finally:
        backbone.centers = own
