"""Says of trials that failed what happened, why, and what to do about it."""

import json
import shlex
from collections.abc import Iterable, Mapping

import yaml

from tuner.spec.job import JobSpec
from tuner.spec.trial import Outcome, Record, Value
from tuner.tracking.report.markdown import coded, escaped, fenced

REMEDIES: Mapping[Outcome, str] = {
    Outcome.OUT_OF_MEMORY: (
        "Fewer images at once, and activations computed again where the backbone can, did not fit either. "
        "Set resources.gpu_memory in the job, so that no trial is drawn that needs more, or give a trial more GPUs; "
        "tuner plan JOB shows what trials need."
    ),
    Outcome.DIVERGED: (
        "The search has learnt from it and needs nothing. Where many trials diverge, lower the highest learning "
        "rate of the space, or clip gradients in the config (optimizer_config.grad_clip)."
    ),
    Outcome.CRASHED: (
        "See how far it came with tuner logs STUDY --trial N. Once the cause is mended, tuner add STUDY with its "
        "values trains it as a new trial; a default that crashed needs a study of another name."
    ),
}
"""What to do about each kind of failure."""
LONGEST = 4000
"""Letters of a reason; the stacks of ranks that hung may be more."""


def failures(records: Iterable[Record]) -> list[Record]:
    """Lists the trials that failed."""
    return [record for record in records if record.outcome and record.outcome.failed]


def remedies(failed: Iterable[Record]) -> dict[str, str]:
    """Returns what to do about each kind of failure that occurred."""
    occurred = {record.outcome for record in failed}
    return {outcome.value: text for outcome, text in REMEDIES.items() if outcome in occurred}


def failure_note(job: JobSpec, record: Record) -> str:
    """Writes the note of a failed trial in Markdown: what failed, why, what to do. It is empty for all others."""
    outcome = record.outcome
    if outcome is None or not outcome.failed:
        return ""
    reached = f"after iteration {record.last.iteration}" if record.last else "before its first evaluation"
    what = f"**Trial {record.trial.number} failed {reached}: {outcome.value}.**"
    remedy = f"What to do: {escaped(REMEDIES[outcome])}"
    return "\n\n".join([what, f"Why: {_reason(record.note)}", remedy, *_commands(job, record)])


def _reason(note: str) -> str:
    """Writes one line as it is, and more as a block."""
    text = note.strip() if len(note) <= LONGEST else f"{note[:LONGEST]}…"
    return f"\n\n{fenced(text, '')}" if "\n" in text else escaped(text or "unknown")


def _commands(job: JobSpec, record: Record) -> list[str]:
    """Returns the commands that a crash calls for, with the trial's own number and values."""
    trial = record.trial
    if record.outcome is not Outcome.CRASHED:
        return []
    log = f"tuner logs {job.name} --trial {trial.number}"
    if trial.number == 0 or trial.replicate_of is not None:
        return [coded(log)]
    values = (shlex.quote(f"{name}={_written(value)}") for name, value in trial.params.items())
    return [coded(log), coded(f"tuner add {job.name} {' '.join(values)}")]


def _written(value: Value) -> str:
    """Writes a value on one line, as YAML reads it."""
    return (
        json.dumps(value, ensure_ascii=False) if isinstance(value, str) else yaml.safe_dump(value).split()[0]
    )
