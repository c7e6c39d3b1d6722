"""Shows on the terminal what needs no study: a job's plan, and a sweep of the centers."""

from collections.abc import Iterable

from rich import box
from rich.table import Table

from tuner.sizing.memory import GIB, RESERVE, Memory
from tuner.sizing.plan import Forecast, Plan
from tuner.sizing.precision import FLOAT32
from tuner.spec.trial import Swept, Value


def plan_table(plan: Plan) -> Table:
    """Shows what a job would do, and a row for each corner of its space."""
    job, ranks = plan.job, plan.job.resources.processes
    facts = (
        f"{job.name}: {job.budget.trials} trials of {ranks} {'rank' if ranks == 1 else 'ranks'} "
        f"({job.resources.gpus_per_trial:g} GPUs), {plan.images} images a rank at a time; "
        f"rungs {job.fidelity.rungs_text}{'' if plan.precision == FLOAT32 else f'; in {plan.precision}'}"
    )
    params = [*plan.corners[0].params] if plan.corners else []
    heads = [*params, "weights", "activations", "temporary", "CUDA, NCCL, buckets", "a rank needs"]
    table = Table("", *heads, title=facts, title_justify="left", box=box.SIMPLE_HEAD, caption=_room(plan))
    if plan.default:
        table.add_row("default", *[""] * len(params), *_gibibytes(plan.default))
    for corner in plan.corners:
        values = [short(corner.params[name]) for name in params]
        table.add_row("" if corner.fits else "too large", *values, *_gibibytes(corner.memory))
    return table


def seeds_text(plan: Plan) -> str:
    """Says how many seeds a difference needs, and how many the job has."""
    needed, seeds = plan.seeds, plan.job.budget.seeds
    if needed is None:
        return f"seeds: the noise of {plan.job.objective.metric} between seeds is not known yet"
    each = ", ".join(f"{difference:g} needs {count}" for difference, count in needed.seeds.items())
    has = f"budget.seeds is {seeds} at most" if seeds > 1 else "budget.seeds is 1: there will be no verdict"
    return f"seeds: noise {needed.noise:.2f}, {needed.source}. A difference of {each}; {has}"


def cost_text(plan: Plan, forecast: Forecast | None) -> str:
    """Says what the search and its verdict cost, in GPU-hours where the time of a training is known."""
    job = plan.job
    search = forecast.trainings if forecast else float(job.budget.trials)
    trainings = f"{'about' if forecast else 'at most'} {search:.3g} trainings of full length for the search"
    trainings += f", at most {plan.verdict} more for the verdict" if plan.verdict else ""
    if plan.training is None:
        return f"cost: {trainings}; --step-seconds, or an earlier study of the config, tells the hours"
    gpus, one = job.resources.gpus_per_trial or 1, plan.training.hours
    hours = "GPU-hours" if job.resources.gpus_per_trial else "hours of computing"
    verdict = f" and at most {one * gpus * plan.verdict:.3g}" if plan.verdict else ""
    return (
        f"cost: {one * gpus * search:.3g} {hours}{verdict}: {trainings}; "
        f"one takes {one * gpus:.3g} ({plan.training.source})"
    )


def forecast_text(plan: Plan, forecast: Forecast | None) -> str:
    """Says what simulated searches found over the nearest recorded curves, and names these."""
    metric = plan.job.objective.metric
    if forecast is None:
        return "chances: no recorded curves vary the same parameters; `tuner record` makes some"
    found = ", ".join(f"+{gain:g} in {count}" for gain, count in forecast.found.items())
    return (
        f"chances: of {forecast.studies} simulated searches over {forecast.curves.name} (the nearest recorded "
        f"curves, {forecast.recorded} short trainings of small nets) the best trial truly gained {found} {metric}; "
        f"there the default is {forecast.short:.2f} short of the best, which other images need not share"
    )


def _gibibytes(memory: Memory) -> list[str]:
    parts = memory.weights, memory.activations, memory.temporary, memory.buckets + RESERVE, memory.total
    return [f"{part / GIB:.2f} GiB" for part in parts]


def _room(plan: Plan) -> str:
    if plan.default is None:
        return "memory is computed for Context Cluster with Semantic FPN alone"
    if plan.job.resources.gpu_memory is None:
        return "resources.gpu_memory is not set: no trial is left out"
    return f"a rank has {plan.job.resources.memory_per_rank:g} GiB: what is too large is not drawn"


def sweep_table(swept: Iterable[Swept]) -> Table:
    table = Table("stage", "centers", "mIoU", "images per second", box=box.SIMPLE_HEAD)
    for each in swept:
        where = "all" if each.stage is None else str(each.stage)
        values = f"{each.metrics['mIoU']:.2f}", f"{each.images_per_second:.1f}"
        table.add_row(where, str(each.centers), *values)
    return table


def short(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
