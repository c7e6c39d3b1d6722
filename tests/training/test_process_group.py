"""Where a rank trains, as far as it shows without a GPU."""

import os

import pytest
import torch
import torch.distributed as dist

from tuner.errors import NoGpu, OutOfMemory
from tuner.spec.trial import RankInfo
from tuner.training import process_group
from tuner.training.process_group import join


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_reserved_gpu_that_cuda_cannot_use_is_an_error_that_names_the_node(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_group.socket, "gethostname", lambda: "node-7")
    with pytest.raises(NoGpu, match=r"node node-7: .* `nvidia-smi` .*driver"):
        join(0, 1, "", share)


def test_without_a_reserved_gpu_a_rank_trains_on_the_cpu() -> None:
    assert join(0, 1, "", 0) == RankInfo(0, 1, "cpu")


@pytest.mark.parametrize("library", ["GLOO", "NCCL"])
@pytest.mark.parametrize("chosen", [None, "eth7"])
def test_ranks_speak_over_the_device_that_reaches_the_others_unless_the_user_chose(
    asked: dict[str, object], library: str, chosen: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        monkeypatch.setenv(name, "restored after the test")
        monkeypatch.delenv(name)
    if chosen:
        monkeypatch.setenv(f"{library}_SOCKET_IFNAME", chosen)
    join(0, 2, "127.0.0.1:29500", 1.0)
    assert os.environ[f"{library}_SOCKET_IFNAME"] == (chosen or "lo")


@pytest.mark.parametrize(("share", "limits"), [(0.5, [0.5]), (1.0, [])])
def test_trials_that_share_a_gpu_cannot_take_each_others_memory(
    asked: dict[str, object], share: float, limits: list[float]
) -> None:
    join(0, 1, "", share)
    assert asked.get("limits", []) == limits


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What torch is asked for on a machine that says that it has a GPU."""
    named: dict[str, object] = {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90a", "sm_120"])
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, _device: named.update(limits=[share])
    )
    monkeypatch.setattr(
        dist, "init_process_group", lambda backend, **others: named.update(others, backend=backend)
    )
    return named


@pytest.mark.usefixtures("asked")
def test_a_gpu_that_is_too_old_for_this_pytorch_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (7, 0))
    with pytest.raises(NoGpu, match=r"its GPU has compute capability 7\.0, .* built for 7\.5 and newer"):
        join(0, 1, "", 1.0)


@pytest.mark.parametrize(
    ("share", "backend", "device"), [(1.0, "nccl", torch.device("cuda:0")), (0.5, "gloo", None)]
)
def test_ranks_with_a_gpu_of_their_own_speak_by_nccl_bound_to_it(
    asked: dict[str, object], share: float, backend: str, device: torch.device | None
) -> None:
    assert join(1, 2, "127.0.0.1:29500", share) == RankInfo(1, 2, "cuda:0")
    assert (asked["backend"], asked["device_id"]) == (backend, device)


@pytest.mark.usefixtures("asked")
def test_a_gpu_without_room_for_nccl_is_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_named: object) -> None:
        raise dist.DistBackendError("NCCL error: unhandled cuda error\nCuda failure 2 'out of memory'")

    monkeypatch.setattr(dist, "init_process_group", fail)
    with pytest.raises(OutOfMemory, match="Cuda failure 2"):
        join(0, 2, "127.0.0.1:29500", 1.0)
