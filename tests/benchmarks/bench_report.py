"""What the report of a large study costs: 200 trials, 150 classes, 3 seeds, with images.

Prints size and time to draw, and where Chromium is installed the time to its first paint and until all plots stand.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import yaml
from PIL import Image
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.browser.conftest import CHROMIUM, DRIVER, QUIET
from tests.conftest import JOB
from tests.large_study import NOW, large_study, sources
from tuner.files.paths import TrialFolder
from tuner.files.writing import replacing, write_json, write_text
from tuner.spec.yaml_files import read_job
from tuner.tracking.report import page

TRIALS, CLASSES, SEEDS, IMAGES = 200, 150, 3, 4
LIMITS = {"size": "8 MB", "drawn in": "10 s", "first paint": "3 s", "all plots": "–"}


def main() -> None:
    with TemporaryDirectory() as folder:
        measured = measure(Path(folder))
    print(f"report of {TRIALS} trials, {CLASSES} classes, {SEEDS} seeds, {IMAGES} images\n")
    print("| | measured | limit |\n| --- | --- | --- |")
    for name, text in measured.items():
        print(f"| {name} | {text} | {LIMITS[name]} |")


def measure(folder: Path) -> dict[str, str]:
    names = [f"class {number:03d}" for number in range(CLASSES)]
    job_file = folder / "job.yaml"
    job_file.write_text(yaml.safe_dump(JOB | {"budget": {"trials": TRIALS, "seeds": SEEDS}}))
    study = sources(read_job(job_file), large_study(TRIALS, names, SEEDS), folder)
    for record in study.records:
        if record.last:
            draw_images(study.folder(record.trial.number), record.last.iteration, names)
    begun = time.perf_counter()
    html = page.html(study, NOW)
    seconds = time.perf_counter() - begun
    file = folder / "report.html"
    file.write_text(html)
    size = {"size": f"{file.stat().st_size / 1e6:.1f} MB", "drawn in": f"{seconds:.1f} s"}
    return size | (paint(file) if CHROMIUM and DRIVER else {})


def draw_images(folder: TrialFolder, iteration: int, names: list[str]) -> None:
    """Draws strips that compress as badly as photos do."""
    classes = [{"name": name, "color": [n, 255 - n, 90], "pixels": 9} for n, name in enumerate(names)]
    write_text(folder.config, "optimizer = {'lr': 0.1}\n")
    write_json(folder.image_index, {"images": list(range(IMAGES)), "classes": classes})
    noise = np.random.default_rng(0).integers(0, 255, (43, 128, 3), np.uint8)
    for position in range(IMAGES):
        with replacing(folder.strip(iteration, position)) as file:
            Image.fromarray(noise).resize((512, 171)).save(file, "JPEG", quality=88)


def paint(file: Path) -> dict[str, str]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in QUIET.split():
        options.add_argument(argument)
    with webdriver.Chrome(options, webdriver.ChromeService(DRIVER)) as browser:
        browser.get(file.as_uri())
        WebDriverWait(browser, 120).until(
            lambda _: browser.execute_script("return document.documentElement.dataset.drawn")
        )
        first, now = browser.execute_script(
            "return [performance.getEntriesByName('first-contentful-paint')[0].startTime, performance.now()]"
        )
    return {"first paint": f"{first / 1000:.1f} s", "all plots": f"{now / 1000:.1f} s"}


if __name__ == "__main__":
    main()
