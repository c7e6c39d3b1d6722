"""Writes the card of an export, and the commands that train and measure it again."""

from collections.abc import Mapping, Sequence
from math import sqrt
from shlex import quote
from statistics import fmean, stdev

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape
from scipy.stats import t

from tuner.export.contents import Contents, replicates
from tuner.export.layout import data_root
from tuner.export.standalone import limits
from tuner.sizing.config_paths import UnknownPath, value_at
from tuner.sizing.precision import precision_of
from tuner.study.replication import best
from tuner.tracking.report.markdown import coded, escaped, fenced
from tuner.tracking.report.sentences import headline, number
from tuner.tracking.report.spending import amount, hours

CLASS = "IoU."


def card_text(found: Contents, findings: Sequence[str], test: Mapping[str, float]) -> str:
    """Returns the card as Markdown; `findings` are what the verification found, `test` the test split's metrics."""
    job, record = found.job, found.record
    first = best(found.history)
    default = found.history.default
    return _template("card.md.j2").render(
        job=job,
        record=record,
        value=_with_interval(found),
        default=number(job, default.value(job.objective.metric) if default else None),
        is_best=first is not None and first.trial.number == record.trial.number,
        verdict=headline(found.history).sentence,
        findings=findings,
        test={name: number(job, value) for name, value in test.items() if "." not in name},
        changes=found.changes,
        classes=_classes(found),
        cost=amount(job, hours(job, record)),
        whole_cost=amount(job, sum(hours(job, each) for each in found.history.records)),
        limits=limits(found.config, found.plain),
        weights=_first_weights(found),
        gpus=found.gpus,
        ranks=found.ranks,
        images=found.config["data"]["samples_per_gpu"],
        precision=precision_of(found.config),
        data=found.origin.get("data"),
        versions=found.origin.get("versions") or {},
        has_module=bool(found.plain.get("custom_imports")),
    )


def reproduce_text(found: Contents) -> str:
    """Returns a shell script."""
    evaluation = found.plain.get("evaluation") or {}
    metric = evaluation.get("metric", "mIoU")
    return _template("reproduce.sh.j2").render(
        record=found.record,
        ranks=found.ranks,
        gpus=found.gpus,
        data_root=data_root(found.plain),
        metrics=" ".join(map(quote, [metric] if isinstance(metric, str) else metric)),
    )


def served_model() -> str:
    """Returns the code with which MLflow serves an export."""
    return _template("served_model.py.txt").render()


def description(card: str) -> str:
    """Returns a card without its classes, as the registry keeps short descriptions."""
    return card.partition("## Classes")[0].rstrip()


def _with_interval(found: Contents) -> str:
    """Says the objective over seeds: the mean with its 95 % interval (Student's), or one training's value."""
    job, metric = found.job, found.job.objective.metric
    again = replicates(found)
    picked = found.record.trial.number != 0 and again  # the value by which a trial was picked proves nothing
    trainings = again if picked else [found.record, *again]
    values = [value for each in trainings if (value := each.value(metric)) is not None]
    if len(values) < 2:
        return f"{number(job, fmean(values))} (one training: no interval)"
    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / sqrt(len(values))
    own = number(job, found.record.value(metric))
    return (
        f"{number(job, fmean(values))} ± {number(job, half)} (95 % interval over {len(values)} seeds); "
        f"these weights {own}"
    )


def _classes(found: Contents) -> list[tuple[str, str, str]]:
    """Returns name, IoU and accuracy of every class."""
    metrics = found.record.last.metrics if found.record.last else {}
    names = [name.removeprefix(CLASS) for name in metrics if name.startswith(CLASS)]
    job = found.job
    return [
        (name, number(job, metrics[CLASS + name]), number(job, metrics.get(f"Acc.{name}"))) for name in names
    ]


def _first_weights(found: Contents) -> str:
    for path in ("load_from", "model.backbone.init_cfg.checkpoint", "model.pretrained"):
        try:
            if name := value_at(found.config, path):
                return str(name)
        except (UnknownPath, TypeError):
            continue
    return ""


def _template(name: str) -> Template:
    loader = PackageLoader("tuner.export")
    environment = Environment(
        loader=loader,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=select_autoescape(),
    )
    environment.filters |= {"md": escaped, "code": coded, "fenced": fenced, "quoted": quote}
    return environment.get_template(name)
