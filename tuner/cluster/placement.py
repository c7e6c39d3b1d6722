"""Says what a trial reserves on the cluster's nodes, and whether it can ever get it."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import ray

from tuner.errors import BadInput
from tuner.spec.job import Resources

if TYPE_CHECKING:
    from ray import tune

NODE_ID = "ray.io/node-id"
"""Ray's own label for a node."""
STRATEGIES = {"pack": "PACK", "spread": "SPREAD"}
ROUNDING = 1e-6
"""A tenth of a GPU fits ten times."""


def reservation(resources: Resources, avoided: Collection[str] = ()) -> "tune.PlacementGroupFactory":
    """Returns one bundle a rank, reserved together or not at all; Tune's own actor needs none.

    None lies on the avoided nodes, which are named by Ray's ids.
    """
    from ray import tune  # here, as ranks load this module too, and Tune takes a second

    bundle = {"CPU": resources.cpus_per_rank, "GPU": resources.gpus_per_rank}
    ranks = resources.processes
    wanted = resources.labels | ({NODE_ID: f"!in({','.join(sorted(avoided))})"} if avoided else {})
    labels = {"bundle_label_selector": [wanted] * ranks} if wanted else {}
    return tune.PlacementGroupFactory(
        [{}, *[bundle] * ranks], strategy=STRATEGIES[resources.strategy], **labels
    )


def check_fits(resources: Resources) -> None:
    """Raises BadInput when a trial can never be placed; one that must only wait is fine."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    suitable = _suitable(resources, alive)
    if not suitable:
        seen = sorted({f"{key}={value}" for node in alive for key, value in node["Labels"].items()})
        raise BadInput.of(
            "job",
            f"resources.labels: no node has {_listed(resources.labels)}; there are {', '.join(seen)}: "
            "change them, or start nodes with `ray start --labels`",
        )
    problems = _shortages(resources, [node["Resources"] for node in suitable])
    if problems:
        raise BadInput.of("job", *problems)


def fits_without(resources: Resources, avoided: Collection[str]) -> bool:
    """Tells whether a trial can be placed on the nodes that are there, the avoided ones left out."""
    others = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in avoided]
    suitable = _suitable(resources, others)
    return bool(suitable) and not _shortages(resources, [node["Resources"] for node in suitable])


def _suitable(resources: Resources, nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [node for node in nodes if resources.labels.items() <= node["Labels"].items()]


def _shortages(resources: Resources, nodes: list[dict[str, float]]) -> list[str]:
    ranks = resources.processes
    where = f"of nodes with {_listed(resources.labels)} " if resources.labels else ""
    problems = []
    for kind, key, a_rank in _needs(resources):
        if sum(_ranks_that_fit(node, kind, a_rank, ranks) for node in nodes) < ranks:
            has = sum(node.get(kind, 0) for node in nodes)
            problems.append(
                f"needs {a_rank * ranks:g} {kind}s a trial, but the cluster {where}has {has:g}: "
                f"lower resources.{key}"
                + ("" if has else ", to 0 for training on the CPU" if kind == "GPU" else "")
                if has < a_rank * ranks - ROUNDING
                else _whole_ranks(ranks, a_rank, where, has)
            )
    together = (
        min(_ranks_that_fit(node, kind, a_rank, ranks) for kind, _, a_rank in _needs(resources))
        for node in nodes
    )
    if not problems and sum(together) < ranks:
        problems.append(
            f"needs {ranks} times {resources.gpus_per_rank:g} GPUs with {resources.cpus_per_rank:g} CPUs on "
            "the same node, which the nodes do not have: lower resources.cpus_per_rank"
        )
    return problems


def _needs(resources: Resources) -> tuple[tuple[str, str, float], ...]:
    """Returns kind, the job's key for it, and what a rank needs."""
    return (
        ("GPU", "gpus_per_trial", resources.gpus_per_rank),
        ("CPU", "cpus_per_rank", resources.cpus_per_rank),
    )


def _whole_ranks(ranks: int, a_rank: float, where: str, has: float) -> str:
    """Says that ranks which share GPUs leave parts of them unused."""
    a_gpu = int(1 / a_rank + ROUNDING)
    room = f"a GPU has room for {a_gpu} of its {ranks} ranks with {a_rank:.3g} GPUs each"
    return (
        f"needs {-(-ranks // a_gpu)} GPUs a trial, as {room}, but the cluster {where}has {has:g}: "
        "set resources.ranks to a multiple of resources.gpus_per_trial"
    )


def _ranks_that_fit(node: dict[str, float], kind: str, a_rank: float, ranks: int) -> int:
    """Returns how many ranks find room on a node; ranks that share GPUs lie on one GPU each, as a whole."""
    if not a_rank:
        return ranks
    if kind == "GPU" and a_rank < 1:
        return int(node.get(kind, 0) + ROUNDING) * int(1 / a_rank + ROUNDING)
    return int(node.get(kind, 0) / a_rank + ROUNDING)


def _listed(labels: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())
