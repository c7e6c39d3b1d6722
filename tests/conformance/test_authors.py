"""Files built as the Context Cluster authors' six: a ResNet's base below, placeholders, a repeated data set."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmseg.apis import inference_segmentor, init_segmentor

from tests.conformance.base import draw
from tests.conftest import JobFile
from tuner.cli import main
from tuner.models.context_cluster import ContextCluster
from tuner.sizing.trial_config import reproducible, with_data_root, with_pretrained
from tuner.spec.trial import Config, RankInfo
from tuner.training.config import config as configs
from tuner.training.config.canonical import notes, place_problems
from tuner.training.engine import Training

NAMES = {
    f"{arch}_{side}": (f"context_cluster_{arch}_feat{side}", side * side)
    for arch in ("small", "medium")
    for side in (2, 5, 7)
}
MODEL = """
norm = dict(type="SyncBN", requires_grad=True)
model = dict(
    type="EncoderDecoder", pretrained="open-mmlab://resnet50_v1c",
    backbone=dict(type="ResNetV1c", depth=50, num_stages=4, out_indices=(0, 1, 2, 3), dilations=(1, 1, 1, 1),
        strides=(1, 2, 2, 2), norm_cfg=norm, norm_eval=False, style="pytorch", contract_dilation=True),
    neck=dict(type="FPN", in_channels=[256, 512, 1024, 2048], out_channels=16, num_outs=4),
    decode_head=dict(type="FPNHead", in_channels=[16, 16, 16, 16], in_index=[0, 1, 2, 3],
        feature_strides=[4, 8, 16, 32], channels=16, dropout_ratio=0.1, num_classes=19, norm_cfg=norm,
        align_corners=False, loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0)),
    train_cfg=dict(), test_cfg=dict(mode="whole"))
"""
RUNTIME = """
log_config = dict(interval=50, hooks=[dict(type="TextLoggerHook", by_epoch=False)])
dist_params = dict(backend="nccl")
log_level = "INFO"
load_from = None
resume_from = None
workflow = [("train", 1)]
cudnn_benchmark = True
"""
DATA = """
root = "{path}/data/blocks"
colours = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop = (32, 32)
train_pipeline = [
    dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"),
    dict(type="Resize", img_scale=(48, 40), ratio_range=(0.9, 1.2)), dict(type="RandomCrop", crop_size=crop),
    dict(type="Normalize", **colours), dict(type="Pad", size=crop, pad_val=0, seg_pad_val=255),
    dict(type="DefaultFormatBundle"), dict(type="Collect", keys=["img", "gt_semantic_seg"],
        meta_keys=("ori_shape", "img_shape")),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="MultiScaleFlipAug", img_scale=(64, 32), flip=False, transforms=[
        dict(type="AlignResize", keep_ratio=True, size_divisor=32), dict(type="RandomFlip"),
        dict(type="Normalize", **colours), dict(type="ImageToTensor", keys=["img"]),
        dict(type="Collect", keys=["img"])]),
]
common = dict(type="CustomDataset", data_root=root, classes=("sky", "hill", "boat"))
data = dict(
    samples_per_gpu=2, workers_per_gpu=0,
    train=dict(type="RepeatDataset", times=50, dataset=dict(
        img_dir="images/training", ann_dir="labels/training", pipeline=train_pipeline, **common)),
    val=dict(img_dir="images/validation", ann_dir="labels/validation", pipeline=test_pipeline, **common),
    test=dict(img_dir="images/validation", ann_dir="labels/validation", pipeline=test_pipeline, **common))
"""
TOP = """
_base_ = ["./model.py", "./data.py", "./runtime.py"]
model = dict(
    type="EncoderDecoder",
    backbone=dict(type="NAME", style="pytorch",
        init_cfg=dict(type="Pretrained", checkpoint="{path-to-checkpoint}/best.pth.tar")),
    neck=dict(in_channels=[64, 128, 320, 512]), decode_head=dict(num_classes=3))
