"""Does what the commands for one config do: begin a search of it, train it, measure its weights, sweep its centers."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tuner.errors import BadInput
from tuner.files.writing import write_json, write_text
from tuner.sizing.config_paths import apply
from tuner.sizing.examples import example_texts, job_file
from tuner.sizing.first_job import taken, write_first_job
from tuner.sizing.trial_config import (
    NO_WEIGHTS,
    evaluating,
    reproducible,
    with_data_root,
    with_pretrained,
)
from tuner.spec.space import is_square
from tuner.spec.trial import Config, Measurement, Swept, Value
from tuner.spec.yaml_files import read_job


def train(
    config: Config, ranks: int, folder: Path, seed: int | None, tell: Callable[[Measurement], None]
) -> None:
    """Trains a config that `read_config` has read. Raises BadInput with all that cannot be built."""
    from tuner.training import building, launch

    seed = seed if seed is not None else config.get("seed") or 0
    ready = reproducible(config, seed, ranks)
    if problems := building.build(copy.deepcopy(ready), "config"):
        raise BadInput(problems)
    launch.train(ready, folder, ranks, tell)


def first_job(file: Path, data_root: Path, pretrained: str | None, folder: Path) -> list[Path]:
    """Writes a job and a space for a config, for the GPUs that are here. Raises BadInput, then nothing is written."""
    import torch

    from tuner.training.config import config as configs

    config = configs.read(file)
    return write_first_job(config, file, data_root, pretrained, torch.cuda.device_count(), folder)


def example(name: str, folder: Path) -> list[Path]:
    """Copies a shipped job out, with its space and its config. Raises BadInput, then nothing is written."""
    from tuner.training.config import config as configs

    job = job_file(name)
    texts = example_texts(job, configs.text(configs.read(read_job(job, images_are_here=False).config)))
    if problems := list(taken(folder, texts)):
        raise BadInput(problems)
    for file, text in texts.items():
        write_text(folder / file, text)
    return [folder / file for file in texts]


def evaluate(file: Path, checkpoint: Path, data_root: Path | None, split: str = "val") -> dict[str, float]:
    """Measures a checkpoint on the images of a split, val or test. Raises BadInput where the config has none."""
    from tuner.training import launch

    return launch.evaluate_checkpoint(read_config(file, data_root, {}, NO_WEIGHTS, split=split), checkpoint)


def sweep_centers(
    file: Path, checkpoint: Path, data_root: Path | None, counts: Sequence[int], per_stage: bool, to: Path
) -> list[Swept]:
    """Returns a checkpoint at several numbers of centers; writes sweep.json and sweep.png. Raises BadInput."""
    from tuner.tracking.plots import plot_sweep
    from tuner.training import launch

    if wrong := [str(count) for count in counts if not is_square(count)]:
        raise BadInput.of("--centers", f"must be squares (4, 9, 16, …), got {', '.join(wrong)}")
    swept = list(
        launch.sweep_checkpoint(read_config(file, data_root, {}, NO_WEIGHTS), checkpoint, counts, per_stage)
    )
    write_json(to / "sweep.json", [asdict(each) for each in swept])
    plot_sweep(swept, to / "sweep.png")
    return swept


def read_config(
    file: Path,
    data_root: Path | None,
    overrides: Mapping[str, Value],
    pretrained: str | None = None,
    known_annotations: Path | None = None,
    split: str = "val",
) -> Config:
    """Returns a config with its overrides and places, its images checked; it evaluates a split. Raises BadInput.

    What was found in annotations is kept in the file `known_annotations` for the next start.
    """
    from tuner.training.config import config as configs
    from tuner.training.config.canonical import place_problems
    from tuner.training.data.annotations import SoundAnnotations
    from tuner.training.data.images import images_of

    config = apply(configs.read(file), overrides, "--set")
    if data_root is not None:
        config = with_data_root(config, data_root.resolve())
    if pretrained is not None:
        config = with_pretrained(config, pretrained)
    config = evaluating(config, split, str(file))
    annotations = SoundAnnotations(known_annotations)
    if problems := place_problems(config, str(file)) or images_of(config).problems(annotations):
        raise BadInput(problems)
    annotations.keep()
    return config
