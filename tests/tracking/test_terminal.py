import json
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import pytest
from rich.console import Console

from tests.conftest import JobFile
from tests.records import START, STUDY, record
from tuner.errors import TunerError
from tuner.files.paths import TrialFolder
from tuner.files.writing import write_text
from tuner.spec.job import JobSpec
from tuner.spec.trial import Outcome, Record
from tuner.spec.yaml_files import read_job
from tuner.study.history import History
from tuner.tracking import terminal
from tuner.tracking.terminal import TrialTable, all_by, status_table
from tuner.tracking.trial_log import lines

RUNNING = record(4, None, 22.0)


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    return read_job(job_file())


def printed(job: JobSpec, width: int = 80) -> list[str]:
    console = Console(file=StringIO(), width=width)
    console.print(status_table(History(job, [*STUDY, RUNNING])))
    return [line for line in console.file.getvalue().splitlines() if line.strip()]  # type: ignore[attr-defined]


def test_leaderboard_has_the_best_completed_trial_first_and_names_the_default(job: JobSpec) -> None:
    rows = [line.split() for line in printed(job)[2:]]
    assert [row[:2] for row in rows] == [
        ["3", "completed"],
        ["default", "0"],
        ["4", "unfinished"],
        ["1", "pruned"],
        ["2", "out"],
    ]
    assert rows[0] == ["3", "completed", "480", "42.25", "0.0004", "0.0001", "25"]


def test_a_trial_slowed_by_its_node_is_marked(job: JobSpec) -> None:
    def at(number: int, pace: float) -> Record:
        plain = record(number, Outcome.COMPLETED, 20.0)
        (only,) = plain.measurements
        return replace(plain, measurements=(replace(only, system_metrics={"images_per_second": pace}),))

    console = Console(file=StringIO(), width=80)
    console.print(status_table(History(job, [at(number, 100.0) for number in range(4)] + [at(4, 50.0)])))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.split()[0] for line in lines if "completed *" in line] == ["4"]
    assert lines[-1].strip() == "* slowed by its node"


def test_the_front_of_two_objectives_is_marked(job: JobSpec) -> None:
    def costing(plain: Record, cost: float) -> Record:
        measurements = [
            replace(m, metrics={**m.metrics, "memory_gibibytes": cost}) for m in plain.measurements
        ]
        return replace(plain, measurements=tuple(measurements))

    objective = job.objective.model_copy(update={"secondary": "memory"})
    records = [costing(each, cost) for each, cost in zip(STUDY, (2.5, 1.0, 1.0, 3.5), strict=True)]
    records.append(costing(record(5, Outcome.COMPLETED, 1.0, 2.0, 3.0), 2.75))
    console = Console(file=StringIO(), width=100)
    console.print(status_table(History(job.model_copy(update={"objective": objective}), records)))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert "mIoU  memory_gibibytes" in lines[1]
    assert [line.split()[:6] for line in lines if line.count("◆") == 1 and "other" not in line] == [
        ["3", "completed", "480", "42.25", "3.5", "◆"],
        ["default", "0", "completed", "480", "31.50", "2.5"],
    ]
    assert lines[-1].strip() == "◆ no other is better in one and as good in the other"


def test_smaller_is_better_when_the_job_minimizes(job: JobSpec) -> None:
    job = job.model_copy(update={"objective": job.objective.model_copy(update={"direction": "minimize"})})
    assert printed(job)[2].split()[:2] == ["default", "0"]


@pytest.mark.parametrize("width", [80, 200])
def test_every_parameter_is_readable_however_many_there_are(job: JobSpec, width: int) -> None:
    lr = job.space.parameters["lr"]
    many = {f"parameter_{index}": lr for index in range(8)}
    trial = replace(STUDY[0].trial, params=dict.fromkeys(many, 0.125))
    console = Console(file=StringIO(), width=width)
    space = job.space.model_copy(update={"parameters": many})
    console.print(
        status_table(History(job.model_copy(update={"space": space}), [replace(STUDY[0], trial=trial)]))
    )
    text = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert all(f"{name} 0.125" in text for name in many)


