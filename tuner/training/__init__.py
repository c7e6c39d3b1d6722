"""Who trains: `open_training` picks the trainer that a config asks for."""

from typing import Protocol

import tuner.models  # noqa: F401 - mmseg cannot be imported before it
from tuner.paths import AnyPath
from tuner.trial import Config, Measurement, Place


class Session(Protocol):
    """One rank's part of one training."""

    def step(self, stops: tuple[int, ...]) -> Measurement: ...


def open_training(config: Config, folder: AnyPath, place: Place) -> Session:
    """Takes up the folder's checkpoint where there is one.

    Raises Crashed when the training before has not given its GPU memory back.
    """
    if config["runner"]["type"] == "Synthetic":
        from tuner.training.synthetic import SyntheticTraining

        return SyntheticTraining(config, folder, place)
    from tuner.training.engine import Training
    from tuner.training.process_group import check_memory_is_back

    check_memory_is_back(place)
    return Training(config, folder, place)
