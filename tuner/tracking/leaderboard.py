"""Prepares MLflow's page for a study: its leaderboard, its charts, and its trials grouped over seeds."""

import json
import re
from typing import Any, TypeAlias

from tuner.spec.job import JobSpec
from tuner.tracking.report.spending import unit

VIEW, SEEDS = "leaderboard", "seeds"
"""The shared views: one row for each trial of the search, and the trainings of each trial over seeds in a group."""
VIEW_TAG, VIEW_KEY = "mlflow.sharedViewState.", "viewStateShareKey"
"""The beginning of the tag in which MLflow's page keeps a shared view, and the view's key in an address. Neither
they nor the form of a view, see `leaderboard`, are documented; checked with MLflow 3.17."""
TRAINING = "workflowType=machine_learning"
"""Opens the page in its mode for trainings instead of the one for language models."""
TRIALS, OVER_TIME, COST, IMAGES = "Trials", "Over iterations", "Cost", "Predictions"
REPORT = "report.html"
STUDY = "tuner.study"
GROUP = "trial"
"""The tag that a trial shares with its replicates."""
PREDICTION = "prediction_"
TRAIN_LOSS = "train_loss"
LONGEST_NAME = 230
"""Letters; MLflow takes 250, and some names get a word more."""

MOST_BYTES = 50e6
"""The images of a study, as MLflow keeps them."""
BYTES = 56e3
"""The bytes of one strip 512 pixels wide, in fewer colours and as its smaller copy."""

Chart: TypeAlias = dict[str, Any]


def safe_name(name: str) -> str:
    """Turns a name into one that MLflow accepts for a metric or a param, with letters of any alphabet."""
    return re.sub(r"[^\w\-. :]", "_", name)[:LONGEST_NAME].strip()


def mean_and_deviation(job: JobSpec) -> tuple[str, str]:
    """Returns the metrics that hold a trial's mean and standard deviation over seeds."""
    metric = safe_name(job.objective.metric)
    return f"{metric} mean", f"{metric} SD"


def log_name(parameter: str) -> str:
    """Returns the metric that holds a parameter's logarithm: the page's scatter plots have no log axis."""
    return f"log10 {safe_name(parameter)}"


def log_parameters(job: JobSpec) -> list[str]:
    return [name for name, parameter in job.space.parameters.items() if getattr(parameter, "log", False)]


def shown_images(job: JobSpec) -> tuple[int, bool]:
    """Returns how many images of a trial are shown, and whether at every evaluation or once it has ended.

    All of a study take at most `MOST_BYTES`: where they would be more, the last of each trial are shown, and of
    very many trials fewer.
    """
    wanted, trials = job.predictions.images, job.budget.trials
    most = int(MOST_BYTES / (trials * BYTES * (job.predictions.width / 512) ** 2))
    if wanted * len(job.fidelity.evaluation_points) <= most:
        return wanted, True
    return min(wanted, most), False


def views(job: JobSpec, study_id: str, parent: str) -> dict[str, str]:
    """Returns the experiment's tags that hold the shared views."""
    prepared = {VIEW: leaderboard(job, parent), SEEDS: _grouped(job, study_id, parent)}
    return {f"{VIEW_TAG}{name}": json.dumps(view) for name, view in prepared.items()}


def leaderboard(job: JobSpec, parent: str) -> dict[str, Any]:
    """Shows the trials of a study by their objective, and charts, in the words of MLflow's page.

    Sorted by a metric, the page shows no nesting: the parent and the replicates are left out by the filter.
    """
    charts = _charts(job)
    sections = dict.fromkeys(chart["metricSectionId"] for chart in charts)
    return {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{parent}'",
        "orderByKey": f"metrics.`{safe_name(job.objective.metric)}`",
        "orderByAsc": job.objective.direction == "minimize",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": _columns(job),
        "compareRunSections": [
            {"uuid": name, "name": name, "display": True, "isReordered": True, **_size(name, job)}
            for name in sections
        ],
        "isAccordionReordered": True,
        "compareRunCharts": charts,
    }


def _grouped(job: JobSpec, study_id: str, parent: str) -> dict[str, Any]:
    groups = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": GROUP}]}
    everyone = {"searchFilter": f"tags.`tuner.study` = '{study_id}' AND tags.`{GROUP}` != ''"}
    return leaderboard(job, parent) | everyone | {"groupBy": groups}


def _columns(job: JobSpec) -> list[str]:
    metrics = [safe_name(job.objective.metric), *mean_and_deviation(job), unit(job)]
    if job.objective.cost:
        metrics.append(job.objective.cost)
    params = [f"params.`{safe_name(name)}`" for name in job.space.parameters]
    return [*(f"metrics.`{name}`" for name in metrics), *params, "tags.`outcome`"]


def _charts(job: JobSpec) -> list[Chart]:
    metric = safe_name(job.objective.metric)
    params = [safe_name(name) for name in job.space.parameters]
    images = [f"{PREDICTION}{position}" for position in range(shown_images(job)[0])]
    grid = {"imageKeys": images, "step": job.fidelity.iterations, "showRunParams": True}
    return [
        *([_chart("IMAGE", IMAGES, "grid") | grid] if images else []),
        _chart("PARALLEL", TRIALS, "parallel") | {"selectedParams": params, "selectedMetrics": [metric]},
        *(_scatter(log_name(name), metric, TRIALS) for name in log_parameters(job)),
        _line(metric),
        _line(TRAIN_LOSS),
        _scatter(unit(job), metric, COST),
        *([_scatter(job.objective.cost, metric, COST)] if job.objective.cost else []),
    ]


def _line(metric: str) -> Chart:
    unsmoothed = {"lineSmoothness": 0, "useGlobalLineSmoothing": False}
    what = {"metricKey": metric, "selectedMetricKeys": [metric], "xAxisKey": "step"}
    return _chart("LINE", OVER_TIME, metric) | what | unsmoothed


def _scatter(over: str, metric: str, section: str) -> Chart:
    axes = {"xaxis": {"key": over, "type": "METRIC"}, "yaxis": {"key": metric, "type": "METRIC"}}
    return _chart("SCATTER", section, over) | axes | {"runsCountToCompare": 100}


def _chart(kind: str, section: str, of: str) -> Chart:
    uuid = f"{kind.lower()} of {of}"
    return {"uuid": uuid, "type": kind, "metricSectionId": section, "deleted": False, "isGenerated": False}


def _size(section: str, job: JobSpec) -> dict[str, int]:
    """Returns how many charts stand in a row, and the height of an image grid, which needs all of the row."""
    if section != IMAGES:
        return {"columns": 2}
    return {"columns": 1, "cardHeight": min(900, 230 + 130 * shown_images(job)[0])}
