"""Failing GPUs: errors of the very class and text, and nodes as processes with logical GPUs."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import torch
import torch.distributed as dist
from ray.cluster_utils import Cluster

from tests.cluster.trainers import ECC, join_on_cpu, open_noting_the_node
from tests.conftest import JobFile
from tuner import checking
from tuner.cluster import gang, ray_tune, sick_gpus
from tuner.cluster.gang import Trainer
from tuner.cluster.placement import fits_without
from tuner.cluster.ray_tune import Launch
from tuner.cluster.sick_gpus import SickNodes, reporting_sick_gpus
from tuner.errors import Crashed, Died, NcclFailed, NoGpu, SickGpu, TrialFailed
from tuner.files.paths import Home
from tuner.search.scheduling import scheduler_for
from tuner.spec.job import Resources
from tuner.spec.trial import Outcome
from tuner.spec.yaml_files import read_job
from tuner.store.studies import open_study
from tuner.study.study import Study

NCCL = """NCCL error in: ../torch/csrc/distributed/c10d/NCCLUtils.cpp:94, {}, NCCL version 2.27.5
{}
Last error:
{}"""
UNHANDLED = "unhandled cuda error (run with NCCL_DEBUG=INFO for details)"
FAILING_GPU = [
    torch.AcceleratorError(ECC),
    RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be …"),
    torch.AcceleratorError("CUDA error: Invalid access of peer GPU memory over nvlink or a hardware error"),
    torch.AcceleratorError("CUDA error: unspecified launch failure"),
    RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"),
    dist.DistBackendError(
        NCCL.format(
            UNHANDLED, "ncclUnhandledCudaError: …", "Cuda failure 214 'uncorrectable ECC error encountered'"
        )
    ),
]
FAILING_NCCL = [
    dist.DistBackendError(
        NCCL.format(UNHANDLED, "ncclUnhandledCudaError: Call to CUDA function failed.", "")
    ),
    dist.DistBackendError(NCCL.format("remote process exited", "ncclRemoteError: A call failed …", "")),
    dist.DistBackendError("NCCL communicator was aborted on rank 1."),
]
OTHERS = [
    torch.AcceleratorError("CUDA error: device-side assert triggered"),
    dist.DistBackendError(NCCL.format("invalid usage", "ncclInvalidUsage: …", "Duplicate GPU detected")),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    ValueError("NCCL error"),
]


@pytest.fixture
def _on_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sick_gpus, "_own_node", lambda: "a1b2")
    monkeypatch.setattr(sick_gpus.socket, "gethostname", lambda: "gpu-7")


@pytest.mark.usefixtures("_on_a_node")
@pytest.mark.parametrize(
    ("error", "kind"),
    [(error, SickGpu) for error in FAILING_GPU] + [(error, NcclFailed) for error in FAILING_NCCL],
    ids=str,
)
def test_a_failing_gpu_is_told_with_its_node(error: Exception, kind: type[SickGpu]) -> None:
    with pytest.raises(SickGpu, match=r"^node gpu-7: ") as caught, reporting_sick_gpus():
        raise error
    assert type(caught.value) is kind
    assert caught.value.node == "a1b2"
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("_on_a_node")
def test_a_gpu_that_cuda_cannot_use_is_a_failing_one() -> None:
    with pytest.raises(SickGpu, match=r"^node gpu-7: no driver$"), reporting_sick_gpus():
        raise NoGpu("node gpu-7: no driver")


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_a_failing_training_is_no_failing_gpu(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, reporting_sick_gpus():
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("first", "other", "counts"),
    [
        (NcclFailed("lost the other", "b"), SickGpu("ECC", "a"), "ECC"),
        (NcclFailed("lost the other", "b"), Died("a rank died"), "a rank died"),
        (NcclFailed("lost the other", "b"), None, "lost the other"),
        (Crashed("a rank raised: connection closed"), Died("a rank died"), "a rank died"),
    ],
)
def test_of_a_gangs_failures_the_cause_counts(
    first: TrialFailed, other: TrialFailed | None, counts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gang.ray, "wait", lambda waiting, **_named: (waiting, []))
    monkeypatch.setattr(gang, "_failure", lambda reference: reference)
    assert str(gang._fault(first, [other])) == counts  # noqa: SLF001 - which of them Ray tells first is chance


def sick_nodes(monkeypatch: pytest.MonkeyPatch) -> SickNodes:
    monkeypatch.setattr(sick_gpus, "fits_without", lambda _resources, avoided: len(avoided) < 2)
    return SickNodes(Resources(gpus_per_trial=1, global_batch=8))


def test_two_different_trials_in_a_row_make_a_node_sick(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes, death = sick_nodes(monkeypatch), SickGpu("node gpu-7: ECC", "a")
    assert [nodes.died(3, death), nodes.died(3, death)] == ["", ""]
    assert (nodes.avoided(3), nodes.avoided(4)) == (("a",), ())
    nodes.trained(["a", "b"])
    assert (nodes.died(4, death), nodes.avoided(5)) == ("", ())
    assert nodes.died(5, death) == (
        "node gpu-7: ECC; trials 4 and 5 died there in a row: the node is left out of later placements"
    )
    nodes.trained(["a"])
    assert nodes.avoided(6) == ("a",)


def test_a_sick_node_is_used_where_no_other_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = sick_nodes(monkeypatch)
    for node in ("a", "b"):
        for number in (1, 2):
            nodes.died(number, SickGpu("ECC", node))
    assert nodes.avoided(3) == ("a",)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A sick node with two GPUs and a well one with one."""
    sick = {"num_cpus": 2, "num_gpus": 2, "labels": {"gpu": "sick"}, "object_store_memory": 10**8}
    nodes = Cluster(initialize_head=True, head_node_args=sick | {"include_dashboard": False})
    nodes.add_node(num_cpus=1, num_gpus=1, labels={"gpu": "well"}, object_store_memory=10**8)
    ray.init(nodes.address, log_to_driver=False, logging_level="ERROR")
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray leaves its processes' pipes to the collector
@pytest.mark.usefixtures("cluster")
def test_trials_go_on_elsewhere_and_a_node_that_ends_two_is_left_out_and_named(
    job_file: JobFile, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = {"gpus_per_trial": 1, "global_batch": 8, "concurrent": 3}
    search = {"sampler": "random", "scheduler": "none"}
    job = read_job(job_file(budget={"trials": 4, "retries": 1}, resources=keys, search=search))
    checked, where = checking.check(job, Home(home).storage), Home(home)
    study = Study(job, open_study(where.storage, job, checked.fingerprint, checked.default), scheduler_for)
    with caplog.at_level(logging.WARNING, "tuner"):
        trainer = Trainer(join_on_cpu, open_noting_the_node)
        ray_tune.run(study, Launch(job, checked.config, where, trainer))
    assert {record.outcome for record in study.records} == {Outcome.COMPLETED}
    noted = (where.trial(job.name, 0).root.parent / "nodes").read_text().splitlines()
    victims = [line.split()[0] for line in noted if "sick" in line]
    assert 2 <= len(victims) == len(set(victims)) <= 3, "two, and one that had its place already"
    assert [line.split()[1] for line in noted[-2:]] == ["well", "well"]
    (note,) = [record.note for record in study.records if record.note]
    assert "uncorrectable ECC error encountered; trials" in note
    sick = next(node["NodeID"] for node in ray.nodes() if node["Labels"]["gpu"] == "sick")
    assert f"{note} (Ray's node {sick})" in caplog.text
    assert fits_without(job.resources, [sick])
