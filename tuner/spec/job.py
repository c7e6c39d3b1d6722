"""Defines a job: what was asked for, decided before anything starts. Its YAML has exactly these keys."""

from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from tuner.spec.learning_rate import LearningRateRule
from tuner.spec.objective import Objective
from tuner.spec.space import Space, is_square
from tuner.spec.strict import Strict

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
HALVINGS = (16, 8, 4, 2, 1)
Rungs: TypeAlias = Annotated[
    Annotated[tuple[Annotated[int, Field(gt=0)], ...], Tag("[rungs]")]
    | Annotated[Literal["auto"], Tag("[auto]")],
    Discriminator(lambda rungs: "[auto]" if isinstance(rungs, str) else "[rungs]"),
]


class Budget(Strict):
    trials: int = Field(gt=0)
    """The number of trials of the search, the default included."""
    seeds: int = Field(default=5, ge=1)
    """The most other seeds with which the default, the best few and the best of each number of centers are trained
    again after the search, until the verdict stands; 1 trains nothing again."""
    hours: float = Field(default=24.0 * 7, gt=0)
    """No trial is drawn after this many hours of search, restarts included; running trials end as usual."""
    gpu_hours: float | None = Field(default=None, gt=0)
    """The search draws no more trials when they have held GPUs for this long; replicates come on top."""
    patience: int | None = Field(default=None, gt=0)
    """Stop after this many trials in a row whose gain is below the seed-to-seed standard deviation."""
    retries: int = Field(default=2, ge=0)
    """The number of times that a trial whose rank raised or died continues from its checkpoint."""

    @model_validator(mode="after")
    def _knows_the_noise(self) -> "Budget":
        if self.patience is not None and self.seeds < 2:
            raise ValueError(
                "patience needs the noise between seeds, for which the default is trained again: "
                f"seeds must be 2 or more, got {self.seeds}"
            )
        return self


class Fidelity(Strict):
    iterations: int = Field(gt=0)
    """The full length of a trial."""
    rungs: Rungs = ()
    """Iterations at which trials are evaluated and compared; the last is the full length. auto: the study
    chooses them of the halvings of the full length, see rung_selection.py."""
    sweep_centers: tuple[int, ...] = ()
    """Numbers of centers at which a completed trial's weights are measured too: mIoU.centers_<number>."""
    prune_by: Literal["loss", "val_loss", "metric", "auto"] = "auto"
    """The signal that compares trials at rungs: the training loss, the validation loss or the objective's metric. auto:
    a loss at first, then the one whose rank correlation with the end is best supported, see rung_selection.py."""
    schedule: Literal["truncated", "compressed"] = "truncated"
    """The learning rate's: truncated is the config's own, stopped early; compressed fits `iterations`."""

    @field_validator("sweep_centers")
    @classmethod
    def _squares(cls, counts: tuple[int, ...]) -> tuple[int, ...]:
        if wrong := [str(count) for count in counts if not is_square(count)]:
            raise ValueError(f"must be squares (4, 9, 16, …), got {', '.join(wrong)}")
        return counts

    @model_validator(mode="after")
    def _rungs_climb_to_the_end(self) -> "Fidelity":
        if self.rungs == "auto":
            return self
        if list(self.rungs) != sorted(set(self.rungs)):
            raise ValueError(f"rungs must rise, got {list(self.rungs)}")
        if self.rungs and self.rungs[-1] != self.iterations:
            raise ValueError(f"the last rung must be iterations ({self.iterations}), got {self.rungs[-1]}")
        return self

    @property
    def evaluation_points(self) -> tuple[int, ...]:
        """Says where a trial stops to be evaluated: at all candidates until rungs are chosen of them."""
        if self.rungs == "auto":
            return tuple(sorted({max(1, round(self.iterations / parts)) for parts in HALVINGS}))
        return self.rungs or (self.iterations,)

    @property
    def rungs_text(self) -> str:
        evaluation_points = ", ".join(map(str, self.evaluation_points))
        return f"auto, of {evaluation_points}" if self.rungs == "auto" else evaluation_points

    def compares_at(self, iteration: int) -> bool:
        return self.rungs != "auto" and iteration in self.evaluation_points


class Resources(Strict):
    gpus_per_trial: float = Field(default=1, ge=0)
    """GPUs that a trial holds; 0 trains on the CPU with gloo, less than 1 shares a GPU between trials."""
    ranks: int = Field(default=0, ge=0)
    """Processes of a trial; 0 means one a GPU."""
    cpus_per_rank: float = Field(default=1, gt=0)
    global_batch: int = Field(gt=0)
    """Images that one step of the optimizer sees, over all ranks."""
    precision: Literal["float32", "bf16", "fp16"] | None = None
    """The precision of the forward passes; None is the config's own: float32, or fp16 by mmcv's hook."""
    lr_rule: LearningRateRule | None = None
    """The scaling of the learning rate; None trains with it as drawn, whatever the global batch."""
    image_cache: float = Field(default=0, ge=0)
    """GiB of decoded images that every node keeps in its temporary folder for all its ranks and trials."""
    concurrent: int = Field(default=0, ge=0)
    """Trials at a time; 0 means as many as fit."""
    strategy: Literal["pack", "spread"] = "pack"
    """A trial's ranks lie on as few nodes as possible, or on as many."""
    labels: dict[str, str] = Field(default_factory=dict)
    """The Ray labels that a node must have for a rank to run there."""
    fresh_processes: bool = False
    """Every trial starts processes of its own, instead of taking over those of the trial before."""
    hang_minutes: float = Field(default=10, gt=0)
    """A trial in which nothing moves for so long, and for ten times a usual iteration, is ended and retried."""
    gpu_memory: float | None = Field(default=None, gt=0)
    """GiB of one GPU; no trial is drawn that needs more. None draws them all."""

    @model_validator(mode="after")
    def _shared_evenly(self) -> "Resources":
        if self.gpus_per_trial > 1 and self.gpus_per_trial != int(self.gpus_per_trial):
            raise ValueError(f"gpus_per_trial above 1 must be whole, got {self.gpus_per_trial:g}")
        if self.gpus_per_trial > self.processes:
            raise ValueError(f"{self.gpus_per_trial:g} GPUs need as many ranks, got {self.ranks}")
        if self.global_batch % self.processes:
            raise ValueError(
                f"global_batch must be a multiple of the ranks ({self.processes}), got {self.global_batch}"
            )
        return self

    @property
    def processes(self) -> int:
        return self.ranks or max(1, int(self.gpus_per_trial))

    @property
    def gpus_per_rank(self) -> float:
        return self.gpus_per_trial / self.processes

    @property
    def memory_per_rank(self) -> float:
        """Returns the GiB of a rank; ranks that share a GPU share its memory."""
        share = min(1, self.gpus_per_rank) or 1
        return inf if self.gpu_memory is None else self.gpu_memory * share


