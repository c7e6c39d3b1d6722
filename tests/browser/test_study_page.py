"""What a person sees of a real study on MLflow's page: the verdict, the report in its frame, the predictions."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser.test_report_page import EMPTY
from tests.conftest import ROOT, Tuner
from tuner.files.paths import Home
from tuner.store.studies import load_study
from tuner.study.history import History
from tuner.tracking.dashboard import serve, study_urls
from tuner.tracking.report.sentences import headline

pytestmark = [pytest.mark.cluster, pytest.mark.long]

SEARCH = {
    "budget.trials": "3",
    "fidelity.iterations": "8",
    "fidelity.rungs": "[4, 8]",
    "search.scheduler": "none",
    "predictions.images": "2",
    "resources.ranks": "1",
}
SEEN = """
return [...document.querySelectorAll('.panel')].map(each => getComputedStyle(each).backgroundImage.slice(0, 15))
"""
PICTURES = "return [...document.querySelectorAll('img')].filter(each => each.naturalWidth > 100).length"
SCREEN = {"width": 1800, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
DRAWN = "return document.documentElement.dataset.drawn"


@pytest.fixture
def study(tmp_path: Path, home: Path, tuner_inside: Tuner, ray_address: str) -> Home:
    """Holds a study of the demo's network on drawn images."""
    values = [text for key, value in SEARCH.items() for text in ("--set", f"{key}={value}")]
    job, toys = ROOT / "configs/jobs/demo.yaml", tmp_path / "toy"
    tuner_inside("toy", toys)
    tuner_inside("run", job, "--no-build", "--data-root", toys, *values, RAY_ADDRESS=ray_address)
    return Home(home)


@pytest.fixture
def urls(study: Home) -> Iterator[tuple[str, str]]:
    with serve(study.tracking, study.artifacts, 0) as page:
        yield study_urls(page, "demo")


def test_verdict_report_and_predictions_of_a_real_study_are_seen(
    browser: webdriver.Chrome, study: Home, urls: tuple[str, str], tmp_path: Path
) -> None:
    report, leaderboard = urls
    patience = WebDriverWait(browser, 90)
    store = load_study(study.storage, "demo")
    sentence = headline(History(store.job, store.records())).sentence
    browser.get(leaderboard)
    patience.until(lambda _: sentence in browser.find_element(By.TAG_NAME, "body").text)
    browser.save_screenshot(str(tmp_path / "leaderboard.png"))

    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", SCREEN | {"height": 2500})
    browser.get(f"{leaderboard}&compareRunsMode=CHART")
    patience.until(lambda _: browser.execute_script(PICTURES) >= 3 * 2)
    browser.save_screenshot(str(tmp_path / "charts.png"))

    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", SCREEN)
    browser.get(report)
    frame = patience.until(lambda _: browser.find_elements(By.TAG_NAME, "iframe"))[0]
    browser.switch_to.frame(frame)
    patience.until(lambda _: browser.execute_script(DRAWN))
    assert browser.find_element(By.TAG_NAME, "h1").text == sentence
    assert browser.execute_script(EMPTY) == []
    panels = browser.execute_script(SEEN)
    assert len(panels) == 2 * 4
    assert set(panels) == {'url("data:image'}
    browser.save_screenshot(str(tmp_path / "report.png"))
