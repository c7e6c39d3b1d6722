"""Gathers what an export holds, and writes it into a folder."""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tuner.errors import TunerError
from tuner.export import layout
from tuner.export.self_contained import module_text
from tuner.export.standalone import MODULE, standalone
from tuner.files.modules import Modules
from tuner.files.paths import ExportFolder, Home, TrialFolder
from tuner.files.provenance import made_with, sha256
from tuner.files.writing import write_json, write_text
from tuner.sizing.own_entry import in_one_entry, with_own
from tuner.spec.job import JobSpec
from tuner.spec.trial import Config, Outcome, Record
from tuner.study.history import History
from tuner.study.replication import findings
from tuner.tracking.report.spending import hours


@dataclass(frozen=True)
class Contents:
    """Holds everything that goes into an export, before it is written."""

    history: History
    record: Record
    trial: TrialFolder
    origin: Mapping[str, Any]
    config: Config
    """The trial's own config."""
    default: Config
    """The default's."""
    plain: Config
    """The standalone config."""
    gpus: int
    ranks: int

    @property
    def job(self) -> JobSpec:
        return self.history.job

    @property
    def changes(self) -> str:
        """Returns a diff of the two configs, laid out alike; nothing where they are the same."""
        pair = (self.default, self.config)
        before, after = (self._laid_out(with_own(each, accumulation=1)) for each in pair)
        return "".join(
            difflib.unified_diff(before, after, "default", f"trial {self.record.trial.number}", n=1)
        )

    def _laid_out(self, config: Config) -> list[str]:
        text = layout.text(standalone(config, self.ranks, self.ranks), "", width=40)
        return text.splitlines(keepends=True)


def contents(
    history: History, record: Record, home: Home, origin: Mapping[str, Any], gpus: int | None
) -> Contents:
    """Reads the files of a trial. Raises TunerError where they are gone, BadInput where --gpus does not fit."""
    job = history.job
    trial, ranks = home.trial(job.name, record.trial.number), job.resources.processes
    config, default = _config(trial), _config(home.trial(job.name, 0))
    if "optimizer" not in config:
        raise TunerError(f"study {job.name} trained no model, only curves by formula: nothing to export")
    if not trial.checkpoint.exists():
        raise TunerError(_gone(history, record, home))
    plain = standalone(config, ranks, gpus or ranks)
    return Contents(history, record, trial, origin, config, default, plain, gpus or ranks, ranks)


def write(found: Contents, modules: Modules, folder: ExportFolder, data_root: Path | None) -> None:
    """Writes all but the words for people, the user's own modules beside either config.

    Raises TunerError where a file cannot be copied, BadInput where a module has the name of another file.
    """
    from tuner.training.config.config import text
    from tuner.training.exported.weights import write_weights

    texts = {"config": text(found.config), "standalone": layout.text(found.plain, _heading(found))}
    write_text(folder.config, texts["config"])
    write_text(folder.standalone, texts["standalone"])
    if MODULE in (found.plain.get("custom_imports") or {}).get("imports", []):
        write_text(folder.module, module_text())
    for config in (folder.config, folder.standalone):
        modules.write(config.parent)
    try:
        write_weights(found.trial.checkpoint, folder.checkpoint, {**texts, **_meta(found)})
    except OSError as error:
        raise TunerError(f"{found.trial.root} cannot be exported: {error}") from error
    write_text(folder.changes, found.changes)
    write_json(folder.best, best_facts(found))
    write_text(folder.recorded, json.dumps(_recorded(found, folder, data_root)))
    write_json(folder.provenance, _provenance(found, folder))


def _meta(found: Contents) -> dict[str, Any]:
    """Returns what the checkpoint says of itself, iteration and epoch by mmcv's names."""
    record = found.record
    iteration = record.last.iteration if record.last else 0
    own = {"study": found.job.name, "trial": record.trial.number, "seed": record.trial.seed}
    return {"iter": iteration, "epoch": 0, **own}


def best_facts(found: Contents) -> dict[str, Any]:
    """Returns best.json."""
    record, job = found.record, found.job
    assert record.last is not None
    return {
        "study": job.name,
        "trial": record.trial.number,
        "params": dict(record.trial.params),
        "metrics": dict(record.last.metrics),
        "iteration": record.last.iteration,
        "seed": record.trial.seed,
        "ranks": found.ranks,
        "global_batch": job.resources.global_batch,
        **findings(found.history),
        **found.origin,
    }


def replicates(found: Contents) -> list[Record]:
    """Returns the completed trainings of the same parameters with other seeds."""
    number = found.record.trial.number
    again = [record for record in found.history.records if record.trial.replicate_of == number]
    return [record for record in again if record.outcome is Outcome.COMPLETED]


def _provenance(found: Contents, folder: ExportFolder) -> dict[str, Any]:
    record, job = found.record, found.job
    return {
        "study": job.name,
        "trial": record.trial.number,
        "seeds": [record.trial.seed, *(each.trial.seed for each in replicates(found))],
        "gpus": found.gpus,
        "trained_with": dict(found.origin),
        "exported_with": made_with(),
        "exported": datetime.now().astimezone().isoformat(timespec="seconds"),
        "gpu_hours" if job.resources.gpus_per_trial else "cpu_hours": hours(job, record),
        "record": asdict(record),
        "sha256": {name: sha256(folder.root / name) for name in sorted(_hashed(folder))},
    }


def _hashed(folder: ExportFolder) -> Iterator[str]:
    """Yields the files that nobody edits; of configs, key is compared by key."""
    configs = (folder.config, folder.standalone)
    for file in folder.root.rglob("*"):
        if file.is_file() and file not in configs:
            yield str(file.relative_to(folder.root))


def _recorded(found: Contents, folder: ExportFolder, data_root: Path | None) -> dict[str, Any]:
    from tuner.training.evaluation import confusion
    from tuner.training.exported.scores import images_of, placed

    recorded = confusion.read(found.trial.confusion) or {"images": [], "whole": [], "subset": []}
    try:
        files = images_of(placed(folder.config, data_root or found.job.data_root))
    except TunerError:
        files = {}  # the images are elsewhere: verification says so
    return {**recorded, "files": files}


def _config(trial: TrialFolder) -> Config:
    from tuner.training.config.config import literal

    try:
        if (text := trial.config_text()) is None:
            raise TunerError(
                f"there is no {trial.config}: are --home and --checkpoints those that the study ran with?"
            )
        return in_one_entry(literal(text))
    except (OSError, ValueError) as error:
        raise TunerError(f"{trial.config} cannot be exported: {error}") from error


def _gone(history: History, record: Record, home: Home) -> str:
    """Says what can still be done where a trial's checkpoint was removed."""
    name, number = history.job.name, record.trial.number
    trial = home.trial(name, number)
    left = [
        each.trial.number
        for each in history.records
        if each.outcome is Outcome.COMPLETED and home.trial(name, each.trial.number).checkpoint.exists()
    ]
    others = (
        f", or export one whose checkpoint is there: --trial {' or '.join(map(str, left))}" if left else ""
    )
    return (
        f"the checkpoint of trial {number} is gone ({trial.checkpoint}). Its config is there: train it again with "
        f"`tuner train {trial.config} --gpus {history.job.resources.processes}`{others}"
    )


def _heading(found: Contents) -> str:
    batch = found.job.resources.global_batch
    return (
        f"Trial {found.record.trial.number} of study {found.job.name} for plain MMSegmentation 0.19 to 0.30, or the\n"
        f"Context Cluster authors' repository: {batch} images a step on {found.gpus} GPU{'s' * (found.gpus > 1)}.\n"
        "Set the folder of the images here:"
    )
