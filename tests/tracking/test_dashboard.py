import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import mlflow
import pytest
from mlflow import MlflowClient

from tests.conftest import JobFile, clean_environment
from tests.left_over import left_over, listening, processes_of
from tests.records import STUDY
from tests.shown import Shown
from tuner.errors import TunerError
from tuner.files.paths import Home
from tuner.files.writing import write_text
from tuner.spec.yaml_files import read_job
from tuner.tracking.dashboard import open_in_browser, serve, study_urls
from tuner.tracking.leaderboard import VIEW_KEY, VIEW_TAG, leaderboard, safe_name
from tuner.tracking.mlflow import Server

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("dashboard")]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("a home"))


@pytest.fixture(scope="module")
def taken() -> Iterator[int]:
    """A port that another server has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def page(state: Home, taken: int) -> Iterator[str]:
    with serve(state.tracking, state.artifacts, taken) as address:
        yield address


def read(address: str) -> str:
    with urlopen(address, timeout=10) as answer:
        return str(answer.read().decode())


def test_page_answers_and_shows_what_was_written_straight_into_the_database(
    state: Home, page: str, job_file: JobFile
) -> None:
    job = read_job(job_file())
    write_text(state.trial(job.name, 3).config, "trial = 3\n")
    shown = Shown(Server(state.tracking, state.artifacts), job, state)
    shown.begin(STUDY)
    shown.end(STUDY)
    assert read(f"{page}/health") == "OK"
    experiment = MlflowClient(page).get_experiment_by_name(job.name)
    [best] = MlflowClient(page).search_runs([experiment.experiment_id], "tags.`tuner.trial` = '3'")
    assert read(f"{page}/get-artifact?path=config.py&run_uuid={best.info.run_id}") == "trial = 3\n"
    report, board = study_urls(page, job.name)
    whole = f"{page}/#/experiments/{experiment.experiment_id}/runs"
    parent = best.data.tags["mlflow.parentRunId"]
    assert report == f"{whole}/{parent}/artifacts/report.html?workflowType=machine_learning"
    assert board == f"{whole}?workflowType=machine_learning&viewStateShareKey=leaderboard"
    assert "<h1>" in read(f"{page}/get-artifact?path=report.html&run_uuid={parent}")


def test_the_page_of_this_mlflow_knows_what_is_not_documented(job_file: JobFile) -> None:
    scripts = (Path(mlflow.__file__).parent / "server/js/build/static/js").glob("**/*.js")
    page = "".join(script.read_text() for script in scripts)
    names = {VIEW_TAG, VIEW_KEY, *leaderboard(read_job(job_file()), "0")}
    assert {name for name in names if name not in page} == set()


def test_study_that_is_not_shown_is_named(page: str) -> None:
    with pytest.raises(TunerError, match="shows no study nowhere"):
        study_urls(page, "nowhere")


def test_address_of_a_server_is_taken_as_it_is(tmp_path: Path) -> None:
    with serve("http://mlflow.example:5000/", tmp_path, 5000) as address:
        assert address == "http://mlflow.example:5000"


def test_a_browser_opens_where_somebody_sits_at_a_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    open_in_browser("http://nobody looks")
    monkeypatch.setenv("DISPLAY", ":0")
    open_in_browser("http://somebody looks")
    assert opened == ["http://somebody looks"]


def test_page_takes_the_next_port_and_listens_on_loopback_alone(state: Home, page: str, taken: int) -> None:
    assert int(page.rpartition(":")[2]) > taken
    as_its_command_names_it = Path(urlsplit(state.artifacts.as_uri()).path)
    assert set(listening(processes_of(as_its_command_names_it))) == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("before", "ending", "code"),
    [
        pytest.param("SIG_IGN", signal.SIGINT, 0, id="Ctrl-C in the background"),
        pytest.param("default_int_handler", signal.SIGTERM, 128 + 15, id="a signal in the foreground"),
    ],
)
def test_page_ends_with_its_owner(
    state: Home, tmp_path: Path, before: str, ending: signal.Signals, code: int
) -> None:
    """A shell has what it starts in the background ignore Ctrl-C; the documents' test has it in the foreground."""
    script = (
        "import pathlib, signal, sys\n"
        f"signal.signal(signal.SIGINT, signal.{before})\n"
        "from tuner.tracking.dashboard import serve, wait_for_interrupt\n"
        "with serve(sys.argv[1], pathlib.Path(sys.argv[2]), 0) as address:\n"
        "    print(address, flush=True)\n"
        "    wait_for_interrupt()\n"
    )
    command = [sys.executable, "-c", script, state.tracking, str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=clean_environment()
    ) as owner:
        assert owner.stdout
        address = owner.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        owner.send_signal(ending)
        assert owner.wait(timeout=30) == code
    assert not left_over(tmp_path)
    with pytest.raises(URLError):
        read(address)


def test_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(TunerError, match=r"mlflow ended; .*mlflow.log ends:\n(.|\n)*nonsense"),
        serve("nonsense://", tmp_path, 0),
    ):
        pass


def test_names_are_made_fit_for_mlflow() -> None:
    assert safe_name("IoU.bed ") == "IoU.bed"
    assert safe_name("IoU.sky, (blue)/grey") == "IoU.sky_ _blue__grey"
