"""Writes the files of a trial's run: its config, what it changes, its classes, its predictions, its log.

What is there already is not written again, so that writing everything twice gives the same as once.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import unified_diff
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow import MlflowClient
from mlflow.tracking.multimedia import compress_image_size
from PIL import Image, ImageDraw

from tuner.files.paths import AnyPath, TrialFolder
from tuner.files.reading import bytes_of, text_of
from tuner.spec.job import JobSpec
from tuner.spec.trial import Measurement, Record
from tuner.tracking.leaderboard import PREDICTION, shown_images
from tuner.tracking.mlflow_values import class_table
from tuner.tracking.report.strips import Legend

CONFIG, CHANGES, CLASSES, LOG = "config.py", "changes.diff", "classes.json", "train.log.json"
LEGEND = "legend.png"
TABLES = "mlflow.loggedArtifacts"
"""The tag by which MLflow's page finds tables; `log_table` sets it last."""
LOGGED = re.compile(r"images/(?P<key>[^+%/]+)[+%]step[+%](?P<step>\d+)[+%]timestamp.*\.(?P<form>png|webp)")
"""How `log_image` names its two files; checked with MLflow 3.17."""
COLOURS = 128


@dataclass
class Written:
    """Says which files of a run are known to be there."""

    names: set[str]
    images: set[tuple[str, int]]
    """Keys and steps."""
    config: str | None = None
    """The config that is known to be written: short of memory, a trial's changes."""
    changes: str | None = None
    """The changes that are known to be written: the default's config may come later, and change."""


def written(client: MlflowClient, run_id: str) -> Written:
    """Asks the server; an image of which a kill left one file of two is made whole."""
    names = {file.path for file in client.list_artifacts(run_id)}
    found = [file.path for file in client.list_artifacts(run_id, "images")] if "images" in names else []
    forms: dict[tuple[str, int], dict[str, str]] = {}
    for path in found:
        if match := LOGGED.fullmatch(path):
            forms.setdefault((match["key"], int(match["step"])), {})[match["form"]] = path
    for each in forms.values():
        if "webp" not in each:
            _complete(client, run_id, each["png"])
    return Written(names, set(forms))


def write_config(client: MlflowClient, run_id: str, folder: TrialFolder, known: Written) -> None:
    text = folder.config_text()
    if text is not None and text != known.config:
        client.log_text(run_id, text, CONFIG)
        known.config = text


def shown_strips(job: JobSpec, record: Record, folder: TrialFolder) -> Iterator[tuple[Measurement, int]]:
    """Yields the evaluations and the places of the strips that are shown of a trial."""
    most, at_every_evaluation = shown_images(job)
    last = record.measurements[-1:] if record.outcome else ()
    for measurement in record.measurements if at_every_evaluation else last:
        for position in range(min(most, _kept(folder))):
            yield measurement, position


def write_images(
    client: MlflowClient,
    run_id: str,
    strips: Iterable[tuple[Measurement, int]],
    folder: TrialFolder,
    start: int,
    known: Written,
) -> None:
    """Logs strips that lie in the trial's folder; `start` is the trial's, in milliseconds."""
    for measurement, position in strips:
        key, step = f"{PREDICTION}{position}", measurement.iteration
        if (key, step) in known.images:
            continue
        if image := _opened(folder.strip(step, position)):
            at = start + round(measurement.seconds * 1000)
            client.log_image(run_id, image, key=key, step=step, timestamp=at)
            known.images.add((key, step))


def write_ended(
    client: MlflowClient,
    run_id: str,
    record: Record,
    folder: TrialFolder,
    default: TrialFolder,
    known: Written,
) -> None:
    """Writes what is known of a trial once it has ended: classes, changes against the default, log."""
    if table := class_table(record):
        if CLASSES in known.names:  # it would grow
            client.set_tag(run_id, TABLES, json.dumps([{"path": CLASSES, "type": "table"}]))
        else:
            client.log_table(run_id, table, CLASSES)
        known.names.add(CLASSES)
    write_changes(client, run_id, folder, default, known)
    if log := text_of(folder.log):
        client.log_text(run_id, log, LOG)


def write_changes(
    client: MlflowClient, run_id: str, folder: TrialFolder, default: TrialFolder, known: Written
) -> None:
    """Writes how a trial's config differs from the default's, as soon as there are both, and when either changes."""
    before, after = default.config_text(), folder.config_text()
    if folder == default or before is None or after is None:
        return
    lines = before.splitlines(keepends=True), after.splitlines(keepends=True)
    changes = "".join(unified_diff(*lines, "default", "this trial", n=1))
    if changes != known.changes:
        client.log_text(run_id, changes, CHANGES)
        known.changes = changes


def legend(classes: tuple[Legend, ...]) -> Image.Image:
    """Draws which color is which class, in columns."""
    rows = min(len(classes), 30)
    columns = -(-len(classes) // rows)
    width = 40 + 7 * max(min(len(each.name), 26) for each in classes)
    image = Image.new("RGB", (columns * width, 10 + 20 * rows), "white")
    draw = ImageDraw.Draw(image)
    for place, each in enumerate(classes):
        left, top = 10 + place // rows * width, 8 + place % rows * 20
        draw.rectangle((left, top, left + 12, top + 12), each.color, "#999999")
        draw.text((left + 20, top), each.name[:26].encode("latin-1", "replace").decode("latin-1"), "black")
    return image


def _kept(folder: TrialFolder) -> int:
    """Counts the validation images that the trial keeps."""
    try:
        return len(json.loads(text_of(folder.image_index) or "{}")["images"])
    except (ValueError, KeyError):
        return 0


def _complete(client: MlflowClient, run_id: str, path: str) -> None:
    """Adds the smaller copy of an image."""
    with TemporaryDirectory(prefix="tuner-") as folder:
        with Image.open(client.download_artifacts(run_id, path, folder)) as image:
            smaller = compress_image_size(image.convert("RGB"))
        to = Path(folder) / Path(path).name.replace(".png", "+compressed.webp")
        smaller.save(to)
        client.log_artifact(run_id, str(to), "images")


def _opened(file: AnyPath) -> Image.Image | None:
    """Reads a strip in fewer colours, which makes it smaller as PNG; None of what is missing or no image."""
    if (content := bytes_of(file)) is None:
        return None
    try:
        with Image.open(BytesIO(content)) as image:
            return image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).convert("RGB")
    except OSError:
        return None
