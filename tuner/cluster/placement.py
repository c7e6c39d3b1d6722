"""What a trial reserves on the cluster's nodes, and whether it can ever get it."""

import ray
from ray import tune

from tuner.errors import BadInput
from tuner.job import Resources

STRATEGIES = {"pack": "PACK", "spread": "SPREAD"}
ROUNDING = 1e-6
"""A tenth of a GPU fits ten times."""


def reservation(resources: Resources) -> tune.PlacementGroupFactory:
    """One bundle a rank, got together or not at all; Tune's own actor needs none."""
    bundle = {"CPU": resources.cpus_per_rank, "GPU": resources.gpus_per_rank}
    ranks = resources.processes
    labels = {"bundle_label_selector": [resources.labels] * ranks} if resources.labels else {}
    return tune.PlacementGroupFactory(
        [{}, *[bundle] * ranks], strategy=STRATEGIES[resources.strategy], **labels
    )


def check_fits(resources: Resources) -> None:
    """Raises BadInput when a trial can never be placed; one that must only wait is fine."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    suitable = [node for node in alive if resources.labels.items() <= node["Labels"].items()]
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
    """Kind, the job's key for it, and what a rank needs."""
    return (
        ("GPU", "gpus_per_trial", resources.gpus_per_rank),
        ("CPU", "cpus_per_rank", resources.cpus_per_rank),
    )


def _ranks_that_fit(node: dict[str, float], kind: str, a_rank: float, ranks: int) -> int:
    return int(node.get(kind, 0) / a_rank + ROUNDING) if a_rank else ranks


def _listed(labels: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())
