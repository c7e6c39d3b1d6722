"""Every idiom of mmseg configs, trained and evaluated by mmseg itself and by the tuner: nothing differs."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.conformance.base import base, draw
from tests.conformance.idioms import IDIOMS
from tests.conformance.trainings import compared

pytestmark = [
    pytest.mark.long,
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    draw(folder)
    return folder


@pytest.mark.parametrize("name", IDIOMS)
def test_an_idiom_trains_and_evaluates_as_by_mmseg(
    name: str, images: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    config = base(images)
    IDIOMS[name](config, images)
    found = compared(config, tmp_path)
    record_property("differences", asdict(found))
    print(f"{name:50} {found.weights:10.2e} {found.areas:8g}")
    assert found.weights <= 1e-5
    assert found.areas == 0
