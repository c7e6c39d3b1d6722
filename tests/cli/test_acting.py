"""Commands that act on a study, where nobody drives it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.conftest import JobFile
from tests.learning_curves import curve
from tests.loop import DEFAULT, steps
from tuner.cli import cli
from tuner.errors import BadInput, TunerError
from tuner.files.paths import Home
from tuner.search.scheduling import scheduler_for
from tuner.spec.yaml_files import read_job
from tuner.store.studies import load_study, open_study, studies
from tuner.study.study import Study

Call = Callable[..., str]


@pytest.fixture
def call(home: Path) -> Call:
    """The command line in this process; what it raises is raised."""

    def invoke(*words: object) -> str:
        done = CliRunner().invoke(cli, ["--home", str(home), *map(str, words)])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output

    return invoke


@pytest.fixture(autouse=True)
def ended(home: Path, job_file: JobFile) -> None:
    """A study that has ended after three trials."""
    job = read_job(job_file(budget={"trials": 3}))
    store = open_study(Home(home).storage, job, {"data": "abc"}, DEFAULT)
    with store.driven():
        list(steps(Study(job, store, scheduler_for), curve))


def test_a_study_that_has_ended_is_given_more_and_its_events_tell_it(home: Path, call: Call) -> None:
    assert call("add", "syn", "lr=2e-3", "centers=25") == "is trial 3\n"
    assert call("budget", "syn", "--trials", "+20", "--seeds", "3") == "trials 24, seeds 3\n"
    assert call("stop", "syn", "--trial", "3") == "stopped\n"
    assert call("stop", "syn", "--trial", "3") == "it had ended\n"
    assert call("pause", "syn") == "left\n"
    events = call("events", "syn").splitlines()
    assert [line.rpartition(": ")[2] for line in events] == [
        "is trial 3",
        "trials 24, seeds 3",
        "stopped",
        "it had ended",
        "left",
    ]
    assert "add lr=0.002 weight_decay=0.0001 centers=25:" in events[0]
    for name in ("report.md", "report.html"):
        call("report", "syn", "--to", home / name)
    assert (
        " | add lr=0.002 weight\\_decay=0.0001 centers=25 | is trial 3 |" in (home / "report.md").read_text()
    )
    assert (
        "<td>budget trials=+20 seeds=3</td><td>trials 24, seeds 3</td>" in (home / "report.html").read_text()
    )
    store = load_study(Home(home).storage, "syn")
    assert (len(store.records()), store.job.budget.trials) == (4, 24)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("add", "syn", "learning_rate=1"), r"learning_rate: the space has lr, weight_decay, centers"),
        (("add", "syn", "lr=fast"), r"lr: must be .*, got fast"),
        (("add", "syn", "centers=5", "lr=7"), r"(?s)centers: must be 4, .*, got 5.*lr: must be .*, got 7"),
        (("add", "syn", "lr"), r"must be key=value, got lr"),
        (("budget", "syn"), r"needs --trials, --hours or --seeds"),
        (("budget", "syn", "--trials", "many"), r"budget: .*trials.*"),
        (("budget", "syn", "--trials", "+x"), r"budget: .*"),
        (("budget", "syn", "--trials", "-5"), r"budget: .*greater than 0"),
        (("stop", "syn", "--trial", "7"), r"has no trial 7"),
        (("delete", "syn"), r"say --yes"),
    ],
)
def test_what_cannot_be_done_is_told_and_nothing_is_asked(
    call: Call, words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        call(*words)
    assert call("events", "syn") == ""


def test_a_study_that_is_not_there_is_named(call: Call) -> None:
    with pytest.raises(TunerError, match="there is no study nowhere"):
        call("pause", "nowhere")


def test_a_deleted_study_leaves_nothing(home: Path, call: Call) -> None:
    folder = Home(home).trial("syn", 0).root
    assert isinstance(folder, Path)
    folder.mkdir(parents=True)
    assert call("delete", "syn", "--yes").endswith("syn: deleted\n")  # below what MLflow may log
    assert studies(Home(home).storage) == []
    assert not Home(home).study("syn").exists()
