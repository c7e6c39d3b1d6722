import pytest

from tuner.errors import Diverged
from tuner.training.divergence import EXPLODED, PARTS, PATIENCE, LossMonitor

FIRST = 2.0
LENGTH = 3 * PARTS
"""A training's, so that its loss is the mean over 3 iterations."""


def started() -> LossMonitor:
    losses = LossMonitor()
    losses.add(FIRST, 1, LENGTH)
    return losses


def test_the_mean_is_that_of_the_last_iterations_however_often_it_is_asked_for() -> None:
    losses, means = started(), []
    for iteration, loss in enumerate((4.0, 6.0, 8.0, 1.0), start=2):
        means.append(losses.mean())
        losses.add(loss, iteration, LENGTH)
    assert [*means, losses.mean()] == [2.0, 3.0, 4.0, 6.0, 5.0]


def test_a_short_training_has_the_loss_of_its_last_iteration() -> None:
    losses = LossMonitor()
    for iteration, loss in enumerate((4.0, 6.0), start=1):
        losses.add(loss, iteration, PARTS - 1)
    assert losses.mean() == 6.0


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_has_diverged(loss: float) -> None:
    with pytest.raises(Diverged, match=f"loss {loss} at iteration 2"):
        started().add(loss, 2, LENGTH)


def test_a_loss_that_stays_far_above_the_first_has_diverged() -> None:
    losses = started()
    for iteration in range(2, PATIENCE + 1):
        losses.add(9.0, iteration, LENGTH)
    with pytest.raises(Diverged, match="above 4 times the first, 2, for 50 iterations: 9 at iteration 51"):
        losses.add(9.0, PATIENCE + 1, LENGTH)


def test_a_spike_from_which_a_training_recovers_is_let_be() -> None:
    losses = started()
    for spike in range(3):
        for iteration in range(PATIENCE - 1):
            losses.add(1e6, iteration, LENGTH)
        losses.add(EXPLODED * FIRST, spike, LENGTH)
