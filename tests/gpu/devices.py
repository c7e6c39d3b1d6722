"""The device of the tests on a GPU, and why they are skipped without one."""

import os

import pytest
import torch

from tests.cluster.trainers import join_on_cpu
from tuner.training import process_group

DEVICE = os.environ.get("GPU_TESTS_DEVICE", "cuda:0")
ON_GPU = DEVICE != "cpu"
JOIN = process_group.join if ON_GPU else join_on_cpu
"""How ranks join; on the CPU with GPUs that Ray alone believes in."""

needs_device = pytest.mark.skipif(
    ON_GPU and not torch.cuda.is_available(), reason="needs a GPU: CUDA cannot be used here"
)
needs_cuda = pytest.mark.skipif(
    not (ON_GPU and torch.cuda.is_available()), reason="needs a GPU: CUDA cannot be used here"
)
needs_two_gpus = pytest.mark.skipif(ON_GPU and torch.cuda.device_count() < 2, reason="needs two GPUs")
