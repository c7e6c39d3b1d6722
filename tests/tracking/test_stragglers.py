from tuner.spec.trial import Measurement, Outcome, Record, Trial
from tuner.tracking.stragglers import stragglers


def paced(number: int, centers: int, *paces: float) -> Record:
    measurements = tuple(
        Measurement(iteration, {"mIoU": 1.0}, 1.0, {"images_per_second": pace})
        for iteration, pace in enumerate(paces)
    )
    return Record(Trial(number, {"lr": 0.1 * number, "centers": centers}, 0), Outcome.COMPLETED, measurements)


def test_a_trial_far_slower_than_its_equals_was_slowed_by_its_node() -> None:
    equals = [paced(number, 4, 100.0, 101.0) for number in range(4)]
    bigger = [paced(number, 49, 50.0) for number in range(4, 7)]
    lame, hiccup = paced(7, 4, 60.0, 61.0, 59.0), paced(8, 4, 99.0, 20.0, 98.0)
    assert stragglers([*equals, *bigger, lame, hiccup, paced(9, 4)]) == {7}


def test_few_trials_show_no_usual_pace() -> None:
    assert not stragglers([paced(0, 4, 100.0), paced(1, 4, 100.0), paced(2, 4, 10.0)])


def test_equal_measurements_stay_equal_whatever_their_conditions() -> None:
    assert paced(0, 4, 100.0) == paced(0, 4, 50.0)
