"""Tells a failing GPU from a failing training, and keeps trials away from the nodes of failing GPUs."""

import logging
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import ray

from tuner.cluster.messages import NodeId
from tuner.cluster.placement import fits_without
from tuner.errors import NcclFailed, NoGpu, SickGpu
from tuner.spec.job import Resources

logger = logging.getLogger(__name__)

GPU = re.compile(
    r"uncorrectable ECC error|an illegal (?:memory access|instruction) was|unspecified launch failure"
    r"|over nvlink|hardware stack error|misaligned address|device\(s\) is/are busy or unavailable"
    r"|the launch timed out|CUDA error: unknown error|GPU is lost|\bXid\b"
)
"""CUDA's texts for what the driver logs as an Xid: of its runtime 13, as libcudart has them."""
NCCL = re.compile(
    r"NCCL [Ee]rror|NCCL communicator was aborted|unhandled (?:cuda|system) error|nccl\w+Error:"
)
"""The texts of torch's DistBackendError and of NCCL itself."""
MISUSE = re.compile(r"invalid (?:usage|argument)|ncclInvalid")
"""NCCL's texts for what no other GPU would make better."""
DEATHS = 2
"""The number of trials in a row that a node's GPUs may end until it is left out."""


@contextmanager
def reporting_sick_gpus() -> Iterator[None]:
    """Raises SickGpu or NcclFailed where a GPU or NCCL fails; the message is the library's own line, and the node."""
    try:
        yield
    except NoGpu as error:
        raise SickGpu(str(error), _own_node()) from error
    except RuntimeError as error:  # torch's AcceleratorError and DistBackendError are such
        text, where = str(error), f"node {socket.gethostname()}"
        if found := _line(GPU, text):
            raise SickGpu(f"{where}: {found}", _own_node()) from error
        if (found := _line(NCCL, text)) and not MISUSE.search(text):
            raise NcclFailed(f"{where}: {found}", _own_node()) from error
        raise


def _line(pattern: re.Pattern[str], text: str) -> str | None:
    return next((line.strip() for line in text.splitlines() if pattern.search(line)), None)


def _own_node() -> NodeId:
    return str(ray.get_runtime_context().get_node_id())


class SickNodes:
    """Counts the trials that died in a row of a node's GPUs, and says where a trial must not lie."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._victims: dict[NodeId, list[int]] = {}
        self._left_out: list[NodeId] = []

    def died(self, number: int, death: SickGpu) -> str:
        """Counts a trial's death; returns a remark for the trial if its node is left out from now on, or nothing."""
        victims = self._victims.setdefault(death.node, [])
        victims.append(number)
        if len(set(victims)) < DEATHS or death.node in self._left_out:
            return ""
        self._left_out.append(death.node)
        trials = " and ".join(map(str, dict.fromkeys(victims)))
        remark = f"{death}; trials {trials} died there in a row: the node is left out of later placements"
        logger.warning("%s (Ray's node %s)", remark, death.node)
        return remark

    def trained(self, nodes: Iterable[NodeId]) -> None:
        """Forgets the deaths on nodes that have trained to a rung since, unless they are left out."""
        for node in set(nodes).difference(self._left_out):
            self._victims.pop(node, None)

    def avoided(self, number: int) -> tuple[NodeId, ...]:
        """Returns the nodes that are left out and those on which this trial died, as far as others have room."""
        own = [node for node, victims in self._victims.items() if number in victims]
        avoided: tuple[NodeId, ...] = ()
        for node in dict.fromkeys([*self._left_out, *own]):
            if fits_without(self._resources, (*avoided, node)):
                avoided = (*avoided, node)
        return avoided