times = 1
optimizer = dict(type="AdamW", lr=0.0001 * times, weight_decay=0.0001)
optimizer_config = dict()
lr_config = dict(policy="poly", power=0.9, min_lr=0.0, by_epoch=False)
runner = dict(type="IterBasedRunner", max_iters=2 // times)
checkpoint_config = dict(by_epoch=False, interval=2 // times)
evaluation = dict(interval=2 // times, metric="mIoU")
device = "cuda"
"""
SPACE = {
    "parameters": {
        f"centers_{stage}": {
            "type": "choice",
            "choices": [4, 25, 49],
            "sets": f"model.backbone.centers.{stage}",
        }
        for stage in range(4)
    }
}
pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore::UserWarning")]
Authors = Callable[[str], Path]


def write_authors_file(folder: Path, name: str) -> Path:
    """Writes a file of the authors' structure with the files that it builds on; `name` is its backbone's."""
    for file, text in (("model", MODEL), ("data", DATA), ("runtime", RUNTIME)):
        (folder / f"{file}.py").write_text(text)
    top = folder / "top.py"
    top.write_text(TOP.replace("NAME", name))
    return top


@pytest.fixture
def authors(tmp_path: Path) -> Authors:
    return lambda name: write_authors_file(tmp_path, name)


@pytest.fixture
def blocks(tmp_path: Path) -> Path:
    draw(tmp_path / "blocks", images=3, validation=2)
    return tmp_path / "blocks"


def placed(file: Path, folder: Path) -> Config:
    return with_pretrained(with_data_root(configs.read(file), folder), "none")


@pytest.mark.parametrize("name", NAMES)
def test_the_class_name_says_architecture_and_centers(authors: Authors, name: str) -> None:
    kind, centers = NAMES[name]
    config = configs.read(authors(kind))
    assert config["model"]["backbone"]["centers"] == [centers] * 4
    [ignored, *others] = notes(config)
    assert ignored.startswith("model.backbone: depth, num_stages, out_indices, dilations, strides, norm_cfg")
    assert ignored.endswith("mean nothing to it, as to the authors' own class")
    assert others == []


def test_placeholders_are_told_with_the_flags_that_fill_them(authors: Authors, blocks: Path) -> None:
    file = authors("context_cluster_small_feat2")
    messages = [problem.message for problem in place_problems(configs.read(file), str(file))]
    assert (
        "data.train.dataset.data_root: '{path}/data/blocks' is a placeholder: name the folder by --data-root"
        in messages
    )
    assert [
        message for message in messages if message.startswith("model.backbone.init_cfg.checkpoint: '{path-to")
    ]
    assert all(
        "--data-root" in message or "--pretrained FILE, or --pretrained none" in message
        for message in messages
    )
    assert place_problems(placed(file, blocks), str(file)) == []


def test_they_train_and_evaluate_and_mmseg_itself_takes_what_is_saved(
    authors: Authors, blocks: Path, tmp_path: Path
) -> None:
    config = placed(authors("context_cluster_small_feat2"), blocks)
    found = Training(reproducible(config, seed=1, ranks=1), tmp_path / "trial", RankInfo()).step((2,))
    assert found.metrics["mIoU"] >= 0
    segmentor = init_segmentor(
        str(tmp_path / "trial/config.py"), str(tmp_path / "trial/checkpoint.pth"), "cpu"
    )
    assert isinstance(segmentor.backbone, ContextCluster)
    assert list(segmentor.CLASSES) == ["sky", "hill", "boat"]
    assert np.shape(segmentor.PALETTE) == (3, 3)
    [labels] = inference_segmentor(segmentor, str(blocks / "images/validation/0.jpg"))
    assert labels.shape == (40, 48)


def test_a_checkpoint_is_named_by_the_flag(authors: Authors, tmp_path: Path) -> None:
    config = configs.read(authors("context_cluster_medium_feat7"))
    weights = {"head.weight": torch.zeros(2)}
    torch.save(weights, tmp_path / "weights.pth")
    found = with_pretrained(config, str(tmp_path / "weights.pth"))["model"]
    assert found["backbone"]["init_cfg"] == {
        "type": "Pretrained",
        "checkpoint": str(tmp_path / "weights.pth"),
    }
    assert "pretrained" not in found
    assert "init_cfg" not in with_pretrained(config, "none")["model"]["backbone"]


@pytest.mark.long
def test_check_passes_with_the_flags_and_centers_can_be_searched(
    authors: Authors, blocks: Path, tmp_path: Path, job_file: JobFile, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    space = tmp_path / "space.yaml"
    space.write_text(yaml.safe_dump(SPACE))
    file = authors("context_cluster_small_feat2")
    job = job_file(config=str(file), space=str(space), fidelity={"iterations": 2}, data_root=str(blocks))

    def check(*flags: str) -> int:
        monkeypatch.setattr(
            "sys.argv", ["tuner", "--home", str(tmp_path / "home"), "check", str(job), *flags]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    assert check("--pretrained", "none") == 0
    assert check("--pretrained", str(tmp_path / "absent.pth")) == 2
    assert check() == 2
    printed = capsys.readouterr()
    assert "absent.pth" in printed.err
    assert "is a placeholder: name the file by --pretrained FILE" in printed.err
