"""What a study has found out, in words: why it ended, its rungs, its verdicts."""

from collections.abc import Iterable, Iterator

from tuner.budget import ending
from tuner.calibration import TRIALS, Candidate, calibration
from tuner.job import JobSpec
from tuner.race import compared, judged
from tuner.trial import Record


def report(job: JobSpec, records: Iterable[Record]) -> str:
    known = list(records)
    parts = [*_ending(job, known), *_rungs(job, known), _verdict(job, known), *_centers(job, known)]
    return "\n".join(parts)


def _ending(job: JobSpec, records: list[Record]) -> Iterator[str]:
    if reason := ending(job, records):
        trials = sum(record.trial.repeats is None for record in records)
        yield f"search: ended after {trials} of {job.budget.trials} trials: {reason}"


def _rungs(job: JobSpec, records: Iterable[Record]) -> Iterator[str]:
    """What the candidates were worth, where rungs are chosen."""
    if job.fidelity.rungs != "auto":
        return
    found = calibration(job, records)
    if found is None:
        yield "rungs: not chosen yet, by the first {} trials that complete, or the first {}".format(*TRIALS)
        return
    rungs = ", ".join(map(str, found.rungs))
    trials = len(found.trials)
    yield f"rungs: {rungs}. Rank correlation with the end, by {trials} trials (Kendall's tau, 95 % interval):"
    yield from (_worth(each, each.iteration in found.rungs) for each in found.candidates)


def _worth(candidate: Candidate, is_rung: bool) -> str:
    use = "a rung" if is_rung else "left out"
    interval = f"{candidate.low:+.2f} to {candidate.high:+.2f}"
    return f"  {candidate.iteration}: {candidate.tau:+.2f} ({interval}), {use}"


def _verdict(job: JobSpec, records: Iterable[Record]) -> str:
    """What the repeats say, or why they say nothing yet."""
    found = judged(job, records)
    if job.budget.seeds < 2:
        return "verdict: none, as budget.seeds is 1: the best of single trainings may be best by chance"
    if found is None:
        return "verdict: not yet, the repeats over other seeds are missing"
    interval = f"95 % interval {found.low:+.2f} to {found.high:+.2f}"
    return (
        f"verdict: {found.ruling}. Trial {found.candidate} against the default, over {found.seeds} seeds: "
        f"{job.objective.metric} {found.difference:+.2f} ({interval}), "
        f"better with probability {found.probability:.3f}"
    )


def _centers(job: JobSpec, records: Iterable[Record]) -> Iterator[str]:
    """Which number of centers is best, where the best of several were repeated."""
    found = compared(job, records)
    if found is None:
        return
    yield (
        f"centers: {found.centers} came out best (trial {found.trial}), {found.ruling}. "
        f"Others against it, over {found.seeds} seeds ({job.objective.metric}, 95 % interval):"
    )
    for other in found.others:
        interval = f"{other.low:+.2f} to {other.high:+.2f}"
        yield f"  {other.centers} (trial {other.trial}): {other.difference:+.2f} ({interval}), {other.ruling}"
