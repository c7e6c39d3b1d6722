"""A GPU's memory, without a GPU: errors of the very class and text, and recorded calls."""

import pytest
import torch
import torch.distributed as dist

from tuner.errors import NeedsFreshProcess, OutOfMemory
from tuner.spec.trial import RankInfo
from tuner.training import gpu_memory
from tuner.training.gpu_memory import check_memory_is_back, shortage_as_out_of_memory

NCCL = """NCCL error in: ../torch/csrc/distributed/c10d/NCCLUtils.cpp:94, unhandled cuda error
ncclUnhandledCudaError: Call to CUDA function failed.
Last error:
Cuda failure 2 'out of memory'"""
SHORTAGES = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has …"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    torch.AcceleratorError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in …"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR\nthe GPU is out of memory"),
    dist.DistBackendError(NCCL),
]
OTHERS = [
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    ValueError("a list out of memory"),
]


@pytest.mark.parametrize("error", SHORTAGES, ids=str)
def test_whichever_library_found_no_room_it_is_out_of_memory(error: Exception) -> None:
    with pytest.raises(OutOfMemory, match=r"out of memory|ALLOC") as caught, shortage_as_out_of_memory():
        raise error
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_no_other_error_is_taken_for_it(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, shortage_as_out_of_memory():
        raise error
    assert caught.value is error


class Gpu:
    """What CUDA says of a GPU where two threads have each used cuBLAS."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
        self.allocated = kept + 2 * 32 * 2**20
        self._kept = kept
        monkeypatch.setattr("torch._C._cuda_clearCublasWorkspaces", self._clear)
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: self.allocated)

    def _clear(self) -> None:
        self.allocated = self._kept


def test_workspaces_of_cublas_are_no_memory_of_the_training_before(monkeypatch: pytest.MonkeyPatch) -> None:
    Gpu(monkeypatch, kept=1)
    check_memory_is_back(RankInfo(device="cuda:0"))


def test_memory_that_is_not_back_asks_for_a_fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    Gpu(monkeypatch, kept=gpu_memory.KEPT + 2**20)
    with pytest.raises(NeedsFreshProcess, match="the training before holds 65 MiB of the GPU"):
        check_memory_is_back(RankInfo(device="cuda:0"))
