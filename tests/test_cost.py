"""What a model costs, measured of a real one."""

from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tuner.memory import GIB, training_memory
from tuner.overrides import ACCUMULATION, AGAINST, apply, reproducible, with_data_root
from tuner.training import config as configs
from tuner.training.cost import cost
from tuner.training.engine import Training, segmentor, validation_set
from tuner.training.toy import draw
from tuner.trial import Config, Place

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("pictures")
    draw(folder, pictures=4, validation=2)
    plain = configs.read(ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py")
    short = {"runner.max_iters": 2, "data.samples_per_gpu": 2}
    return reproducible(with_data_root(apply(plain, short, "test"), folder), seed=3, ranks=1)


def test_each_cost_has_its_unit_and_leaves_the_model_as_it_was(config: Config) -> None:
    model, picture = segmentor(config, Place()).train(), validation_set(config)[0]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def measured(against: str) -> dict[str, float]:
        return cost({**config, AGAINST: against, ACCUMULATION: 2}, model, picture, Place())

    count = sum(tensor.numel() for tensor in model.parameters())
    assert measured("parameters") == {"parameters_millions": count / 1e6}
    memory = training_memory(config)
    assert memory
    assert measured("memory") == {"memory_gibibytes": memory.total / GIB}
    (latency,) = measured("latency").values()
    assert 0.1 < latency < 10_000
    assert cost(config, model, picture, Place()) == {}
    assert all(part.training for part in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_measuring_the_latency_does_not_change_the_training(config: Config, tmp_path: Path) -> None:
    plain = Training(config, tmp_path / "plain", Place()).step((2,))
    timed = Training({**config, AGAINST: "latency"}, tmp_path / "timed", Place()).step((2,))
    assert set(timed.metrics) - set(plain.metrics) == {"latency_milliseconds"}
    assert {name: timed.metrics[name] for name in plain.metrics} == plain.metrics
