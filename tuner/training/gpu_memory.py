"""Handles a GPU's memory: too little of it, and what an earlier training still holds."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tuner.errors import NeedsFreshProcess, OutOfMemory
from tuner.spec.trial import RankInfo

SHORTAGE = re.compile(r"out of memory|_ALLOC_FAILED|ALLOCATION_FAILED")
"""The words by which CUDA, cuBLAS, cuDNN and NCCL say that an allocation failed, in errors of several classes."""

KEPT = 64 * 2**20
"""The bytes of a GPU that may stay allocated between trainings, besides the workspaces of cuBLAS."""


@contextmanager
def shortage_as_out_of_memory() -> Iterator[None]:
    """Raises OutOfMemory where a library found no room on the GPU; its message is the library's own line."""
    try:
        yield
    except RuntimeError as error:  # OutOfMemoryError, AcceleratorError and DistBackendError are such
        lines = str(error).splitlines()
        shortage = next((line for line in lines if SHORTAGE.search(line)), None)
        if shortage is None:
            raise
        raise OutOfMemory(shortage) from error


def check_memory_is_back(rank_info: RankInfo) -> None:
    """Raises NeedsFreshProcess when an earlier training of this process still holds memory of the GPU.

    cuBLAS keeps a workspace for each thread, 64 MiB in all on Hopper: they are freed first, by a call that
    PyTorch does not document (checked with 2.12).
    """
    if rank_info.device == "cpu":
        return
    torch._C._cuda_clearCublasWorkspaces()  # noqa: SLF001 - see above
    torch.cuda.empty_cache()
    held = torch.cuda.memory_allocated(rank_info.device)
    if held > KEPT:
        mebibytes = f"{held / 2**20:.0f} MiB"
        raise NeedsFreshProcess(f"the training before holds {mebibytes} of the GPU: a new process is needed")
