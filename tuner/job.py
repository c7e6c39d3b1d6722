"""What was asked for, fully decided before anything starts. The YAML of a job has exactly these keys."""

from math import inf, sqrt
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from tuner.objective import Objective
from tuner.space import Space, Strict, is_square

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
HALVINGS = (16, 8, 4, 2, 1)
Rungs: TypeAlias = Annotated[
    Annotated[tuple[Annotated[int, Field(gt=0)], ...], Tag("[rungs]")]
    | Annotated[Literal["auto"], Tag("[auto]")],
    Discriminator(lambda rungs: "[auto]" if isinstance(rungs, str) else "[rungs]"),
]


class Budget(Strict):
    trials: int = Field(gt=0)
    """How many trials the study has, the default included."""
    seeds: int = Field(default=3, ge=1)
    """After the search the default, the best few and the best of each number of centers are trained again,
    with as many other seeds; 1: not."""
    hours: float = Field(default=24.0 * 7, gt=0)
    """No trial is drawn after this many hours of search, restarts included; those that run end as usual."""
    gpu_hours: float | None = Field(default=None, gt=0)
    """The search draws no more trials when its trials have held GPUs for so long; repeats come on top."""
    patience: int | None = Field(default=None, gt=0)
    """The search ends when so many trials in a row gain less than the noise between seeds, see budget.py."""
    retries: int = Field(default=2, ge=0)
    """How often a trial whose rank raised or died goes on from its checkpoint before it counts as crashed."""

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
    chooses them of the halvings of the full length, see calibration.py."""
    sweep_centers: tuple[int, ...] = ()
    """Numbers of centers at which a completed trial's weights are measured too: mIoU.centers_<number>."""
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
    def stops(self) -> tuple[int, ...]:
        """Where a trial stops to be evaluated: at all candidates until rungs are chosen of them."""
        if self.rungs == "auto":
            return tuple(sorted({max(1, round(self.iterations / parts)) for parts in HALVINGS}))
        return self.rungs or (self.iterations,)

    @property
    def rungs_text(self) -> str:
        stops = ", ".join(map(str, self.stops))
        return f"auto, of {stops}" if self.rungs == "auto" else stops

    def compares_at(self, iteration: int) -> bool:
        return self.rungs != "auto" and iteration in self.stops


class LearningRateRule(Strict):
    """How the learning rate follows the global batch: the space and the config give that of `base_batch`.

    linear: Goyal et al., "Accurate, Large Minibatch SGD", 2017; sqrt: Krizhevsky, "One weird trick", 2014.
    """

    rule: Literal["linear", "sqrt"]
    base_batch: int = Field(gt=0)
    """The global batch that the config's learning rate was chosen for."""

    def factor(self, global_batch: int) -> float:
        ratio = global_batch / self.base_batch
        return ratio if self.rule == "linear" else sqrt(ratio)


class Resources(Strict):
    gpus_per_trial: float = Field(default=1, ge=0)
    """GPUs that a trial holds; 0 trains on the CPU with gloo, less than 1 shares a GPU between trials."""
    ranks: int = Field(default=0, ge=0)
    """Processes of a trial; 0 means one a GPU."""
    cpus_per_rank: float = Field(default=1, gt=0)
    global_batch: int = Field(gt=0)
    """Pictures that one step of the optimizer sees, over all ranks."""
    lr_rule: LearningRateRule | None = None
    """None trains with the learning rate as it is drawn, whatever the global batch."""
    picture_cache: float = Field(default=0, ge=0)
    """GiB of decoded pictures that every node keeps in its temporary folder for all its ranks and trials."""
    concurrent: int = Field(default=0, ge=0)
    """Trials at a time; 0 means as many as fit."""
    strategy: Literal["pack", "spread"] = "pack"
    """A trial's ranks lie on as few nodes as possible, or on as many."""
    labels: dict[str, str] = Field(default_factory=dict)
    """What Ray's labels of a node must be for a rank to lie there."""
    fresh_processes: bool = False
    """Every trial starts processes of its own, instead of taking over those of the trial before."""
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
        """GiB; ranks that share a GPU share its memory."""
        share = min(1, self.gpus_per_rank) or 1
        return inf if self.gpu_memory is None else self.gpu_memory * share


class Search(Strict):
    sampler: Literal["tpe", "prior", "gp", "nsga2", "grid", "random"] = "tpe"
    scheduler: Literal["asha", "hyperband", "median", "none"] = "asha"
    earlier: tuple[Annotated[str, Field(pattern=NAME)], ...] = Field(default=(), alias="from")
    """Studies of the same space in the same database: the sampler knows their trials from the start."""

    @model_validator(mode="after")
    def _learns_from_earlier(self) -> "Search":
        if self.earlier and self.sampler in ("nsga2", "grid", "random"):
            raise ValueError(
                f"from: {self.sampler} learns nothing of it: take tpe, prior or gp, or remove it"
            )
        if len(set(self.earlier)) < len(self.earlier):
            raise ValueError(f"from: names a study twice: {', '.join(self.earlier)}")
        return self


class JobSpec(Strict):
    name: str = Field(pattern=NAME)
    """The study's name too."""
    config: Path
    """An mmseg config; in the file, relative to the job's own folder."""
    data_root: Path
    """Where the pictures lie; in the file, relative to the current folder."""
    corrupt_pictures: Literal["fail", "skip"] = "fail"
    """What a training picture that cannot be read does: end its trial, or leave its turn to the next."""
    picture_side: int | None = Field(default=None, gt=0)
    """Training pictures whose shorter side is longer are loaded at this size; evaluations see them whole."""
    space: Space
    """In the file, the path of a space, relative to the job's own folder."""
    objective: Objective = Objective()
    budget: Budget
    fidelity: Fidelity
    resources: Resources
    search: Search = Search()
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the sampler and of every trial: trials differ by their parameters alone."""

    @model_validator(mode="after")
    def _measures_at_rungs(self) -> "JobSpec":
        if self.fidelity.rungs == "auto" and self.objective.metric == "loss":
            raise ValueError(
                "fidelity.rungs: auto cannot compare losses, which are means since the evaluation before: "
                "name the rungs"
            )
        return self

    @model_validator(mode="after")
    def _is_not_its_own_past(self) -> "JobSpec":
        if self.name in self.search.earlier:
            raise ValueError(f"search.from: names the study itself, {self.name}: give the job another name")
        return self

    @model_validator(mode="after")
    def _looks_at_the_cost(self) -> "JobSpec":
        sampler, against = self.search.sampler, self.objective.against
        if sampler == "nsga2" and not against:
            raise ValueError(
                "search.sampler: nsga2 weighs two objectives: "
                "set objective.against to latency, parameters or memory"
            )
        if against and sampler in ("tpe", "prior", "gp"):
            raise ValueError(
                f"objective.against: {sampler} looks at {self.objective.metric} alone: "
                "set search.sampler to nsga2 (or grid, random), or remove it"
            )
        if against and self.budget.patience is not None:
            raise ValueError(
                f"budget.patience: sees gains of {self.objective.metric} alone: "
                "remove it, or objective.against"
            )
        return self

    @model_validator(mode="after")
    def _counts_gpus(self) -> "JobSpec":
        if self.budget.gpu_hours is not None and not self.resources.gpus_per_trial:
            raise ValueError("budget.gpu_hours counts no CPU (gpus_per_trial is 0): set budget.hours instead")
        return self
