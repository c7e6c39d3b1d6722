"""Which rungs are worth their evaluations: chosen by the first trials, which run to the end.

Candidates are the halvings of the full length. How well one tells the end is Kendall's rank correlation over
all pairs of those trials,

    tau = (pairs in the order of the end - pairs in the other order) / (pairs + 1)

where ties count for neither order, and the one pair more keeps a perfect order of few from looking certain.
Its 95 % interval is tanh(artanh tau ± 1.96 √(0.437 / (trials - 4))) (Fieller, Hartley and Pearson 1957).

From the shortest on, a candidate becomes a rung if its interval lies above 0, which 8 trials without any
correlation reach in 1.6 % of cases, and if its tau is higher than that of the rung before: else it would cost
an evaluation and add nothing. After the first rung no two neighbours are left out, as ASHA lets go on the
share that a rung is of the next: a quarter at least. The end is always a rung, and the only one where nothing
tells it.

The end is as noisy as a single training. Where trials differ by the noise between seeds alone, only late
candidates correlate with it, as they share its seed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import atanh, sqrt, tanh

from tuner.job import JobSpec
from tuner.trial import Outcome, Record

TRIALS = 8
"""So many that completed are calibrated by; with fewer a true tau of 0.8 is hardly told from none."""


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
    """By the first trials that completed; None where rungs are given, and while one of the first runs."""
    if job.fidelity.rungs != "auto":
        return None
    first: list[Record] = []
    for record in (record for record in records if record.trial.repeats is None):
        if record.outcome is None:
            return None
        if record.outcome is Outcome.COMPLETED:
            first.append(record)
        if len(first) == TRIALS:
            return _calibration(job, first)
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
        adds = rung is None or candidate.tau > rung.tau or one_is_left_out
        is_taken = candidate.low > 0 and adds
        if is_taken:
            rung = candidate
            yield candidate.iteration
        one_is_left_out = rung is not None and not is_taken
