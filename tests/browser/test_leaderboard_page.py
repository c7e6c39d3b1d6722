"""MLflow's page as a person sees it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.conftest import JobFile
from tests.large_study import NASTY
from tests.nasty import nasty, nasty_job
from tests.records import STUDY
from tests.shown import Shown
from tuner.files.paths import Home
from tuner.tracking.dashboard import serve, study_urls
from tuner.tracking.leaderboard import SEEDS, VIEW
from tuner.tracking.mlflow import Server

REASON = " ".join(name for name in NASTY if "\n" not in name)


@pytest.fixture
def address(home: Path, job_file: JobFile, tmp_path: Path) -> Iterator[str]:
    """Yields the leaderboard's address of a study, one of whose parameters has nasty values, as its notes do."""
    state, job = Home(home), nasty_job(job_file, tmp_path, objective={"metric": "mIoU"})
    shown = Shown(Server(state.tracking, state.artifacts), job, state)
    records = nasty(STUDY)
    records[2] = replace(records[2], note=REASON)
    shown.begin(records)
    shown.end(records)
    with serve(state.tracking, state.artifacts, 0) as page:
        yield study_urls(page, job.name)[1]


def test_leaderboard_shows_the_trials_by_miou_and_their_charts(
    browser: webdriver.Chrome, address: str, tmp_path: Path
) -> None:
    browser.set_window_size(2200, 1000)  # columns are drawn once they are in sight
    browser.get(address)
    patience = WebDriverWait(browser, 60)
    patience.until(lambda _: "trial 2" in shown(browser).splitlines())
    lines = shown(browser).splitlines()
    trials = [line for line in lines if line.startswith("trial ")]
    assert trials == ["trial 3", "trial 0 (default)", "trial 1", "trial 2"]
    assert {"mIoU", "lr", "centers", "weight_decay", "outcome"} <= set(lines)
    assert {"42.25", "31.5", "0.0004", "completed", "pruned", "out of memory"} <= set(lines)
    assert set(NASTY[: len(STUDY)]) <= set(lines)
    browser.save_screenshot(str(tmp_path / "list.png"))
    assert_failure_is_told(browser, patience)

    browser.get(address.replace(f"={VIEW}", f"={SEEDS}"))
    patience.until(lambda _: "Group: trial 2" in shown(browser).splitlines())
    groups = [line for line in shown(browser).splitlines() if line.startswith("Group: ")]
    assert groups == ["Group: trial 3", "Group: trial 0", "Group: trial 1", "Group: trial 2"]

    tall = {"width": 1800, "height": 2600, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", tall
    )  # charts are drawn once they are in sight
    browser.get(f"{address}&compareRunsMode=CHART")
    patience.until(lambda _: "Parallel Coordinates" in shown(browser))
    patience.until(lambda _: len(browser.find_elements(By.CSS_SELECTOR, ".js-plotly-plot")) >= 1)
    browser.save_screenshot(str(tmp_path / "charts.png"))


def assert_failure_is_told(browser: webdriver.Chrome, patience: WebDriverWait) -> None:
    """Goes to the page of the trial that failed, whose description says what, why and what to do."""
    browser.find_element(By.LINK_TEXT, "trial 2").click()
    patience.until(lambda _: "What to do: " in shown(browser))
    lines = shown(browser).splitlines()
    assert "Trial 2 failed before its first evaluation: out of memory." in lines
    assert [line for line in lines if line.startswith("Why: ")] == [f"Why: {REASON}"]


def shown(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "body").text
