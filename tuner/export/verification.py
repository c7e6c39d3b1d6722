"""Shows that an export is what was measured: its files, configs, images, weights, logits and confusion matrix."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tuner
from tuner.errors import BadInput, Problem
from tuner.files.paths import ExportFolder
from tuner.files.provenance import sha256
from tuner.sizing.config_paths import differing

ALIKE = 1e-5
"""The greatest difference of logits, as a share of the greatest logit."""
FEW = 1e-3
"""The share of pixels that rounding may move to another class: the trial may have been measured on a GPU."""
CLOSE = 0.05
"""The difference of a metric in percent that counts as none, where a data set evaluates in its own way."""
COMMAND = (sys.executable, "-B", "-m", "tuner.training.exported.alone")
NAMED = 5
"""How many missing files are named."""


def verify(folder: ExportFolder, data_root: Path | None, full: bool) -> list[str]:
    """Runs all checks of an export; returns a sentence for each that it passes.

    Raises BadInput that names each file, key and image that is not as it was, then the first check that fails.
    """
    facts = _read(folder.provenance)
    if problems := [*_changed_files(folder, facts), *_changed_keys(folder)]:
        raise BadInput(problems)
    recorded = _read(folder.recorded)
    if problems := list(_changed_images(folder, recorded, data_root)):
        raise BadInput(problems)
    files, images = len(facts["sha256"]), len(recorded["files"].get("val", {}))
    same_files = f"{files} files, both configs and {images} validation files are those that were exported"
    with TemporaryDirectory(prefix="tuner-") as there, ThreadPoolExecutor(1) as meanwhile:
        theirs = meanwhile.submit(_logits_alone, folder, data_root, Path(there) / "logits.pth")
        exported = _loaded(folder, data_root)
        same_logits = _same_logits(folder, exported, theirs.result())
    return [same_files, same_logits, _same_scores(folder, exported, recorded, full)]


def _loaded(folder: ExportFolder, data_root: Path | None) -> Any:
    from tuner.training.exported.scores import load

    return load(folder.config, folder.checkpoint, data_root)


def _read(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise BadInput.of(
            str(file), f"cannot be read: is {file.parent} what `tuner export` wrote? {error}"
        ) from error
    return found


def _changed_files(folder: ExportFolder, facts: dict[str, Any]) -> Iterator[Problem]:
    for name, wanted in facts.get("sha256", {}).items():
        file = folder.root / name
        if not file.is_file():
            yield Problem(folder.name(file), "is missing")
        elif (found := sha256(file)) != wanted:
            yield Problem(
                str(file), f"was changed: its SHA-256 is {found[:12]}…, exported was {wanted[:12]}…"
            )


def _changed_keys(folder: ExportFolder) -> Iterator[Problem]:
    """Compares the configs with those in the checkpoint; the folder of the images may be another."""
    from tuner.training.exported.weights import meta_of
    from tuner.training.exported.written import as_dict, from_text

    try:
        meta = meta_of(folder.checkpoint)
    except BadInput as error:
        yield from error.problems
        return
    for file, key in ((folder.config, "config"), (folder.standalone, "standalone")):
        try:
            now, then = as_dict(file), from_text(meta.get(key, ""))
        except BadInput as error:
            yield from error.problems
            continue
        for path in differing(then, now):
            if path.rpartition(".")[2] != "data_root":
                yield Problem(folder.name(file), f"{path} was changed")


def _changed_images(
    folder: ExportFolder, recorded: dict[str, Any], data_root: Path | None
) -> Iterator[Problem]:
    from tuner.training.exported.scores import images_of, placed

    try:
        found = images_of(placed(folder.config, data_root))
    except BadInput as error:
        hint = "name the folder of the images by --data-root"
        yield from (Problem(each.source, f"{each.message}: {hint}") for each in error.problems)
        return
    for split, wanted in recorded["files"].items():
        if split not in found:
            continue  # a verification needs no training images
        source, own = f"images for {split}", found[split]
        missing = [name for name in wanted if name not in own]
        yield from (Problem(source, f"{name.partition('/')[2]} is missing") for name in missing[:NAMED])
        if len(missing) > NAMED:
            yield Problem(source, f"… and {len(missing) - NAMED} more are missing")
        others = [name for name in wanted if name in own and own[name] != wanted[name]]
        yield from (
            Problem(source, f"{name.partition('/')[2]} has {own[name]} bytes instead of {wanted[name]}")
            for name in others[:NAMED]
        )
        if more := len(own.keys() - wanted.keys()):
            yield Problem(source, f"{more} files are there that the study did not have")


def _logits_alone(folder: ExportFolder, data_root: Path | None, file: Path) -> dict[str, Any]:
    """Returns an image and its logits by the standalone config's model, where no tuner can be imported."""
    import torch

    if error := run_alone(alone(folder, data_root, file)):
        raise BadInput.of(folder.name(folder.standalone), f"without the tuner: {error}")
    found: dict[str, Any] = torch.load(file, weights_only=True)
    return found


