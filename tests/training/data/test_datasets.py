"""mmseg's data sets are asked for their files and labels, whatever they are wrapped in."""

from pathlib import Path

import pytest

from tests.conformance.base import base, dataset, draw
from tests.conformance.idioms import IDIOMS
from tuner.spec.trial import Config, RankInfo
from tuner.training.data.annotations import SoundAnnotations
from tuner.training.data.datasets import build, built_split, labelled_images, plain_datasets
from tuner.training.data.images import images_of
from tuner.training.evaluation.evaluation import evaluate
from tuner.training.evaluation.scored import is_scored_by_mmseg


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    drawn = tmp_path_factory.mktemp("images")
    draw(drawn)
    return drawn


@pytest.mark.parametrize(
    ("idiom", "train", "allowed"),
    [
        ("as it is", 5, {0, 1, 2, 255}),
        ("repeated list of training sets", 8, {0, 1, 2, 255}),
        ("lists of folders", 8, {0, 1, 2, 255}),
        ("split file", 2, {0, 1, 2, 255}),
        ("mosaic of several images", 5, {0, 1, 2, 255}),
        ("wrapper of the users own", 5, {0, 1, 2, 255}),
        ("cityscapes", 5, {*range(19), 255}),
        ("pascal voc with its split", 2, {*range(21), 255}),
        ("potsdam without label zero", 5, {*range(7), 255}),
        ("isaid with its file names", 5, {*range(16), 255}),
        ("cascade with object context", 5, {0, 1, 2, 255}),
    ],
)
def test_a_data_set_says_which_files_it_reads_and_which_labels_they_may_hold(
    folder: Path, idiom: str, train: int, allowed: set[int]
) -> None:
    config = base(folder)
    IDIOMS[idiom](config, folder)
    if "custom_imports" in config:
        import tests.conformance.users  # noqa: F401 - as mmcv imports it when it reads the file
    found = labelled_images(config, "train")
    assert sum(len(each.pairs) for each in found) == train
    assert all(file.is_file() for each in found for pair in each.pairs for file in pair)
    assert set.union(*(set(each.allowed) for each in found)) == allowed
    images = images_of(config)
    assert images.problems(SoundAnnotations()) == []
    assert len(images.fingerprint()) == 16


def test_what_is_missing_is_named_with_its_key(folder: Path) -> None:
    config = base(folder)
    config["data"]["train"] = [
        dataset(folder, "training") | {"split": "no.txt"},
        dataset(folder, "training", img_dir="no"),
    ]
    config["data"]["val"]["ann_dir"] = "none"
    messages = [problem.message for problem in images_of(config).problems(SoundAnnotations())]
    assert messages == [
        f"data.train.0.split: there is no file {folder}/no.txt",
        f"data.train.1.img_dir: there is no folder {folder}/no",
        f"data.val.ann_dir: there is no folder {folder}/none",
    ]


def test_a_data_set_that_finds_nothing_or_cannot_be_built_says_so(folder: Path) -> None:
    config = base(folder)
    config["data"]["train"]["img_suffix"] = ".tif"
    config["data"]["val"] |= {"type": "ADE21KDataset"}
    found = images_of(config).problems(SoundAnnotations())
    messages = {problem.source: problem.message for problem in found}
    assert messages.keys() == {"data.train", "data.val"}
    assert messages["data.train"] == "finds no image: look at its folders and at img_suffix and split"
    assert "ADE21KDataset is not registered: the nearest are ADE20KDataset" in messages["data.val"]


def test_classes_left_out_are_ignored_with_any_numpy(folder: Path) -> None:
    config = base(folder)
    IDIOMS["potsdam without label zero"](config, folder)
    config["data"]["val"]["classes"] = ["tree", "car"]
    built = build(config["data"]["val"], test_mode=True)
    assert sorted(set(built.label_map.values())) == [0, 1, 255]
    assert built.get_gt_seg_map_by_idx(0).max() == 255


def test_a_data_set_of_the_users_own_evaluates_itself(folder: Path) -> None:
    from tests.conformance import users

    config: Config = base(folder)
    config["data"]["val"] |= {"type": "CountedHits"}
    built = built_split(config, "val")
    assert not is_scored_by_mmseg(built)
    assert is_scored_by_mmseg(build(base(folder)["data"]["val"], test_mode=True))
    model = users.AlwaysSky()
    found = evaluate(model, built, config["data"], RankInfo(), config["evaluation"] | {"factor": 2})
    wanted = sum(
        int((plain.get_gt_seg_map_by_idx(i) == 0).sum()) for plain in plain_datasets(built) for i in range(3)
    )
    assert found == {"hits": 2 * wanted, "mIoU": 50.0}
