"""What a rank reads of its GPU."""

from importlib.util import find_spec

import pytest
import torch

from tuner.training.system_metrics import _gpu


def test_a_gpus_use_can_be_read_where_there_is_one() -> None:
    assert find_spec("pynvml"), "torch.cuda.utilization needs nvidia-ml-py"
    if torch.cuda.is_available():
        assert 0 <= _gpu("cuda:0")["gpu_utilization_percentage"] <= 100


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without NVIDIA's driver")
def test_without_a_driver_it_is_left_out_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    assert _gpu("cuda:0").keys() == {"gpu_memory_usage_megabytes"}
    assert capfd.readouterr() == ("", "")