def _same_logits(folder: ExportFolder, exported: Any, theirs: dict[str, Any]) -> str:
    """Compares the model of either config on one image; `theirs` is the standalone one's."""
    from tuner.training.exported.scores import logits

    image, ours = logits(exported, 0)
    if image.shape != theirs["image"].shape or (image - theirs["image"]).abs().max() > ALIKE:
        raise BadInput.of(
            folder.name(folder.standalone), "gives another image to the network: its test pipeline differs"
        )
    difference = float((ours - theirs["logits"]).abs().max())
    if not difference <= ALIKE * max(1.0, float(ours.abs().max())):
        raise BadInput.of(
            folder.name(folder.standalone), f"gives other logits: they differ by {difference:.3g}"
        )
    return (
        "both configs load, their models build and take all weights; without the tuner the standalone one gives the "
        f"same logits (they differ by {difference:.1g} at most)"
    )


def alone(folder: ExportFolder, data_root: Path | None, to: Path) -> dict[str, Any]:
    """Returns what `training/exported/alone.py` is to run."""
    names = {"config": folder.standalone, "weights": folder.checkpoint, "to": to}
    root = None if data_root is None else str(data_root.resolve())
    return {**{key: str(file) for key, file in names.items()}, "data_root": root, "image": 0}


def run_alone(export: dict[str, Any]) -> str | None:
    """Runs a standalone config in a process that cannot import tuner; returns what failed."""
    done = subprocess.run(
        COMMAND, input=json.dumps(export), capture_output=True, text=True, check=False, env=environment()
    )
    if done.returncode:
        return f"the process that runs it died: {done.stderr.strip()[-500:]}"
    found: str | None = json.loads(done.stdout.splitlines()[-1])
    return found


def environment() -> dict[str, str]:
    """Returns variables with which that process finds the program, before it forgets the tuner.

    It computes with as many threads as this one: sums over others differ by rounding.
    """
    import torch

    own = str(Path(tuner.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (own, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(torch.get_num_threads())}


def _same_scores(folder: ExportFolder, exported: Any, recorded: dict[str, Any], full: bool) -> str:
    """Holds the confusion matrix against the one of the trial's last evaluation."""
    from tuner.training.evaluation.confusion import moved
    from tuner.training.exported.scores import confusion, is_scored

    if not recorded["whole"] or not is_scored(exported):
        return _same_metrics(folder, exported)
    wanted = recorded["whole" if full else "subset"]
    others, pixels = moved(wanted, confusion(exported, None if full else recorded["images"]))
    images = "all" if full else f"{len(recorded['images'])} of the {len(exported.dataset)}"
    differ = f"{others} of {pixels} pixels differ"
    if others > FEW * pixels:
        raise BadInput.of(
            folder.name(folder.checkpoint),
            f"gives another confusion matrix of {images} validation images: {differ}",
        )
    return f"the confusion matrix of {images} validation images is the recorded one: {differ}"


def _same_metrics(folder: ExportFolder, exported: Any) -> str:
    """Holds all metrics against best.json: of a data set that evaluates in its own way."""
    from tuner.training.exported.scores import metrics

    wanted = _read(folder.best)["metrics"]
    found = metrics(exported)
    others = [f"{name} {found[name]:.2f}, not {wanted[name]:.2f}" for name in found.keys() & wanted.keys()
              if not abs(found[name] - wanted[name]) <= CLOSE]  # fmt: skip
    if others:
        raise BadInput.of(
            folder.name(folder.checkpoint), *(f"all validation images give {each}" for each in sorted(others))
        )
    return f"all validation images give the recorded metrics ({', '.join(sorted(found.keys() & wanted.keys())[:3])}, …)"
