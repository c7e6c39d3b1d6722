import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from mlflow import MlflowClient

from tests.conftest import JobFile, clean_environment
from tests.records import STUDY
from tuner.errors import TunerError
from tuner.files import read_job
from tuner.paths import Home
from tuner.tracking.dashboard import leaderboard_url, safe_name, serve
from tuner.tracking.mlflow import MlflowTracker

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("a home"))


@pytest.fixture(scope="module")
def page(state: Home) -> Iterator[str]:
    with serve(state.tracking, state.artifacts, 0) as address:
        yield address


def read(address: str) -> str:
    with urlopen(address, timeout=10) as answer:
        return str(answer.read().decode())


def test_page_answers_and_shows_what_was_written_straight_into_the_database(
    state: Home, page: str, job_file: JobFile
) -> None:
    job = read_job(job_file())
    shown = MlflowTracker(state.tracking, state.artifacts, job, "first", lambda number: f"trial = {number}\n")
    shown.begin(STUDY)
    shown.end(STUDY, finished=True)
    assert read(f"{page}/health") == "OK"
    experiment = MlflowClient(page).get_experiment_by_name(job.name)
    [best] = MlflowClient(page).search_runs([experiment.experiment_id], "tags.`tuner.trial` = '3'")
    assert read(f"{page}/get-artifact?path=config.py&run_uuid={best.info.run_id}") == "trial = 3\n"
    assert leaderboard_url(page, job.name) == (
        f"{page}/#/experiments/{experiment.experiment_id}/runs"
        "?workflowType=machine_learning&viewStateShareKey=leaderboard"
    )


def test_study_that_is_not_shown_is_named(page: str) -> None:
    with pytest.raises(TunerError, match="shows no study nowhere"):
        leaderboard_url(page, "nowhere")


def test_address_of_a_server_is_taken_as_it_is(tmp_path: Path) -> None:
    with serve("http://mlflow.example:5000/", tmp_path, 5000) as address:
        assert address == "http://mlflow.example:5000"


def test_page_takes_the_next_port_and_ends_with_all_its_processes(state: Home, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with serve(state.tracking, tmp_path, port) as address:
            assert int(address.rpartition(":")[2]) > port
            assert processes_with(str(tmp_path))
    assert not processes_with(str(tmp_path))
    with pytest.raises(URLError):
        read(address)


@pytest.mark.parametrize(("ending", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 128 + 15)])
def test_page_ends_with_its_owner(state: Home, tmp_path: Path, ending: signal.Signals, code: int) -> None:
    script = (
        "import pathlib, sys\n"
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
        assert owner.stdout.readline().startswith("http://127.0.0.1:")
        owner.send_signal(ending)
        assert owner.wait(timeout=30) == code
    assert not processes_with(str(tmp_path))


def test_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(TunerError, match=r"MLflow's page did not start: (.|\n)*nonsense"),
        serve("nonsense://", tmp_path, 0),
    ):
        pass


def test_names_are_made_fit_for_mlflow() -> None:
    assert safe_name("IoU.bed ") == "IoU.bed"
    assert safe_name("IoU.sky, (blue)/grey") == "IoU.sky_ _blue__grey"


def processes_with(argument: str) -> list[str]:
    """The living processes whose command line names it; ending ones get a moment."""
    for _ in range(20):
        found = [folder.name for folder in Path("/proc").iterdir() if argument in command_line(folder)]
        if not found:
            break
        time.sleep(0.1)
    return found


def command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except (OSError, UnicodeDecodeError):
        return ""
