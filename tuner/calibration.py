"""Which rungs are worth their evaluations: chosen by the first trials, which run to the end.

Candidates are the halvings of the full length. How well one tells the end is Kendall's rank correlation over
all pairs of those trials,

    tau = (pairs in the order of the end - pairs in the other order) / (pairs + 1)

where ties count for neither order, and the one pair more keeps a perfect order of few from looking certain.
Its 95 % interval is tanh(artanh tau ± 1.96 √(0.437 / (trials - 4))) (Fieller, Hartley and Pearson 1957).

The shortest candidate whose interval lies above 0 becomes the first rung. Later ones are nearer to the end:
they need no proof of their own, but become rungs only where tau is higher than at the rung before, as they
would cost an evaluation and add nothing. No two neighbours are left out there, as ASHA lets go on the share
that a rung is of the next: a quarter at least. Where no interval of the first 8 trials lies above 0, 16 are
looked at; then the end is the only rung. Where in truth nothing correlates, one study in seven still takes
rungs.

The end is as noisy as a single training. Where trials differ by the noise between seeds alone, only late
candidates correlate with it, as they share its seed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import atanh, sqrt, tanh

from tuner.job import JobSpec
from tuner.trial import Outcome, Record

TRIALS = (8, 16)
"""So many that completed are calibrated by. A true tau of 0.7 is told from none by 8 in 74 % of cases, one of
0.5 by 16 in 85 %; none is taken for one by 8 in 1.6 %, by 16 in 2.4 %."""


@dataclass(frozen=True)
class Candidate:
    iteration: int
    tau: float
    """Its rank correlation with the end."""
    low: float
    """The 95 % interval of tau."""
    high: float


@dataclass(frozen=True)
class Calibration:
    trials: tuple[int, ...]
    """The numbers of those that it was made by."""
    candidates: tuple[Candidate, ...]
    """From the shortest on, without the end."""
    rungs: tuple[int, ...]


def calibrated(job: JobSpec, records: Iterable[Record]) -> JobSpec:
    """The job with its rungs, if they are to be chosen and can be."""
    found = calibration(job, records)
    if found is None:
        return job
    return job.model_copy(update={"fidelity": job.fidelity.model_copy(update={"rungs": found.rungs})})


def calibration(job: JobSpec, records: Iterable[Record]) -> Calibration | None:
    """By the first trials that completed; None where rungs are given, and while too few have."""
    if job.fidelity.rungs != "auto":
        return None
    first: list[Record] = []
    for record in (record for record in records if record.trial.repeats is None):
        if record.outcome is None:
            return None
        if record.outcome is not Outcome.COMPLETED:
            continue
        first.append(record)
        if len(first) in TRIALS:
            found = _calibration(job, first)
            if len(found.rungs) > 1 or len(first) == TRIALS[-1]:
                return found
    return None


def _calibration(job: JobSpec, first: Sequence[Record]) -> Calibration:
    *stops, end = job.fidelity.stops
    values = {
        stop: [record.value(job.objective.metric, stop) or 0.0 for record in first] for stop in (*stops, end)
    }
    candidates = tuple(_candidate(stop, values[stop], values[end]) for stop in stops)
    return Calibration(
        trials=tuple(record.trial.number for record in first),
        candidates=candidates,
        rungs=(*_chosen(candidates), end),
    )


def _candidate(iteration: int, there: Sequence[float], at_end: Sequence[float]) -> Candidate:
    pairs = list(combinations(zip(there, at_end, strict=True), 2))
    products = [(a - b) * (a_at_end - b_at_end) for (a, a_at_end), (b, b_at_end) in pairs]
    tau = sum((each > 0) - (each < 0) for each in products) / (len(pairs) + 1)
    half = 1.96 * sqrt(0.437 / (len(there) - 4))
    return Candidate(iteration, tau, tanh(atanh(tau) - half), tanh(atanh(tau) + half))


def _chosen(candidates: Iterable[Candidate]) -> Iterator[int]:
    rung: Candidate | None = None
    one_is_left_out = False
    for candidate in candidates:
        is_taken = candidate.low > 0 if rung is None else candidate.tau > rung.tau or one_is_left_out
        if is_taken:
            rung = candidate
            yield candidate.iteration
        one_is_left_out = rung is not None and not is_taken
