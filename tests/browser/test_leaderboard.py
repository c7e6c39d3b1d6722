"""MLflow's page as a person sees it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.conftest import JobFile
from tests.records import STUDY
from tuner.files import read_job
from tuner.paths import Home
from tuner.tracking.dashboard import leaderboard_url, serve
from tuner.tracking.mlflow import MlflowTracker

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1800,1000"
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver"),
]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in (*QUIET.split(), f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(argument)
    chrome = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield chrome
    chrome.quit()


@pytest.fixture
def address(home: Path, job_file: JobFile) -> Iterator[str]:
    """Of the leaderboard of a study."""
    state, job = Home(home), read_job(job_file())
    shown = MlflowTracker(state.tracking, state.artifacts, job, "first", lambda number: f"trial = {number}\n")
    shown.begin(STUDY)
    shown.end(STUDY, finished=True)
    with serve(state.tracking, state.artifacts, 0) as page:
        yield leaderboard_url(page, job.name)


def test_leaderboard_shows_the_trials_by_miou_and_their_charts(
    browser: webdriver.Chrome, address: str, tmp_path: Path
) -> None:
    browser.get(address)
    patience = WebDriverWait(browser, 60)
    patience.until(lambda _: "trial 3" in shown(browser))
    lines = shown(browser).splitlines()
    trials = [line for line in lines if line.startswith("trial ")]
    assert trials == ["trial 3", "trial 0 (default)", "trial 1", "trial 2"]
    assert {"mIoU", "lr", "centers", "weight_decay", "outcome"} <= set(lines)
    assert {"42.25", "31.5", "0.0004", "completed", "pruned", "out of memory"} <= set(lines)
    browser.save_screenshot(str(tmp_path / "list.png"))

    browser.get(f"{address}&compareRunsMode=CHART")
    patience.until(lambda _: "Parallel Coordinates" in shown(browser))
    patience.until(lambda _: len(browser.find_elements(By.CSS_SELECTOR, ".js-plotly-plot")) >= 1)
    browser.save_screenshot(str(tmp_path / "charts.png"))


def shown(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "body").text
