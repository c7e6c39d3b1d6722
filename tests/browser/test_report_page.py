"""The report as a person sees it, opened from its file."""

import json
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.conftest import JobFile
from tests.large_study import CLASSES, NASTY, NOW, large_study, sources
from tuner.spec.yaml_files import read_job
from tuner.study.history import History
from tuner.tracking.report import page
from tuner.tracking.report.sentences import headline

PLOTS = {"classes", "history", "importances", "contour", "slices", "parallel", "curves", "timeline", "sweep"}
SIZES = {"desk": (1440, 900), "phone": (390, 844)}
BELOW_THE_SCREEN = "return document.querySelector('nav').getBoundingClientRect().bottom > innerHeight"
EMPTY = """
return Array.from(document.querySelectorAll('.plot')).filter(plot => !plot.querySelector(
  '.scatterlayer .trace path, .scatterlayer .js-line, .barlayer .point path, .contourlayer path'))
  .map(plot => plot.dataset.figure)
"""


@pytest.fixture
def file(job_file: JobFile, tmp_path: Path) -> Path:
    job = read_job(job_file(budget={"trials": 40, "seeds": 3}))
    records = large_study(40, (*CLASSES, *NASTY))
    to = tmp_path / "report.html"
    to.write_text(page.html(sources(job, records), NOW))
    (tmp_path / "sentence").write_text(headline(History(job, records)).sentence)
    return to


@pytest.mark.parametrize("size", SIZES)
def test_report_is_drawn_whole_from_its_file_alone(browser: webdriver.Chrome, file: Path, size: str) -> None:
    width, height = SIZES[size]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(file.as_uri())
    WebDriverWait(browser, 60).until(
        lambda _: browser.execute_script("return document.documentElement.dataset.drawn")
    )
    browser.save_screenshot(str(file.with_name(f"{size}.png")))
    assert browser.find_element(By.TAG_NAME, "h1").text == file.with_name("sentence").read_text()
    shown = {box.get_attribute("data-figure") for box in browser.find_elements(By.CLASS_NAME, "plot")}
    assert shown == {f"figure-{key}" for key in PLOTS}
    assert browser.execute_script(EMPTY) == []
    assert requests(browser) == [file.as_uri()]
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    if size == "desk":
        assert not browser.execute_script(BELOW_THE_SCREEN)
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def test_labels_stand_as_they_are_written(browser: webdriver.Chrome, file: Path) -> None:
    browser.get(file.as_uri())
    WebDriverWait(browser, 60).until(
        lambda _: browser.execute_script("return document.documentElement.dataset.drawn")
    )
    texts = browser.execute_script(
        "return Array.from(document.querySelectorAll('[data-figure=figure-classes] .ytick text'))"
        ".map(text => text.textContent)"
    )
    whole = [" ".join(name.split()) for name in NASTY if len(name) < 26]
    assert set(whole) <= {" ".join(text.split()) for text in texts}
    assert browser.execute_script("return document.querySelectorAll('.ytick b').length") == 0


def requests(browser: webdriver.Chrome) -> list[str]:
    """Lists what the page asked for over any protocol, without data and the browser's own files."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith(("data:", "blob:", "chrome:", "chrome-untrusted:"))]
