"""Writes the first job and space for anybody's config, with comments, ready to be checked and changed."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

import yaml

from tuner.errors import BadInput, Problem
from tuner.files.writing import write_text
from tuner.sizing.config_datasets import placeholders
from tuner.sizing.first_space import Proposed, first_space
from tuner.sizing.trial_config import NO_WEIGHTS, with_data_root, with_pretrained
from tuner.spec.trial import Config

TRIALS_A_PARAMETER = 10
NAME_LETTERS = 48
COMMENTS = {
    "budget": "Trial 0 is the config as it is. After the search it and the best are trained with other seeds.",
    "fidelity": "The config's own length; trials pause at a sixteenth of it, and the best of every four go on.",
}


def write_first_job(
    config: Config, source: Path, data_root: Path, pretrained: str | None, gpus: int, folder: Path
) -> list[Path]:
    """Returns the files job.yaml and space.yaml in the folder, both new.

    Raises BadInput before anything is written: where one of them is there already, where the config still asks
    for a place, or where there is nothing to search.
    """
    space = first_space(config)
    problems = [
        *taken(folder, ("job.yaml", "space.yaml")),
        *_unfit(config, source, data_root, pretrained, space),
    ]
    if problems:
        raise BadInput(problems)
    places = {
        "config": os.path.relpath(source.resolve(), folder.resolve()),
        "data_root": str(data_root.resolve()),
        **({"pretrained": _weights(pretrained)} if pretrained else {}),
    }
    texts = {
        folder / "space.yaml": _space_text(space, source),
        folder / "job.yaml": _job_text(config, source, places, gpus, len(space)),
    }
    for file, text in texts.items():
        write_text(file, text)
    return list(texts)


def taken(folder: Path, names: Iterable[str]) -> Iterator[Problem]:
    """Yields the files that are there already."""
    for name in names:
        if (folder / name).exists():
            yield Problem(str(folder / name), "is there already and is not overwritten: name another folder")


def _unfit(
    config: Config, source: Path, data_root: Path, pretrained: str | None, space: Sequence[Proposed]
) -> Iterator[Problem]:
    if not data_root.is_dir():
        yield Problem("--data-root", f"there is no folder {data_root}")
    if config["runner"]["type"] == "Synthetic":
        yield Problem(str(source), "has no model: name an mmseg config")
        return
    placed = with_data_root(config, data_root)
    placed = with_pretrained(placed, pretrained) if pretrained else placed
    yield from (Problem(str(source), message) for message in placeholders(placed))
    if not space:
        yield Problem(
            str(source), "has no number that a space proposes: write a space by hand, see docs/spaces.md"
        )


def _space_text(space: Sequence[Proposed], source: Path) -> str:
    lines = [
        f"# What may vary in {source.name}: narrow the ranges where you know better, remove what shall stay.",
        "# How to write a space: docs/spaces.md",
        "parameters:",
    ]
    for name, comment, parameter in space:
        lines += [f"  {name}: # {comment}", f"    {_flow(parameter)}"]
    return "\n".join(lines) + "\n"


def _job_text(config: Config, source: Path, places: Mapping[str, str], gpus: int, parameters: int) -> str:
    iterations, images = config["runner"]["max_iters"], config["data"]["samples_per_gpu"]
    ranks = max(1, gpus)
    resources = {"gpus_per_trial": gpus, "ranks": ranks, "global_batch": ranks * images}
    if not gpus:
        resources["cpus_per_rank"] = os.cpu_count() or 1
    content = {
        "name": re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem).strip("-._")[:NAME_LETTERS] or "search",
        **places,
        "space": "space.yaml",
        "objective": {"metric": "mIoU", "direction": "maximize"},
        "budget": {"trials": TRIALS_A_PARAMETER * parameters, "seeds": 3},
        "fidelity": {"iterations": iterations, "rungs": sorted({max(1, iterations // 16), iterations})},
        "resources": resources,
        "seed": 0,
    }
    comments = COMMENTS | {"resources": _about_gpus(gpus, images)}
    lines = [f"# A search around {source.name}. Every key: docs/job.md; what it would do: tuner plan"]
    for key, value in content.items():
        lines += [f"# {line}" for line in comments.get(key, "").splitlines()]
        lines.append(_flow({key: value})[1:-1])  # without the outer braces
    return "\n".join(lines) + "\n"


def _about_gpus(gpus: int, images: int) -> str:
    here = (
        f"{gpus} {'GPU is' if gpus == 1 else 'GPUs are'} here" if gpus else "No GPU is here: the CPU trains"
    )
    return (
        f"{here}; the config has {images} images for each GPU.\n"
        "If it was published for more GPUs, let global_batch be their sum."
    )


def _flow(content: Mapping[str, Any]) -> str:
    """Returns YAML in one line."""
    text = yaml.safe_dump(
        dict(content), sort_keys=False, default_flow_style=True, width=inf, allow_unicode=True
    )
    return str(text).rstrip()


def _weights(pretrained: str) -> str:
    return pretrained if pretrained == NO_WEIGHTS or "://" in pretrained else str(Path(pretrained).resolve())
