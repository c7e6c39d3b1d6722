import pytest

from tuner.errors import Diverged
from tuner.training.losses import EXPLODED, PATIENCE, Losses

FIRST = 2.0


def started() -> Losses:
    losses = Losses()
    losses.add(FIRST, 1)
    return losses


def test_the_mean_is_that_since_the_last_time() -> None:
    losses = started()
    losses.add(4.0, 2)
    assert losses.mean() == 3.0
    losses.add(1.0, 3)
    assert losses.mean() == 1.0


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_has_diverged(loss: float) -> None:
    with pytest.raises(Diverged, match=f"loss {loss} at iteration 2"):
        started().add(loss, 2)


def test_a_loss_that_stays_far_above_the_first_has_diverged() -> None:
    losses = started()
    for iteration in range(2, PATIENCE + 1):
        losses.add(9.0, iteration)
    with pytest.raises(Diverged, match="above 4 times the first, 2, for 50 iterations: 9 at iteration 51"):
        losses.add(9.0, PATIENCE + 1)


def test_a_spike_from_which_a_training_recovers_is_let_be() -> None:
    losses = started()
    for spike in range(3):
        for iteration in range(PATIENCE - 1):
            losses.add(1e6, iteration)
        losses.add(EXPLODED * FIRST, spike)
