"""Learning curves by formula: the mIoU of a trial at an iteration."""

from math import log10
from random import Random

from tuner.spec.trial import Trial


def curve(trial: Trial, iteration: int) -> float:
    """Rises with the learning rate and with the iterations, without noise."""
    return float(trial.params["lr"]) * 1000 + iteration / 100


def flat(trial: Trial, iteration: int) -> float:
    """Makes all trials equal but for noise by the seed."""
    return 30 + Random(trial.seed).gauss(0, 1) + 0.1 * Random(str(trial.params)).random()


def height(trial: Trial) -> float:
    return -((log10(float(trial.params["lr"])) + 2.7) ** 2)


def noise(trial: Trial, iteration: int) -> float:
    return Random(f"{trial.params} {iteration}").gauss(0, 1)


def better_and_better(trial: Trial, iteration: int) -> float:
    """Tells the end the better the later it is looked at."""
    return height(trial) + (0.3 - iteration / 1600) * noise(trial, iteration)
