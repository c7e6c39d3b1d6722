"""Generated job and space files: refused with BadInput, or good for a trial.

GENERATED=10000 python -m pytest tests/test_generated.py
"""

import os
from pathlib import Path
from runpy import run_path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import optuna
import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from tests.conftest import JOB, ROOT
from tuner.errors import BadInput, TunerError
from tuner.search.ask import decided, draw
from tuner.sizing.trial_config import default_params, trial_config
from tuner.spec.job import JobSpec
from tuner.spec.trial import Config, Trial
from tuner.spec.yaml_files import read_job

EXAMPLES = int(os.environ.get("GENERATED", "200"))
CONFIG: Config = {
    key: value for key, value in run_path(str(ROOT / "configs/synthetic.py")).items() if key[0] != "_"
}
NAMES = ("lr", "decay", "centers", "kind")
PATHS = ("optimizer.lr", "optimizer.weight_decay", "optimizer.type", "model.backbone.centers.0")
TYPES = ("float", "int", "choice")

odd = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
numbers = st.sampled_from([0, 1, 4, 1e-5, 1e-4, 1e-2, 0.5, 25, 2**60]) | st.floats() | st.integers()
values = numbers | st.sampled_from(["AdamW", "SGD"]) | odd
expressions = st.recursive(
    st.sampled_from([*NAMES, "1", "1e-3", "0", "2.5"]) | st.text("ab(*+- ", max_size=5),
    lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from(["+", "*", "/", "**", "-"]), inner),
    max_leaves=4,
)
comparisons = st.builds(
    "{} {} {}".format, expressions, st.sampled_from(["<", "<=", "!=", "and"]), expressions
)


def mostly(good: st.SearchStrategy[Any], bad: st.SearchStrategy[Any] = odd) -> st.SearchStrategy[Any]:
    return st.one_of(good, good, good, good, good, bad)


def mapping(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {key: mostly(value) for key, value in required.items()},
        optional={key: mostly(value) for key, value in optional.items()},
    )


parameters = st.one_of(
    mapping(
        {"type": st.sampled_from(TYPES), "sets": st.sampled_from(PATHS)},
        {"low": numbers, "high": numbers, "log": st.booleans(), "step": numbers, "choices": st.lists(values)},
    ),
    mapping(
        {"type": st.just("float"), "low": st.sampled_from([0, 1e-5]), "high": st.sampled_from([1e-2, 1.0])},
        {
            "log": st.booleans(),
            "step": st.sampled_from([1e-5, 1e-3]),
        },
    ).flatmap(lambda found: st.sampled_from(PATHS[:2]).map(lambda path: found | {"sets": path})),
    mapping(
        {"type": st.just("choice"), "choices": st.lists(st.sampled_from([4, 25, 49, 20, "AdamW", "SGD"]))},
        {"only_when": st.dictionaries(st.sampled_from([*NAMES, *PATHS]), values, max_size=1)},
    ).flatmap(lambda found: st.sampled_from(PATHS[2:]).map(lambda path: found | {"sets": path})),
)
ranges = st.fixed_dictionaries(
    {"type": st.just("float"), "low": st.floats(1e-9, 1e-4), "high": st.floats(1e-4, 1e6)},
    optional={
        "log": st.booleans(),
        "only_when": st.just({"kind": "AdamW"}),
    },
)
sound = st.fixed_dictionaries(
    {
        "kind": st.just({"type": "choice", "choices": ["AdamW", "SGD"], "sets": PATHS[2]}),
        "lr": ranges.map(lambda found: found | {"sets": PATHS[0]}),
    },
    optional={
        "decay": ranges.map(lambda found: found | {"sets": [PATHS[1]]}),
        "centers": st.sets(st.sampled_from([9, 25, 49])).map(
            lambda more: {"type": "choice", "choices": [4, *sorted(more)], "sets": PATHS[3]}
        ),
    },
)
good_constraints = st.lists(
    st.sampled_from(["lr <= 1", "not lr > 0.5 or lr / 2 < 3", "lr * 2 < 1"]), max_size=2
)
sound_spaces = st.fixed_dictionaries({"parameters": sound}, optional={"constraints": good_constraints})
wild_spaces = mapping(
    {
        "parameters": st.one_of(
            sound,
            sound,
            st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), parameters, max_size=4),
        )
    },
    {"constraints": st.lists(comparisons | st.text(max_size=6), max_size=2)},
)
spaces = st.one_of(sound_spaces, wild_spaces)
jobs = mapping(
    {},
    {
        "name": st.text(max_size=5),
        "budget": st.fixed_dictionaries({"trials": numbers}, optional={"hours": numbers}),
        "fidelity": st.fixed_dictionaries(
            {"iterations": numbers}, optional={"rungs": st.lists(numbers) | st.just("auto")}
        ),
        "resources": st.fixed_dictionaries({"global_batch": numbers}, optional={"ranks": numbers}),
        "objective": st.dictionaries(st.sampled_from(["metric", "direction"]), values),
        "seed": numbers,
        "image_side": numbers,
        "search": st.dictionaries(
            st.sampled_from(["sampler", "scheduler", "warm_start_from", "x"]), st.text(max_size=5)
        ),
        "data_root": st.text(max_size=4),
        "config": st.text(max_size=4),
    },
)


def read(folder: Path, space: object, job: dict[str, Any]) -> JobSpec:
    (folder / "space.yaml").write_text(yaml.safe_dump(space))
    (folder / "job.yaml").write_text(yaml.safe_dump(JOB | job | {"space": "space.yaml"}))
    return read_job(folder / "job.yaml")


def runs(job: JobSpec) -> None:
    """The default and a drawn trial make configs."""
    study = optuna.create_study(study_name=job.name, direction=job.objective.direction)
    default = decided(default_params(job, CONFIG), job.space)
    default.state, default.value, default.datetime_complete = TrialState.COMPLETE, 1.0, default.datetime_start
    study.add_trial(default)
    seen = study.get_trials()
    event("accepted")
    try:
        drawn = draw(job, seen, job.space.allows)
    except TunerError:
        event("constraints leave nothing but the default")
        return
    study.add_trial(drawn)
    for trial in study.get_trials():
        trial_config(job, CONFIG, Trial(trial.number, trial.params, job.seed))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(space=spaces, job=mostly(st.just({}), jobs))
def test_a_generated_job_is_refused_with_reasons_or_runs(space: object, job: object) -> None:
    with TemporaryDirectory() as folder, patch("tuner.search.ask.ATTEMPTS", 20):
        try:
            runs(read(Path(folder), space, job if isinstance(job, dict) else {"odd": job}))
        except BadInput:
            event("refused")
