"""An export in mmseg alone, with and without a checkout that has the authors' classes; and back in a search."""

import json
import os
import subprocess
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tests.conftest import ROOT
from tests.export.studies import TOY, searched
from tuner import trainings
from tuner.export.asked import Asked
from tuner.export.export import export
from tuner.export.layout import text
from tuner.export.self_contained import FOOTER, module_text
from tuner.export.standalone import standalone
from tuner.files.paths import ExportFolder, Home
from tuner.sizing.own_entry import with_own
from tuner.spec.trial import Config, RankInfo
from tuner.training import checkpoint
from tuner.training.config import config as configs
from tuner.training.data.datasets import build
from tuner.training.data.toy import draw
from tuner.training.engine import segmentor

pytestmark = [
    pytest.mark.long,
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.xdist_group("exported"),
]
THEIRS = '''
from mmseg.models.builder import BACKBONES as _registry


@_registry.register_module()
class context_cluster_small_feat2(ContextCluster):
    """As their class: what they do not know is refused."""

    def __init__(self, drop_path_rate=0.0, init_cfg=None):
        super().__init__("small", centers=4, drop_path_rate=drop_path_rate, init_cfg=init_cfg)
'''


@dataclass(frozen=True)
class Done:
    folder: ExportFolder
    images: Path
    scratch: Path
    python: Path
    """The interpreter of an environment that has no tuner."""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Done:
    """The published small net with 4 centers, trained a little on drawn images."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "home").mkdir()
    draw(folder / "toys", images=4, validation=3)
    file = folder / "small.py"
    file.write_text(
        configs.text(on_toys(configs.read(ROOT / "configs/sem_fpn/fpn_coc_small_c4_ade20k_80k.py")))
    )
    home, budget = Home(folder / "home"), {"trials": 1, "seeds": 1}
    store = searched(folder, home, folder / "toys", config=str(file), budget=budget)
    export(store, home, folder / "best", Asked(verification="none"))
    return Done(ExportFolder(folder / "best"), folder / "toys", folder, without_tuner(folder / "venv"))


def on_toys(config: Config) -> Config:
    """The same model on the drawn images, in small."""
    toy = configs.read(ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py")
    config["model"]["decode_head"]["num_classes"] = 8
    config["optimizer"]["lr"] = 1e-3
    return config | {"data": toy["data"]}


def by_mmseg(done: Done, authors: Path | None) -> dict[str, Any]:
    """What mmseg makes of the export in an environment that has no tuner."""
    batch, accumulating = done.scratch / "batch.pth", done.folder.standalone.with_name("accumulating.py")
    torch.save(first_batch(done), batch)
    short_of_memory = with_own(configs.read(done.folder.config), accumulation=2)
    accumulating.write_text(text(standalone(short_of_memory, ranks=1, gpus=1), "Two iterations a step"))
    asked = {
        "config": str(done.folder.standalone),
        "accumulating": str(accumulating),
        "weights": str(done.folder.checkpoint),
        "batch": str(batch),
        "authors": authors and str(authors),
        "more": authors is None,
        "work_dir": str(done.scratch / f"work{bool(authors)}"),
        "seed": 3,
    }
    ended = subprocess.run(
        [done.python, ROOT / "tests/export/plain_mmseg.py"],
        input=json.dumps(asked), capture_output=True, text=True, check=False, cwd=done.scratch,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    assert not found["has tuner"]
    return found


def without_tuner(folder: Path) -> Path:
    """Makes a virtual environment of all packages here but the tuner; returns its interpreter."""
    venv.create(folder)
    [packages] = folder.glob("lib/python*/site-packages")
    for each in Path(sysconfig.get_path("purelib")).iterdir():
        if each.name != "tuner" and "coc_tuner" not in each.name:
            (packages / each.name).symlink_to(each)
    return folder / "bin/python"


def first_batch(done: Done) -> dict[str, Any]:
    dataset = build(configs.read(done.folder.config)["data"]["train"])
    samples = [dataset[index] for index in range(2)]
    tensors = {key: torch.stack([each[key].data for each in samples]) for key in ("img", "gt_semantic_seg")}
    return {**tensors, "img_metas": [{}, {}]}


def our_loss(done: Done) -> float:
    model: Any = segmentor(configs.read(done.folder.config), RankInfo())
    checkpoint.load(done.folder.checkpoint, model)
    torch.manual_seed(0)
    loss, _ = model._parse_losses(model.train().forward_train(**first_batch(done)))  # noqa: SLF001
    return float(loss)


@pytest.mark.parametrize("has_authors", [False, True], ids=["mmseg", "authors"])
def test_it_trains_and_measures_without_the_tuner(done: Done, has_authors: bool, tmp_path: Path) -> None:
    authors = tmp_path if has_authors else None
    (tmp_path / "models").mkdir()
    (tmp_path / "models/__init__.py").touch()
    (tmp_path / "models/context_cluster.py").write_text(module_text().removesuffix(FOOTER) + THEIRS)
    found = by_mmseg(done, authors)
    assert found["backbone"] == ("models.context_cluster" if has_authors else "context_cluster")
    assert (len(found["losses"]), found["steps"]) == (5, 5)
    assert np.isfinite(found["losses"]).all()
    if not has_authors:
        losses, steps = found["accumulating"]
        assert (len(losses), steps, len(found["ddp"])) == (10, 5, 2)
        assert np.isfinite([*losses, *found["ddp"]]).all()
    assert found["loss"] == pytest.approx(our_loss(done), abs=1e-5)
    whole = np.array(json.loads(done.folder.recorded.read_text())["whole"])
    hits, true, predicted = whole.diagonal()[:-1], whole[:-1].sum(1), whole[:, :-1].sum(0)
    wanted = np.array([hits, true + predicted - hits, predicted, true])
    assert np.abs(np.array(found["areas"]) - wanted).sum() <= 1e-4 * whole.sum()  # softmax rounds to ties


def test_what_was_exported_is_searched_again(done: Done, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    job, _ = sorted(trainings.first_job(done.folder.standalone, done.images, None, tmp_path))
    proposed = yaml.safe_load(job.read_text())
    assert Path(proposed.pop("data_root")) == done.images.resolve()
    small = {"name": "again", "budget": {"trials": 1, "seeds": 1}, "fidelity": {"iterations": 1}}
    home, resources = Home(tmp_path / "home"), TOY["resources"]
    store = searched(tmp_path, home, done.images, **proposed | small | {"resources": resources})
    [record] = store.records()
    assert record.last
    assert record.trial.params["lr"] == 1e-3
    written = configs.literal(home.trial("again", 0).config_text() or "")
    assert written["model"]["backbone"]["centers"] == [4, 4, 4, 4]
    assert not [name for name in written["custom_imports"]["imports"] if not name.startswith("tuner.")]
    ours = configs.read(done.folder.config)["data"]["train"]["dataset"]
    assert written["data"]["train"]["dataset"] == ours