def test_a_pipe_gets_one_line_an_event(job: JobSpec) -> None:
    console = Console(file=StringIO(), width=80)
    with TrialTable(History(job, []), console) as table:
        table.changed(record(3, None))
        table.changed(record(3, None, 21.0))
        table.changed(record(3, None, 21.0, 33.0, 42.25))
        table.changed(STUDY[3])
        table.changed(record(2, None))
        table.changed(STUDY[2])
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "trial 3: lr 0.0004, weight_decay 0.0001, centers 25",
        "trial 3: iteration 60, mIoU 21.00",
        "trial 3: iteration 480, mIoU 42.25",
        "trial 3: completed, the best so far: mIoU 42.25",
        "trial 2: lr 0.0003, weight_decay 0.0001, centers 25",
        "trial 2: out of memory: centers 25 need more than 80 GB",
    ]


def test_a_terminal_gets_a_table_with_the_running_trials_first(job: JobSpec) -> None:
    console = Console(file=StringIO(), width=100, height=30, force_terminal=True, color_system=None)
    with TrialTable(History(job, STUDY[:2]), console) as table:
        table.changed(STUDY[3])
        table.changed(RUNNING)
        shown = last_table(console)
    assert [line.split()[0] for line in shown if line.strip()][2:6] == ["4", "3", "default", "1"]
    text = " ".join(" ".join(shown).split())
    assert "syn: 3 of 12 trials ended, best mIoU 42.25 (trial 3), 1.8 minutes, all by " in text
    assert "No verdict yet: trial 3 differs from the default by +10.75 mIoU" in text
    assert [line.split()[4] for line in shown if "█" in line] == ["▃▆█"]


def test_watching_shows_what_another_process_adds_until_the_study_has_ended(job: JobSpec) -> None:
    console = Console(file=StringIO(), width=160, height=30, force_terminal=True, color_system=None)
    job = job.model_copy(update={"budget": job.budget.model_copy(update={"trials": 4})})
    looks = iter([[*STUDY[:3], record(3, None, 21.0)], STUDY])
    with patch.object(terminal, "WATCH_SECONDS", 0.0):
        terminal.watch(lambda: History(job, next(looks)), console)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert "syn: 3 of 4 trials ended" in written
    assert "syn: 4 of 4 trials ended" in written
    assert next(looks, None) is None


def test_the_end_is_foreseen_at_the_pace_so_far(job: JobSpec) -> None:
    assert all_by(History(job, STUDY), START) == START + timedelta(seconds=48 / 4 * 8)
    assert all_by(History(job, []), START) is None


def test_a_trial_tells_its_losses_its_evaluations_and_its_end(job: JobSpec, tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    logged = [{"seed": 0}, {"mode": "train", "iter": 50, "lr": 0.001, "loss": 1.23456, "time": 0.1}]
    write_text(folder.log, "\n".join([*map(json.dumps, logged), '{"mode": "tr']))
    assert list(lines(History(job, STUDY), 1, folder)) == [
        "trial 1: lr 0.0002, weight_decay 0.0001, centers 25, seed 0",
        "iteration 50: lr 0.001, loss 1.23",
        "iteration 60: mIoU 12.00, 6 s",
        "pruned",
    ]
    assert list(lines(History(job, STUDY), 2, TrialFolder(tmp_path / "nowhere")))[1:] == [
        "out of memory: centers 25 need more than 80 GB"
    ]
    with pytest.raises(TunerError, match="study syn has no trial 9; there are: 0 to 3"):
        next(lines(History(job, STUDY), 9, folder))


def test_a_table_fits_on_the_terminal(job: JobSpec) -> None:
    console = Console(file=StringIO(), width=100, height=12, force_terminal=True, color_system=None)
    many = [record(number, Outcome.COMPLETED, 1.0, 2.0, 3.0) for number in range(40)]
    with TrialTable(History(job, many), console):
        assert len(last_table(console)) <= 12


def last_table(console: Console) -> list[str]:
    written = console.file.getvalue()  # type: ignore[attr-defined]
    return ("   trial" + written.rpartition("   trial")[2]).splitlines()
