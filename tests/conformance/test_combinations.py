"""Combinations of idioms that hypothesis draws train and evaluate as by mmseg, too."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.base import base
from tests.conformance.idioms import IDIOMS
from tests.conformance.trainings import compared

TRAINING_SETS = (
    "as it is",
    "repeated training set",
    "lists of folders",
    "split file",
    "order of the data set",
)
MODELS = ("as it is", "auxiliary head", "class weights", "several losses", "hard examples", "align corners")
TESTS = ("as it is", "sliding window", "flips and scales at test time", "joined validation sets")
STEPS = ("as it is", "gradient clipping", "accumulated gradients", "averaged weights", "rates by layer")
SCHEDULES = ("as it is", "cosine schedule with warmup", "step schedule", "constant rate", "cyclic momentum")
KINDS = (TRAINING_SETS, MODELS, TESTS, STEPS, SCHEDULES)
pytestmark = [
    pytest.mark.long,
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(names=st.tuples(*(st.sampled_from(kind) for kind in KINDS)))
def test_combined_idioms_train_and_evaluate_as_by_mmseg(block_images: Path, names: tuple[str, ...]) -> None:
    config = base(block_images)
    for name in names:
        IDIOMS[name](config, block_images)
    with tempfile.TemporaryDirectory() as work:
        found = compared(config, Path(work))
    assert found.weights <= 1e-5
    assert found.areas == 0
