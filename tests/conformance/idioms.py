"""The ways in which public mmseg configs say things: each is a change of the base config."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmseg.models import build_segmentor

from tests.conformance import layouts
from tests.conformance.base import FINISHING, LOADING, NORMALIZE, SIDE, TRAIN, dataset, testing
from tuner.sizing.precision import with_precision

Config = dict[str, Any]
IDIOMS: dict[str, Callable[[Config, Path], None]] = {}
GROUP_NORM = {"type": "GN", "num_groups": 2, "requires_grad": True}


def idiom(change: Callable[[Config, Path], None]) -> Callable[[Config, Path], None]:
    IDIOMS[change.__name__.replace("_", " ")] = change
    return change


def head(**changes: Any) -> Config:
    return {
        "type": "FCNHead",
        "in_channels": 32,
        "in_index": 3,
        "channels": 8,
        "num_convs": 1,
        "concat_input": False,
        "dropout_ratio": 0.1,
        "num_classes": 3,
        "norm_cfg": {"type": "BN", "requires_grad": True},
        "align_corners": False,
        "loss_decode": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 0.4},
    } | changes


def in_parts(config: Config) -> None:
    """Parts of a batch have other statistics than the batch; Adam makes much of a small difference."""
    config["optimizer"] = {"type": "SGD", "lr": 0.01, "momentum": 0.9}
    config["model"]["backbone"] |= {"norm_cfg": GROUP_NORM}
    config["model"]["decode_head"] |= {"norm_cfg": GROUP_NORM}


@idiom
def as_it_is(config: Config, folder: Path) -> None: ...


# data sets and their wrappers


@idiom
def repeated_training_set(config: Config, folder: Path) -> None:
    config["data"]["train"] = {"type": "RepeatDataset", "times": 3, "dataset": config["data"]["train"]}


@idiom
def list_of_training_sets(config: Config, folder: Path) -> None:
    config["data"]["train"] = [config["data"]["train"], dataset(folder, "validation", pipeline=TRAIN)]


@idiom
def repeated_list_of_training_sets(config: Config, folder: Path) -> None:
    list_of_training_sets(config, folder)
    repeated_training_set(config, folder)


@idiom
def list_with_a_repeated_training_set(config: Config, folder: Path) -> None:
    list_of_training_sets(config, folder)
    first, second = config["data"]["train"]
    config["data"]["train"] = [{"type": "RepeatDataset", "times": 2, "dataset": first}, second]


@idiom
def lists_of_folders(config: Config, folder: Path) -> None:
    config["data"]["train"] |= {
        "img_dir": ["images/training", "images/validation"],
        "ann_dir": ["labels/training", "labels/validation"],
    }


@idiom
def split_file(config: Config, folder: Path) -> None:
    (folder / "odd.txt").write_text("1\n3\n")
    config["data"]["train"]["split"] = "odd.txt"


@idiom
def list_of_split_files(config: Config, folder: Path) -> None:
    (folder / "one.txt").write_text("1\n")
    (folder / "others.txt").write_text("2\n4\n")
    config["data"]["train"]["split"] = ["one.txt", "others.txt"]


@idiom
def mosaic_of_several_images(config: Config, folder: Path) -> None:
    config["data"]["train"] = {
        "type": "MultiImageMixDataset",
        "dataset": dataset(folder, "training", pipeline=LOADING),
        "pipeline": [
            {"type": "RandomMosaic", "prob": 1, "img_scale": (SIDE, SIDE)},
            {"type": "Resize", "img_scale": (SIDE, SIDE), "keep_ratio": False},
            {"type": "RandomFlip", "prob": 0.5},
            NORMALIZE,
            *FINISHING,
        ],
    }


@idiom
def wrapper_of_the_users_own(config: Config, folder: Path) -> None:
    config["custom_imports"] = {"imports": ["tests.conformance.users"], "allow_failed_imports": False}
    config["data"]["train"] = {"type": "FirstAlone", "dataset": config["data"]["train"]}


@idiom
def order_of_the_data_set(config: Config, folder: Path) -> None:
    config["data"]["train_dataloader"] = {"shuffle": False}


@idiom
def batch_size_in_train_dataloader(config: Config, folder: Path) -> None:
    config["data"]["train_dataloader"] = {"samples_per_gpu": 3, "drop_last": True}


@idiom
def cityscapes(config: Config, folder: Path) -> None:
    layouts.use(config, folder, "CityscapesDataset", "_leftImg8bit.png", "_gtFine_labelTrainIds.png", 19)


@idiom
def pascal_voc_with_its_split(config: Config, folder: Path) -> None:
    layouts.use(config, folder, "PascalVOCDataset", ".jpg", ".png", 21, splits=True)


@idiom
def potsdam_without_label_zero(config: Config, folder: Path) -> None:
    layouts.use(config, folder, "PotsdamDataset", ".png", ".png", 6, reduce_zero_label=True)


@idiom
def loveda_without_label_zero(config: Config, folder: Path) -> None:
    layouts.use(config, folder, "LoveDADataset", ".png", ".png", 7, reduce_zero_label=True)


@idiom
def ade20k_without_label_zero(config: Config, folder: Path) -> None:
    layouts.use(config, folder, "ADE20KDataset", ".jpg", ".png", 150, reduce_zero_label=True)


@idiom
def isaid_with_its_file_names(config: Config, folder: Path) -> None:
    layouts.use(config, folder, "iSAIDDataset", ".png", "_instance_color_RGB.png", 16)


@idiom
def label_map_of_reordered_classes(config: Config, folder: Path) -> None:
    layouts.use(config, folder, "PotsdamDataset", ".png", ".png", 6, reduce_zero_label=True)
    names = ["clutter", "car", "tree", "low_vegetation", "building", "impervious_surface"]
    for split in ("train", "val"):
        config["data"][split]["classes"] = names


@idiom
def ignore_index_of_the_validation_set(config: Config, folder: Path) -> None:
    config["data"]["val"]["ignore_index"] = 0


@idiom
def zero_reduced_in_training_alone(config: Config, folder: Path) -> None:
    config["data"]["train"]["pipeline"] = [
        LOADING[0],
        {"type": "LoadAnnotations", "reduce_zero_label": True},
        *TRAIN[2:],
    ]


@idiom
def joined_validation_sets(config: Config, folder: Path) -> None:
    config["data"]["val"] = [config["data"]["val"], dataset(folder, "training", pipeline=testing())]


@idiom
def validation_folders_evaluated_together(config: Config, folder: Path) -> None:
    config["data"]["val"] |= {
        "img_dir": ["images/training", "images/validation"],
        "ann_dir": ["labels/training", "labels/validation"],
        "separate_eval": False,
    }


@idiom
def nothing_about_tests_and_loaders(config: Config, folder: Path) -> None:
    kept = ("samples_per_gpu", "workers_per_gpu", "train", "val")
    config["data"] = {key: config["data"][key] for key in kept}
    config["data"]["train_dataloader"] = {"persistent_workers": False}
    del config["evaluation"]


# models


@idiom
def outer_train_cfg_and_test_cfg(config: Config, folder: Path) -> None:
    config |= {key: config["model"].pop(key) for key in ("train_cfg", "test_cfg")}


@idiom
def auxiliary_head(config: Config, folder: Path) -> None:
    config["model"]["auxiliary_head"] = head(in_channels=8, in_index=2)


@idiom
def several_auxiliary_heads(config: Config, folder: Path) -> None:
    config["model"]["auxiliary_head"] = [head(in_channels=8, in_index=index) for index in (1, 2)]


@idiom
def hard_examples(config: Config, folder: Path) -> None:
    config["model"]["decode_head"]["sampler"] = {"type": "OHEMPixelSampler", "thresh": 0.4, "min_kept": 100}


@idiom
def class_weights(config: Config, folder: Path) -> None:
    config["model"]["decode_head"]["loss_decode"]["class_weight"] = [0.5, 1.0, 2.0]


@idiom
def several_losses(config: Config, folder: Path) -> None:
    config["model"]["decode_head"]["loss_decode"] = [
        {"type": "CrossEntropyLoss", "loss_name": "loss_ce", "loss_weight": 1.0},
        {"type": "DiceLoss", "loss_name": "loss_dice", "loss_weight": 3.0},
    ]


@idiom
def focal_like_loss_of_binary_outputs(config: Config, folder: Path) -> None:
    config["model"]["decode_head"]["loss_decode"] = {"type": "CrossEntropyLoss", "use_sigmoid": True}


@idiom
def one_output_for_two_classes(config: Config, folder: Path) -> None:
    config["model"]["decode_head"] |= {
        "num_classes": 2,
        "out_channels": 1,
        "threshold": 0.4,
        "loss_decode": {"type": "CrossEntropyLoss", "use_sigmoid": True},
    }
    layouts.use(config, folder, "CustomDataset", ".jpg", ".png", 2, classes=("background", "boat"))


@idiom
def cascade_with_object_context(config: Config, folder: Path) -> None:
    last = head(type="OCRHead", channels=16, ocr_channels=8)
    del last["num_convs"], last["concat_input"]
    config["model"] |= {
        "type": "CascadeEncoderDecoder",
        "num_stages": 2,
        "backbone": config["model"]["backbone"] | {"dilations": (1, 1, 2, 4), "strides": (1, 2, 1, 1)},
        "neck": None,
        "decode_head": [head(in_channels=16, in_index=2), last],
    }


@idiom
def cascade_of_points(config: Config, folder: Path) -> None:
    points = {"num_points": 64, "oversample_ratio": 3, "importance_sample_ratio": 0.75}
    tested = {"subdivision_steps": 2, "subdivision_num_points": 64, "scale_factor": 2}
    loss = {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0}
    config["model"] |= {
        "type": "CascadeEncoderDecoder",
        "num_stages": 2,
        "decode_head": [
            config["model"]["decode_head"],
            {
                "type": "PointHead",
                "in_channels": [8],
                "in_index": [0],
                "channels": 8,
                "num_fcs": 1,
                "coarse_pred_each_layer": True,
                "dropout_ratio": -1,
                "num_classes": 3,
                "align_corners": False,
                "loss_decode": loss,
            },
        ],
        "train_cfg": points,
        "test_cfg": {"mode": "whole"} | tested,
    }


@idiom
def sliding_window(config: Config, folder: Path) -> None:
    config["model"]["test_cfg"] = {"mode": "slide", "crop_size": (32, 32), "stride": (20, 20)}


@idiom
def flips_and_scales_at_test_time(config: Config, folder: Path) -> None:
    ratios = {"img_ratios": [0.75, 1.0], "flip": True, "flip_direction": ["horizontal", "vertical"]}
    config["data"]["val"]["pipeline"] = testing(**ratios)


@idiom
def frozen_stages_and_statistics(config: Config, folder: Path) -> None:
    config["model"]["backbone"] |= {"frozen_stages": 1, "norm_eval": True}


@idiom
def align_corners(config: Config, folder: Path) -> None:
    config["model"]["decode_head"]["align_corners"] = True


@idiom
def dropped_paths(config: Config, folder: Path) -> None:
    config["model"] |= {
        "backbone": {
            "type": "MixVisionTransformer",
            "embed_dims": 4,
            "num_layers": [1, 1, 1, 1],
            "num_heads": [1, 2, 4, 8],
            "drop_path_rate": 0.3,
            "drop_rate": 0.1,
        },
        "neck": None,
        "decode_head": head(type="SegformerHead", in_channels=[4, 8, 16, 32], in_index=[0, 1, 2, 3]),
    }
    for key in ("num_convs", "concat_input"):
        del config["model"]["decode_head"][key]


@idiom
def context_cluster(config: Config, folder: Path) -> None:
    config["model"]["backbone"] = {"type": "ContextCluster", "arch": "nano", "drop_path_rate": 0.2}
    config["model"]["neck"]["in_channels"] = [32, 64, 112, 160]
    aligned = [{"type": "AlignResize", "size_divisor": 32}, *testing()[1]["transforms"][1:]]
    config["data"]["val"]["pipeline"] = testing(img_scale=(64, 32), transforms=aligned)
    config["custom_imports"] = {"imports": ["tuner.models.context_cluster", "tuner.training.data.data"]}


@idiom
def weights_of_load_from(config: Config, folder: Path) -> None:
    """Of another number of classes, as fine-tuning begins."""
    other = {**config["model"], "decode_head": {**config["model"]["decode_head"], "num_classes": 5}}
    torch.manual_seed(9)
    torch.save({"state_dict": build_segmentor(other).state_dict(), "meta": {}}, folder / "other.pth")
    config["load_from"] = str(folder / "other.pth")


# optimizers, schedules and hooks


@idiom
def sgd_with_momentum(config: Config, folder: Path) -> None:
    config["optimizer"] = {"type": "SGD", "lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}


@idiom
def rates_by_layer(config: Config, folder: Path) -> None:
    config["optimizer"]["paramwise_cfg"] = {
        "custom_keys": {"head": {"lr_mult": 10.0}, "backbone.layer1": {"decay_mult": 0.0}},
        "norm_decay_mult": 0.0,
        "bias_lr_mult": 2.0,
    }


@idiom
def gradient_clipping(config: Config, folder: Path) -> None:
    config["optimizer_config"] = {"grad_clip": {"max_norm": 0.1, "norm_type": 2}}


@idiom
def accumulated_gradients(config: Config, folder: Path) -> None:
    config["optimizer_config"] = {"type": "GradientCumulativeOptimizerHook", "cumulative_iters": 2}
    config["runner"]["max_iters"] = 5


@idiom
def accumulated_gradients_and_accumulation(config: Config, folder: Path) -> None:
    accumulated_gradients(config, folder)
    in_parts(config)
    config["tuner"] = {"accumulation": 2}


@idiom
def accumulation(config: Config, folder: Path) -> None:
    in_parts(config)
    config["tuner"] = {"accumulation": 2}


@idiom
def cosine_schedule_with_warmup(config: Config, folder: Path) -> None:
    config["lr_config"] = {
        "policy": "CosineAnnealing",
        "warmup": "linear",
        "warmup_iters": 2,
        "warmup_ratio": 0.1,
        "min_lr_ratio": 1e-2,
    }


@idiom
def step_schedule(config: Config, folder: Path) -> None:
    config["lr_config"] = {"policy": "step", "step": [1, 2], "gamma": 0.3, "by_epoch": False}


@idiom
def one_cycle_with_momentum(config: Config, folder: Path) -> None:
    config["lr_config"] = {"policy": "OneCycle", "max_lr": 0.05, "total_steps": 4}
    config["momentum_config"] = {"policy": "OneCycle"}


@idiom
def cyclic_momentum(config: Config, folder: Path) -> None:
    config["lr_config"] = {"policy": "cyclic", "target_ratio": (5, 1e-3), "cyclic_times": 1}
    config["momentum_config"] = {"policy": "cyclic", "target_ratio": (0.8, 1), "cyclic_times": 1}


@idiom
def constant_rate(config: Config, folder: Path) -> None:
    config["lr_config"] = None


@idiom
def averaged_weights(config: Config, folder: Path) -> None:
    config["custom_hooks"] = [{"type": "EMAHook", "momentum": 0.3, "warm_up": 1, "priority": 49}]


@idiom
def hook_of_the_users_own(config: Config, folder: Path) -> None:
    config["custom_imports"] = {"imports": ["tests.conformance.users"], "allow_failed_imports": False}
    config["custom_hooks"] = [{"type": "HalveTheHead", "priority": "VERY_LOW"}]


@idiom
def anomalous_parameters(config: Config, folder: Path) -> None:
    config["optimizer_config"] = {"detect_anomalous_params": True}


@idiom
def fp16_without_its_hook(config: Config, folder: Path) -> None:
    config["fp16"] = {"loss_scale": 512.0}


@idiom
def bf16_by_our_hook(config: Config, folder: Path) -> None:
    config |= with_precision(config, "bf16")


@idiom
def fp16_by_our_hooks_with_added_gradients(config: Config, folder: Path) -> None:
    accumulated_gradients(config, folder)
    config |= with_precision(config, "fp16", {"init_scale": 2.0**20, "growth_interval": 1})


@idiom
def iterations_in_total_iters(config: Config, folder: Path) -> None:
    del config["runner"]
    config["total_iters"] = 3


@idiom
def best_checkpoints_and_epochs(config: Config, folder: Path) -> None:
    config["evaluation"] = {"interval": 2, "metric": ["mIoU", "mDice"], "save_best": "mIoU"}
    config["checkpoint_config"] = {"by_epoch": True, "interval": 1, "max_keep_ckpts": 2}


@idiom
def unused_parameters(config: Config, folder: Path) -> None:
    config["find_unused_parameters"] = True
    config["model"]["decode_head"] |= {"in_index": [0, 1], "in_channels": [8, 8], "feature_strides": [4, 8]}
