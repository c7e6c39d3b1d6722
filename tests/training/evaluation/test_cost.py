"""What a model costs, measured of a real one."""

from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tuner.sizing.config_paths import apply
from tuner.sizing.memory import GIB, training_memory
from tuner.sizing.own_entry import with_own
from tuner.sizing.trial_config import reproducible, with_data_root
from tuner.spec.trial import Config, RankInfo
from tuner.training.config import config as configs
from tuner.training.data.toy import draw
from tuner.training.engine import Training, segmentor, validation_set
from tuner.training.evaluation.cost import cost

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("images")
    draw(folder, images=4, validation=2)
    plain = configs.read(ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py")
    short = {"runner.max_iters": 2, "data.samples_per_gpu": 2}
    return reproducible(with_data_root(apply(plain, short, "test"), folder), seed=3, ranks=1)


def test_each_cost_has_its_unit_and_leaves_the_model_as_it_was(config: Config) -> None:
    model, image = segmentor(config, RankInfo()).train(), validation_set(config)[0]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def measured(secondary: str) -> dict[str, float]:
        return cost(with_own(config, secondary=secondary, accumulation=2), model, image, RankInfo())

    count = sum(tensor.numel() for tensor in model.parameters())
    assert measured("parameters") == {"parameters_millions": count / 1e6}
    memory = training_memory(config)
    assert memory
    assert measured("memory") == {"memory_gibibytes": memory.step / GIB}
    (latency,) = measured("latency").values()
    assert 0.1 < latency < 10_000
    assert cost(config, model, image, RankInfo()) == {}
    assert all(part.training for part in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_measuring_the_latency_does_not_change_the_training(config: Config, tmp_path: Path) -> None:
    plain = Training(config, tmp_path / "plain", RankInfo()).step((2,))
    timed = Training(with_own(config, secondary="latency"), tmp_path / "timed", RankInfo()).step((2,))
    assert set(timed.metrics) - set(plain.metrics) == {"latency_milliseconds"}
    assert {name: timed.metrics[name] for name in plain.metrics} == plain.metrics
