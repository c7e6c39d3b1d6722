"""The whole way over a cluster of one's own: submit, status, export; and the export trains.

The config imports a module that lies beside it. `test_local` ends the cluster afterwards.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT, JobFile, Tuner
from tests.object_store import ObjectStore
from tests.own_code import imported_from, leaves_a_note, write_own_code
from tuner.files.paths import Home
from tuner.sizing.custom_imports import importing
from tuner.training.config import config as configs
from tuner.training.data.toy import draw

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("local")]

SHORT = {
    "name": "short",
    "budget": {"trials": 4},
    "fidelity": {"iterations": 6, "rungs": [2, 6]},
    "resources": {"gpus_per_trial": 0, "ranks": 1, "global_batch": 4, "concurrent": 1},
}


@pytest.fixture
def home(own_cluster: Home) -> Path:
    return own_cluster.root


def test_a_job_is_submitted_finishes_and_its_export_trains(
    job_file: JobFile,
    tuner: Tuner,
    tuner_inside: Tuner,
    home: Path,
    tmp_path: Path,
    object_store: ObjectStore,
    url: str,
) -> None:
    toys = tmp_path / "toys"
    draw(toys, images=4, validation=1)
    own, note = tmp_path / "own", tmp_path / "note"
    job = job_file(**SHORT, config=str(config_with_own_code(own, note)))
    done = tuner("submit", job, "--data-root", toys, "--wait", TUNER_CHECKPOINTS=url)
    assert "submitted: short-1" in done.stdout
    assert imported_from(note).parent.name.startswith("tuner-modules-"), "a node's own folder"
    shutil.rmtree(own)
    assert "default 0" in done.stdout
    assert tuner_inside("resume").stdout == "short: left alone: it is over\n"
    status = json.loads(tuner_inside("status", "short", "--json").stdout)
    outcomes = [trial["outcome"] for trial in status["trials"]]
    assert len(outcomes) == 4
    assert "pruned" in outcomes
    assert None not in outcomes
    assert len({trial["trial"]["params"]["centers"] for trial in status["trials"]}) >= 2
    tuner_inside("export", "short", "--to", tmp_path / "best", "--verify", "none", TUNER_CHECKPOINTS=url)
    assert "short/0000/checkpoint.pth" in object_store.names(url)
    assert not list((home / "studies").rglob("checkpoint.pth"))
    assert_export_trains(tuner_inside, tmp_path / "best", status)


def config_with_own_code(folder: Path, note: Path) -> Path:
    """Writes the toy config with a hook from a module beside it."""
    folder.mkdir()
    write_own_code(folder, "sent_module")
    toy = configs.read(ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py") | {"custom_hooks": [leaves_a_note(note)]}
    (folder / "config.py").write_text(configs.text(importing(toy, ["sent_module"])))
    return folder / "config.py"


def assert_export_trains(tuner: Tuner, best: Path, status: dict[str, object]) -> None:
    card = json.loads((best / "best.json").read_text())
    assert card["trial"] == status["best"]
    assert {"params", "metrics", "seed", "versions", "git_commit", "data"} <= card.keys()
    assert "_base_" not in (best / "config.py").read_text()
    done = tuner("evaluate", best / "config.py", best / "checkpoint.pth")
    assert f"{card['metrics']['mIoU']:.2f}" in done.stdout
    assert (best / "sent_module_helper.py").is_file()
    short = ("--set", "runner.max_iters=2", "--work-dir", best.parent / "again")
    assert "iteration 2: mIoU" in tuner("train", best / "config.py", *short).stdout
    saved = torch.load(best.parent / "again" / "checkpoint.pth", weights_only=True)
    assert saved["meta"]["iteration"] == 2
