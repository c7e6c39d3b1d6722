"""A study made from files with the authors' structure is exported, verified, and taken by plain mmseg."""

import json
from pathlib import Path

import pytest
import yaml
from mmcv.utils import Config as MmcvConfig
from mmseg.apis import inference_segmentor, init_segmentor

from tests.conformance.base import draw
from tests.conformance.test_authors import SPACE, write_authors_file
from tests.export.studies import searched
from tuner.export.asked import Asked
from tuner.export.export import export
from tuner.files.paths import ExportFolder, Home
from tuner.training.config.config import literal

NAME = "context_cluster_small_feat2"
pytestmark = [
    pytest.mark.long,
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def test_a_study_from_the_authors_files_is_exported_to_plain_mmseg(tmp_path: Path) -> None:
    file = write_authors_file(tmp_path, NAME)
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE))
    draw(tmp_path / "blocks", images=3, validation=2)
    home = Home(tmp_path / "home")
    home.root.mkdir()
    asked = {"config": str(file), "space": str(tmp_path / "space.yaml"), "pretrained": "none"}
    store = searched(tmp_path, home, tmp_path / "blocks", **asked)
    export(store, home, tmp_path / "default", Asked(trial=0, verification="none"))
    _, messages = export(store, home, tmp_path / "drawn", Asked(trial=1, data_root=tmp_path / "blocks"))
    assert any("without the tuner the standalone one gives the same logits" in each for each in messages)

    default, drawn = ExportFolder(tmp_path / "default"), ExportFolder(tmp_path / "drawn")
    standalone = MmcvConfig.fromfile(str(default.standalone), import_custom_modules=False)
    assert standalone.model.backbone == {"type": NAME}
    params = json.loads(drawn.best.read_text())["params"]
    assert set(params) == set(SPACE["parameters"])
    assert literal(drawn.config.read_text())["model"]["backbone"]["centers"] == list(params.values())
    segmentor = init_segmentor(str(drawn.config), str(drawn.checkpoint), "cpu")
    assert list(segmentor.CLASSES) == ["sky", "hill", "boat"]
    [labels] = inference_segmentor(segmentor, str(tmp_path / "blocks/images/validation/0.jpg"))
    assert labels.shape == (40, 48)