class Search(Strict):
    sampler: Literal["tpe", "gp", "nsga2", "grid", "random"] = "tpe"
    scheduler: Literal["asha", "screen", "none"] = "screen"
    """Who continues at a rung. Where none is named, a job with rungs: auto or two objectives has asha."""
    warm_start_from: tuple[Annotated[str, Field(pattern=NAME)], ...] = ()
    """Studies of the same space in the same database: the sampler knows their trials from the start."""

    @model_validator(mode="after")
    def _learns_from_earlier(self) -> "Search":
        if self.warm_start_from and self.sampler in ("nsga2", "grid", "random"):
            raise ValueError(
                f"warm_start_from: {self.sampler} learns nothing of it: take tpe or gp, or remove it"
            )
        if len(set(self.warm_start_from)) < len(self.warm_start_from):
            raise ValueError(f"warm_start_from: names a study twice: {', '.join(self.warm_start_from)}")
        return self


class Predictions(Strict):
    images: int = Field(default=4, ge=0, le=64)
    """The number of validation images that every trial keeps as strips at every evaluation; 0 keeps none."""
    width: int = Field(default=512, ge=96, le=4096)
    """Pixels of a strip: photo, truth and prediction next to each other."""


class JobSpec(Strict):
    name: str = Field(pattern=NAME)
    """The study's name too."""
    config: Path
    """An mmseg config; in the file, relative to the job's own folder."""
    data_root: Path
    """The folder of the images; in the file, relative to the current folder."""
    pretrained: str | None = None
    """The file of weights that the backbone begins with, or none; null leaves the config's own. In the file,
    relative to the current folder."""
    corrupt_images: Literal["fail", "skip"] = "fail"
    """The effect of an unreadable training image: it fails its trial, or the next image takes its turn."""
    image_side: int | None = Field(default=None, gt=0)
    """Training images whose shorter side is longer are loaded at this size; evaluations see them whole."""
    space: Space
    """The space; in the file, its path, relative to the job's own folder."""
    objective: Objective = Objective()
    budget: Budget
    fidelity: Fidelity
    resources: Resources
    search: Search = Search()
    predictions: Predictions = Predictions()
    seed: int = Field(default=0, ge=0, lt=2**31)
    """The seed of the sampler and of every trial: trials differ by their parameters alone."""

    @model_validator(mode="before")
    @classmethod
    def _names_its_scheduler(cls, job: Any) -> Any:
        """Takes asha where none is named and screening is not possible, or has not been shown to pay."""
        deciding = "search", "fidelity", "objective"
        parts: list[Any] = [job.get(key, {}) for key in deciding] if isinstance(job, dict) else [None]
        if not all(isinstance(part, dict) for part in parts) or "scheduler" in parts[0]:
            return job
        needs_asha = parts[1].get("rungs") == "auto" or parts[2].get("secondary")
        return {**job, "search": {**parts[0], "scheduler": "asha"}} if needs_asha else job

    @model_validator(mode="after")
    def _screens_at_a_rung(self) -> "JobSpec":
        if self.search.scheduler == "screen" and self.fidelity.rungs == "auto":
            raise ValueError(
                "search.scheduler: screen pauses trials at the first rung, which must be known: name fidelity.rungs"
            )
        return self

    @model_validator(mode="after")
    def _is_not_its_own_past(self) -> "JobSpec":
        if self.name in self.search.warm_start_from:
            raise ValueError(
                f"search.warm_start_from: names the study itself, {self.name}: give the job another name"
            )
        return self

    @model_validator(mode="after")
    def _looks_at_the_cost(self) -> "JobSpec":
        sampler, secondary = self.search.sampler, self.objective.secondary
        if sampler == "nsga2" and not secondary:
            raise ValueError(
                "search.sampler: nsga2 weighs two objectives: "
                "set objective.secondary to latency, parameters or memory"
            )
        if secondary and sampler in ("tpe", "gp"):
            raise ValueError(
                f"objective.secondary: {sampler} looks at {self.objective.metric} alone: "
                "set search.sampler to nsga2 (or grid, random), or remove it"
            )
        if secondary and self.budget.patience is not None:
            raise ValueError(
                f"budget.patience: sees gains of {self.objective.metric} alone: "
                "remove it, or objective.secondary"
            )
        return self

    @model_validator(mode="after")
    def _counts_gpus(self) -> "JobSpec":
        if self.budget.gpu_hours is not None and not self.resources.gpus_per_trial:
            raise ValueError("budget.gpu_hours counts no CPU (gpus_per_trial is 0): set budget.hours instead")
        return self
