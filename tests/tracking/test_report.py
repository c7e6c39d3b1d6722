"""The report: what it says of studies of every kind, and that no label is ever taken for markup."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path
from statistics import fmean, stdev

import pytest
from PIL import Image
from plotly.offline import get_plotlyjs
from rich.console import Console
from scipy.stats import ttest_ind

from tests.conftest import JobFile
from tests.large_study import CLASSES, NASTY, NOW, large_study, sources
from tests.nasty import nasty, nasty_job
from tests.records import STUDY, record
from tests.undisturbed import undisturbed
from tuner import app
from tuner.files.paths import Home
from tuner.files.writing import replacing, write_text
from tuner.settings import Settings
from tuner.spec.job import JobSpec
from tuner.spec.trial import Outcome, Record
from tuner.spec.yaml_files import read_job
from tuner.study.history import History
from tuner.study.replication import judged
from tuner.tracking.report import figures, index, page, text
from tuner.tracking.report.comparison import arm, changes, class_gains
from tuner.tracking.report.sentences import headline
from tuner.tracking.report.spending import Lost, amount, lost, rung_worths, spent
from tuner.tracking.report.strips import read_strips
from tuner.tracking.terminal import live_table, status_table

RUNNING = [record(0, None), record(1, None)]


@pytest.fixture
def job(job_file: JobFile) -> JobSpec:
    """With replicates over three seeds, on four GPUs a trial."""
    resources = {"gpus_per_trial": 4, "global_batch": 16}
    return read_job(job_file(budget={"trials": 12, "seeds": 3}, resources=resources))


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        ([], "No verdict yet: no trial has begun."),
        ([record(0, None, 20.0)], "No verdict yet: the default has not completed."),
        ([record(0, Outcome.DIVERGED)], "No verdict yet: the default ended as diverged."),
        (STUDY[:3], "No verdict yet: no trial but the default has completed."),
        (
            STUDY,
            "No verdict yet: trial 3 differs from the default by +10.75 mIoU in one training each, "
            "which may be chance. The replicates over 3 seeds will tell.",
        ),
    ],
)
def test_a_study_without_a_verdict_says_what_is_missing(
    job: JobSpec, records: list[Record], sentence: str
) -> None:
    assert headline(History(job, records)).sentence == sentence
    html, markdown = (draw(sources(job, records), NOW) for draw in (page.html, page.markdown))
    assert f"<h1>{sentence}</h1>" in html
    assert markdown.startswith(f"**{sentence}**")


@pytest.mark.parametrize("shift", [8.0, 0.0, -8.0])
def test_the_sentence_agrees_with_the_verdict_and_names_its_interval(job: JobSpec, shift: float) -> None:
    best, default = [30.1 + shift, 30.5 + shift, 30.3 + shift], [30.0, 30.2, 30.4]
    records = with_replicates(default, best)
    found = judged(History(job, records))
    said = headline(History(job, records))
    assert found
    assert (
        said.standing == found.ruling == {8.0: "confirmed", 0.0: "not distinguishable", -8.0: "worse"}[shift]
    )
    low, high = (f"{value:+.2f}".replace("-", "−") for value in (found.low, found.high))
    assert f"(95 % interval {low} to {high}, over {found.seeds} seeds)" in said.sentence


def test_an_arm_has_the_trainings_that_the_verdict_counts(job: JobSpec) -> None:
    study = sources(job, with_replicates([30.0, 30.2, 30.4], [33.0, 33.5, 34.0]))
    default, best = arm(study, study.default), arm(study, study.rival)
    assert default
    assert best
    assert default.values == (31.5, 30.0, 30.2, 30.4)
    assert best.values == (33.0, 33.5, 34.0)
    assert (best.mean, best.deviation) == (fmean(best.values), stdev(best.values))
    assert best.hours == pytest.approx(4 * 48 / 3600)


def test_class_gains_are_sorted_and_have_students_interval(job: JobSpec) -> None:
    study = sources(job, large_study(40, CLASSES))
    default, best = arm(study, study.default), arm(study, study.rival)
    assert default
    assert best
    gains = class_gains(default, best)
    assert sorted(each.name for each in gains) == sorted(CLASSES)
    assert [each.gain for each in gains] == sorted((each.gain for each in gains), reverse=True)
    first = gains[0]
    before, after = ([r.value(f"IoU.{first.name}") for r in side.trainings] for side in (default, best))
    interval = ttest_ind(after, before).confidence_interval(0.95)
    assert first.half is not None
    assert (first.gain - first.half, first.gain + first.half) == pytest.approx(tuple(interval))


def test_changes_are_read_from_the_configs_or_else_from_the_parameters(job: JobSpec, tmp_path: Path) -> None:
    study = sources(job, STUDY, tmp_path)
    assert [(each.path, each.default, each.best) for each in changes(study)] == [
        ("optimizer.lr", "0.0001", "0.0004")
    ]
    for number, cache in ((0, False), (3, True)):
        config = {"optimizer": {"lr": 1e-4 * (number + 1)}, "model": {"with_cp": cache, "centers": [4, 4]}}
        text = "".join(f"{key} = {value!r}\n" for key, value in config.items())
        write_text(study.folder(number).config, text)
    assert [(each.path, each.default, each.best) for each in changes(study)] == [
        ("optimizer.lr", "0.0001", "0.0004"),
        ("model.with_cp", "False", "True"),
    ]


def test_costs_are_those_of_all_outcomes_and_add_up(job: JobSpec) -> None:
    records = with_replicates([30.0], [33.0])
    rows = spent(sources(job, records))
    by_outcome = {row.what: (row.trials, row.hours) for row in rows}
    assert by_outcome["completed"] == (2, pytest.approx(2 * 4 * 48 / 3600))
    assert by_outcome["pruned"] == (1, pytest.approx(4 * 6 / 3600))
    assert by_outcome["out of memory"] == (1, pytest.approx(4 * 300 / 3600))
    assert rows[-1].what == "all"
    assert sum(row.hours for row in rows[:-1]) == pytest.approx(rows[-1].hours)
    first, second = rung_worths(sources(job, records))
    assert (first.reached, first.stopped, second.stopped) == (3, 1, 0)
    assert first.saved == pytest.approx(4 * (48 - 6) / 3600)


def test_what_interruptions_threw_away_is_told_beside_the_costs(job: JobSpec) -> None:
    records = [*with_replicates([30.0], [33.0])]
    study = sources(job, records)
    assert lost(study) == Lost(0, 0.0)
    assert "lost to interruptions" not in page.markdown(study, NOW)
    *earlier, last = records[0].measurements
    records[0] = replace(records[0], measurements=(*earlier, replace(last, seconds_lost=450.0)))
    disturbed = sources(job, records)
    assert lost(disturbed) == Lost(1, 0.5)
    assert spent(disturbed) == spent(study)
    for draw in (page.markdown, page.html):
        assert "Besides, 0.5 GPU-hours were lost to interruptions: what 1 trial had" in draw(disturbed, NOW)


def test_a_cost_is_told_in_a_unit_that_a_person_reads(job: JobSpec) -> None:
    texts = [amount(job, hours) for hours in (0.0, 0.0052, 0.02, 0.5)]
    assert texts == ["0 GPU-minutes", "18.7 GPU-seconds", "1.2 GPU-minutes", "0.5 GPU-hours"]


def test_a_screened_trial_stands_where_it_was_trained_not_where_it_was_given_up(job_file: JobFile) -> None:
    job = read_job(job_file(search={"scheduler": "screen"}))
    own = [
        record(0, Outcome.COMPLETED, 20.0),
        record(1, Outcome.PRUNED, 10.0),
        record(2, Outcome.COMPLETED, 30.0),
    ]
    moments = [(0, 10), (1, 99), (20, 30)]
    timed = [
        replace(each, started=NOW + timedelta(minutes=first), ended=NOW + timedelta(minutes=last))
        for each, (first, last) in zip(own, moments, strict=True)
    ]
    figure = figures.history(sources(job, timed))
    spent_at = {trace.name: list(trace.x) for trace in figure.data}
    assert spent_at["pruned"][0] < max(spent_at["completed"])


def test_rungs_say_what_compared_the_trials_and_how_well_that_tells_the_end(job: JobSpec) -> None:
    """The losses fall as the metric rises: both order the trials as the end does."""
    records = large_study(40, CLASSES, seeds=1)
    falling = [
        replace(
            record,
            measurements=tuple(
                replace(m, metrics={**m.metrics, "loss": 100 - m.metrics["mIoU"]})
                for m in record.measurements
            ),
        )
        for record in records
    ]
    fidelity = {"metric": job.fidelity, "loss": job.fidelity.model_copy(update={"prune_by": "loss"})}
    by_metric, by_loss = (
        rung_worths(sources(job.model_copy(update={"fidelity": each}), falling)) for each in fidelity.values()
    )
    assert [each.compared_by for each in by_metric] == ["mIoU"] * 2
    assert [each.compared_by for each in by_loss] == ["training loss"] * 2
    assert [each.tau for each in by_loss] == [each.tau for each in by_metric]
    assert by_loss[0].tau is not None
    html = page.html(sources(job.model_copy(update={"fidelity": fidelity["loss"]}), falling), NOW)
    assert "<td>training loss</td>" in html


def test_no_label_is_taken_for_markup(job: JobSpec) -> None:
    records = large_study(20, NASTY)
    records[5] = replace(records[5], outcome=Outcome.CRASHED, note="<script>alert(2)</script> {{ 7 * 7 }}")
    html, markdown = (draw(sources(job, records), NOW) for draw in (page.html, page.markdown))
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(2)&lt;/script&gt; {{ 7 * 7 }}" in html
    assert "<dt>crashed</dt><dd>See how far it came" in html
    assert "<script>" not in markdown
    assert r"a\|b\*c\_d\`e" in markdown
    figures = re.findall(
        r'<script type="application/json" id="figure-[a-z]+">(.*?)</script>', html, re.DOTALL
    )
    labels = json.loads(figures[0])["layout"]["yaxis"]["ticktext"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in labels
    assert all(len(label) < 60 for label in labels)


def test_a_line_of_the_index_has_state_best_cost_and_verdict(job: JobSpec) -> None:
    best, verdict = "best 42.25 mIoU (trial 3), 0.447 GPU-hours", headline(History(job, STUDY)).sentence
    for is_driven, state in ((True, "running"), (False, "interrupted")):
        line = index_line(History(job, STUDY), is_driven=is_driven)
        assert line == f"syn: {state}, 4 of 12 trials ended, {best}. {verdict}"
    budget = job.budget.model_copy(update={"trials": 4})
    records = with_replicates([30.0, 30.2, 30.4], [33.0, 33.5, 34.0])
    over = History(job.model_copy(update={"budget": budget}), records)
    assert index_line(over).startswith("syn: over, 4 of 4 trials ended, best ")
    assert index_line(over).endswith(headline(over).sentence)


def index_line(history: History, *, is_driven: bool = False) -> str:
    facts = index.summary(history)
    return index.line(facts | {"study": history.job.name, "state": index.state(facts, is_driven, None)})


def test_no_value_is_taken_for_markup_by_pages_tables_and_lists(job_file: JobFile, tmp_path: Path) -> None:
    job = nasty_job(job_file, tmp_path, budget={"trials": 20, "seeds": 3})
    records = nasty(large_study(20, (*CLASSES, *NASTY)))
    study, console = sources(job, records), Console(file=StringIO(), width=600)
    html, markdown = (draw(study, NOW) for draw in (page.html, page.markdown))
    assert "<script>alert" not in html
    assert "<script>" not in markdown
    console.print(status_table(study.history))
    console.print(live_table(study.history, height=60))
    facts = {"study": study.job.name, "state": "over", "driver": None, "since": None}
    console.print(index.line(facts | index.summary(study.history)), markup=False)
    console.print(index.table([facts | index.summary(study.history)]), markup=False)
    console.print(text.report(study.history), markup=False)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    flat = " ".join(shown.split())
    assert [name for name in NASTY if " ".join(name.split()) not in flat] == []
    table = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in table if "x" * 200 in line} == {5}


def test_a_page_needs_nothing_from_anywhere_and_stays_small(job: JobSpec) -> None:
    records = large_study(200, [f"class {index}" for index in range(150)])
    html = page.html(sources(job, records), NOW)
    assert len(html.encode()) < 8e6
    assert not re.search(r'(src|href)="(?!#)', html.replace(get_plotlyjs(), ""))
    assert "default-src 'none'" in html


@pytest.mark.parametrize(
    "records", [STUDY, large_study(20, CLASSES), RUNNING], ids=["few", "many", "running"]
)
def test_a_job_with_a_secondary_objective_has_its_pareto_front(job: JobSpec, records: list[Record]) -> None:
    def costing(plain: Record) -> Record:
        cost = {"memory_gibibytes": 1.0 + plain.trial.number}
        measured = [replace(m, metrics={**m.metrics, **cost}) for m in plain.measurements]
        return replace(plain, measurements=tuple(measured))

    objective = job.objective.model_copy(update={"secondary": "memory"})
    study = sources(job.model_copy(update={"objective": objective}), [costing(each) for each in records])
    html = page.html(study, NOW)
    assert ("figure-pareto" in html) == bool(study.completed)


def test_what_is_broken_among_the_images_is_left_out(tmp_path: Path) -> None:
    folder = Home(tmp_path).trial("syn", 0)
    assert read_strips(folder, STUDY[0]).images == ()
    write_text(folder.image_index, '{"images": [')
    assert read_strips(folder, STUDY[0]).images == ()
    index = {
        "images": [12, 34],
        "classes": [
            {"name": "sky", "color": [1, 2, 3], "pixels": 30},
            {"name": "sea", "color": [4, 5, 6], "pixels": 10},
        ],
    }
    write_text(folder.image_index, json.dumps(index))
    write_text(folder.strip(480, 0), "no image")
    with replacing(folder.strip(480, 1)) as file:
        Image.new("RGB", (30, 10)).save(file, "jpeg")
    strips = read_strips(folder, STUDY[0])
    assert [(each.index, each.width, each.height) for each in strips.images] == [(34, 30, 10)]
    assert strips.images[0].data.startswith("data:image/jpeg;base64,/9j/")
    assert strips.frequency == {"sky": 0.75, "sea": 0.25}


def test_a_real_study_is_written_by_its_name(job_file: JobFile, tmp_path: Path) -> None:
    job = read_job(job_file(budget={"trials": 5, "seeds": 2}))
    records = undisturbed(job, tmp_path)
    settings = Settings(Home(tmp_path), f"sqlite:///{tmp_path}/studies.db", "", None)
    for form in ("html", "md"):
        app.write_report(job.name, tmp_path / "report", form, settings)  # type: ignore[arg-type]
        text = (tmp_path / "report").read_text()
        assert headline(History(job, records)).sentence in text
        assert f"tuner export {job.name} --to best" in text


def with_replicates(default: list[float], best: list[float]) -> list[Record]:
    """STUDY, and trials 0 and 3 trained again with seeds 1, 2, …"""
    records = list(STUDY)
    for seed, values in enumerate(zip(default, best, strict=True), start=1):
        for number, value in zip((0, 3), values, strict=True):
            plain = record(len(records), Outcome.COMPLETED, 20.0, 25.0, value)
            records.append(replace(plain, trial=replace(plain.trial, seed=seed, replicate_of=number)))
    return records
