"""Says in words what a study has found out: why it ended, its rungs, its verdicts."""

from collections.abc import Iterator

from tuner.study.history import History
from tuner.study.replication import compared
from tuner.study.rung_selection import TRIALS, CandidateRung, rung_selection, signal_selection
from tuner.study.stopping import stop_reason
from tuner.tracking.report.sentences import headline


def report(history: History) -> str:
    """Says why the search ended, what its rungs were worth, and its verdicts."""
    return "\n".join([*_stop(history), *_rungs(history), headline(history).sentence, *_centers(history)])


def _stop(history: History) -> Iterator[str]:
    if reason := stop_reason(history):
        trials = f"{len(history.search)} of {history.job.budget.trials} trials"
        yield f"search: ended after {trials}: {reason}"


def _rungs(history: History) -> Iterator[str]:
    """Says how well each candidate predicts the end, where the study chooses rungs or signals."""
    fidelity = history.job.fidelity
    if fidelity.rungs != "auto" and fidelity.prune_by != "auto":
        return
    found = rung_selection(history) if fidelity.rungs == "auto" else signal_selection(history)
    if found is None:
        what = "rungs" if fidelity.rungs == "auto" else "signals that compare at rungs"
        yield "{}: not chosen yet, by the first {} trials that complete, or the first {}".format(
            what, *TRIALS
        )
        return
    rungs = ", ".join(map(str, found.rungs))
    trials = len(found.trials)
    yield f"rungs: {rungs}. Rank correlation with the end, by {trials} trials (Kendall's tau, 95 % interval):"
    yield from (_worth(history, each, each.iteration in found.rungs) for each in found.candidates)


def _worth(history: History, candidate: CandidateRung, is_rung: bool) -> str:
    signal = history.job.objective.metric if candidate.signal == "metric" else candidate.signal
    by = "" if history.job.fidelity.prune_by == "metric" else f" by {signal}"
    use = f"a rung{by}" if is_rung else "left out"
    interval = f"{candidate.low:+.2f} to {candidate.high:+.2f}"
    return f"  {candidate.iteration}: {candidate.tau:+.2f} ({interval}), {use}"


def _centers(history: History) -> Iterator[str]:
    """Says which number of centers is best, where the best trials of several numbers were replicated."""
    job, found = history.job, compared(history)
    if found is None:
        return
    yield (
        f"centers: {found.centers} came out best (trial {found.trial}), {found.ruling}. "
        f"Others against it, over {found.seeds} seeds ({job.objective.metric}, 95 % interval):"
    )
    for other in found.others:
        interval = f"{other.low:+.2f} to {other.high:+.2f}"
        yield f"  {other.centers} (trial {other.trial}): {other.difference:+.2f} ({interval}), {other.ruling}"
