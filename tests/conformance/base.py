"""A small config of mmseg's own parts on small images: what the idioms change."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

SIDE, CLASSES, ITERATIONS = 32, ("sky", "hill", "boat"), 3
NORMALIZE = {
    "type": "Normalize",
    "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375],
    "to_rgb": True,
}
LOADING = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}]
FINISHING = [{"type": "DefaultFormatBundle"}, {"type": "Collect", "keys": ["img", "gt_semantic_seg"]}]
TRAIN = [
    *LOADING,
    {"type": "Resize", "img_scale": (48, 40), "ratio_range": (0.8, 1.4)},
    {"type": "RandomCrop", "crop_size": (SIDE, SIDE)},
    {"type": "RandomFlip", "prob": 0.5},
    {"type": "PhotoMetricDistortion"},
    NORMALIZE,
    {"type": "Pad", "size": (SIDE, SIDE), "pad_val": 0, "seg_pad_val": 255},
    *FINISHING,
]
ONE_SCALE = [
    {"type": "Resize", "keep_ratio": True},
    {"type": "RandomFlip"},
    NORMALIZE,
    {"type": "ImageToTensor", "keys": ["img"]},
    {"type": "Collect", "keys": ["img"]},
]


def testing(**changes: Any) -> list[dict[str, Any]]:
    augmented = {"type": "MultiScaleFlipAug", "img_scale": (48, 40), "flip": False, "transforms": ONE_SCALE}
    return [{"type": "LoadImageFromFile"}, augmented | changes]


def dataset(folder: Path, split: str, **changes: Any) -> dict[str, Any]:
    return {
        "type": "CustomDataset",
        "data_root": str(folder),
        "img_dir": f"images/{split}",
        "ann_dir": f"labels/{split}",
        "classes": CLASSES,
        "pipeline": TRAIN if split == "training" else testing(),
    } | changes


def base(folder: Path) -> dict[str, Any]:
    """ResNet-18 with 4 channels, Semantic FPN."""
    norm = {"type": "SyncBN", "requires_grad": True}
    return {
        "model": {
            "type": "EncoderDecoder",
            "pretrained": None,
            "backbone": {
                "type": "ResNetV1c",
                "depth": 18,
                "base_channels": 4,
                "stem_channels": 4,
                "norm_cfg": norm,
                "norm_eval": False,
                "style": "pytorch",
            },
            "neck": {"type": "FPN", "in_channels": [4, 8, 16, 32], "out_channels": 8, "num_outs": 4},
            "decode_head": {
                "type": "FPNHead",
                "in_channels": [8, 8, 8, 8],
                "in_index": [0, 1, 2, 3],
                "feature_strides": [4, 8, 16, 32],
                "channels": 8,
                "dropout_ratio": 0.1,
                "num_classes": len(CLASSES),
                "norm_cfg": norm,
                "align_corners": False,
                "loss_decode": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
            },
            "train_cfg": {},
            "test_cfg": {"mode": "whole"},
        },
        "optimizer": {"type": "AdamW", "lr": 0.01, "weight_decay": 0.01},
        "optimizer_config": {},
        "lr_config": {"policy": "poly", "power": 0.9, "min_lr": 1e-4, "by_epoch": False},
        "runner": {"type": "IterBasedRunner", "max_iters": ITERATIONS},
        "checkpoint_config": {"by_epoch": False, "interval": ITERATIONS},
        "evaluation": {"interval": ITERATIONS, "metric": "mIoU", "pre_eval": True},
        "log_config": {"interval": 50, "hooks": [{"type": "TextLoggerHook", "by_epoch": False}]},
        "log_level": "WARNING",
        "dist_params": {"backend": "nccl"},
        "load_from": None,
        "resume_from": None,
        "workflow": [("train", 1)],
        "cudnn_benchmark": True,
        "data": {
            "samples_per_gpu": 2,
            "workers_per_gpu": 0,
            "persistent_workers": False,
            "train": dataset(folder, "training"),
            "val": dataset(folder, "validation"),
            "test": dataset(folder, "validation"),
        },
    }


def draw(folder: Path, images: int = 5, validation: int = 3) -> None:
    """Blocks of colour with noise; label 255 here and there, and every class."""
    rng = np.random.default_rng(7)
    for split, count in (("training", images), ("validation", validation)):
        for number in range(count):
            coarse = rng.integers(0, len(CLASSES), (5, 6))
            labels = np.kron(coarse, np.ones((8, 8))).astype(np.uint8)
            image = (60 * labels[..., None] + rng.integers(0, 80, (*labels.shape, 3))).astype(np.uint8)
            labels[rng.random(labels.shape) < 0.05] = 255
            write(folder / "images" / split / f"{number}.jpg", image)
            write(folder / "labels" / split / f"{number}.png", labels)


def write(file: Path, image: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), image)
