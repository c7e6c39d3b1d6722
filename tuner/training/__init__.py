"""Training: `open_training` picks the trainer that a config asks for."""

from typing import Protocol

import tuner.models  # noqa: F401 - mmseg cannot be imported before it
from tuner.files.modules import Modules
from tuner.files.paths import AnyPath
from tuner.servers.progress import Progress
from tuner.spec.trial import Config, Measurement, RankInfo


class Session(Protocol):
    """Trains one rank's part of one training."""

    progress: Progress

    def step(self, evaluation_points: tuple[int, ...]) -> Measurement: ...


def open_training(
    config: Config, folder: AnyPath, rank_info: RankInfo, modules: Modules | None = None, attempt: int = 1
) -> Session:
    """Takes up the folder's newest checkpoint where there is one, and saves those of this attempt at the study.

    `modules` are the user's own that its custom_imports name. Raises NeedsFreshProcess when the
    training before has not given its GPU memory back.
    """
    if modules:
        modules.make_importable()
    if config["runner"]["type"] == "Synthetic":
        from tuner.training.synthetic import SyntheticTraining

        return SyntheticTraining(config, folder, rank_info)
    from tuner.training.engine import Training
    from tuner.training.gpu_memory import check_memory_is_back

    check_memory_is_back(rank_info)
    return Training(config, folder, rank_info, attempt)
