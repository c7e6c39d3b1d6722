"""What a standalone config says: the authors' names, mmseg's own keys, the global batch on any number of GPUs."""

from pathlib import Path
from typing import Any

import pytest
from mmcv.utils import Config as MmcvConfig

from tests.conftest import ROOT
from tuner.errors import BadInput
from tuner.export.layout import text
from tuner.export.standalone import limits, standalone
from tuner.sizing.config_paths import apply
from tuner.sizing.precision import with_precision
from tuner.sizing.trial_config import reproducible, with_image_side
from tuner.spec.trial import Config
from tuner.training.config import config as configs
from tuner.training.exported.alone import moved

PUBLISHED = sorted((ROOT / "configs/sem_fpn").glob("*_ade20k_80k.py"))
SIDES = {"c4": 2, "c25": 5, "c49": 7}


def trained(file: Path, ranks: int = 4, **changes: Any) -> Config:
    return reproducible(apply(configs.read(file), changes, "test"), seed=3, ranks=ranks)


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.stem)
def test_a_published_setting_has_the_authors_name(file: Path) -> None:
    _, _, arch, centers, *_ = file.stem.split("_")
    plain = standalone(trained(file), ranks=4, gpus=4)
    assert plain["model"]["backbone"] == {"type": f"context_cluster_{arch}_feat{SIDES[centers]}"}
    assert plain["optimizer"] == {"type": "AdamW", "lr": 1e-4, "weight_decay": 1e-4, "betas": (0.9, 0.999)}
    assert plain["data"]["train"]["type"] == "ADE20KDataset"
    assert "custom_hooks" not in plain
    assert "tuner" not in text(plain, "")


@pytest.mark.parametrize(
    "change",
    [
        {"model.backbone.centers.0": 9},
        {"model.backbone.centers": [9, 9, 9, 9]},
        {"model.backbone.with_cp": True},
        {"optimizer.paramwise_cfg.decay_rate": 0.9},
    ],
    ids=["per stage", "other centers", "computed again", "layer decay"],
)
def test_what_the_authors_have_no_name_for_has_ours(change: dict[str, Any]) -> None:
    plain = standalone(trained(PUBLISHED[0], **change), ranks=4, gpus=4)
    assert plain["model"]["backbone"]["type"] == "ContextCluster"
    assert plain["custom_imports"]["imports"] == ["context_cluster"]


def test_drop_path_and_first_weights_go_with_the_authors_name() -> None:
    weights = {"type": "Pretrained", "checkpoint": "best.pth.tar"}
    config = trained(PUBLISHED[0], **{"model.backbone.drop_path_rate": 0.1})
    config["model"]["backbone"]["init_cfg"] = weights
    found = standalone(config, ranks=4, gpus=4)["model"]["backbone"]
    assert found == {"type": "context_cluster_medium_feat5", "drop_path_rate": 0.1, "init_cfg": weights}


@pytest.mark.parametrize(
    ("gpus", "images", "parts"), [(4, 4, 1), (8, 2, 1), (16, 1, 1), (2, 4, 2), (1, 4, 4)]
)
def test_the_global_batch_is_kept_on_any_number_of_gpus(gpus: int, images: int, parts: int) -> None:
    config = trained(PUBLISHED[0])
    config["custom_hooks"] = [{"type": "EMAHook", "interval": 10}, *config["custom_hooks"]]
    plain = standalone(config, ranks=4, gpus=gpus)
    assert plain["data"]["samples_per_gpu"] == images
    assert plain["runner"]["max_iters"] == 80000 * parts
    assert plain["lr_config"]["warmup_iters"] == 500 * parts
    assert plain["evaluation"]["interval"] == plain["checkpoint_config"]["interval"] == 8000 * parts
    assert plain["custom_hooks"][0]["interval"] == 10 * parts
    hook = {"type": "GradientCumulativeOptimizerHook", "cumulative_iters": parts}
    assert plain["optimizer_config"] == (hook if parts > 1 else {})
    assert bool([each for each in limits(config, plain) if "batch norm" in each]) == (parts > 1)


def test_a_training_shorter_than_its_intervals_is_evaluated_and_saved_at_its_end() -> None:
    """As a trial's is, into which the schedule is compressed."""
    plain = standalone(trained(PUBLISHED[0], **{"runner.max_iters": 480}), ranks=4, gpus=4)
    assert (plain["evaluation"]["interval"], plain["checkpoint_config"]["interval"]) == (480, 480)
    longer = standalone(trained(PUBLISHED[0]), ranks=4, gpus=4)
    assert (longer["evaluation"]["interval"], longer["checkpoint_config"]["interval"]) == (8000, 8000)


def test_gpus_that_do_not_share_the_batch_evenly_are_refused() -> None:
    with pytest.raises(BadInput, match=r"--gpus: .*\n.*must divide the global batch \(16\), got 3"):
        standalone(trained(PUBLISHED[0]), ranks=4, gpus=3)


def test_a_trial_that_ran_short_of_memory_is_accumulated(tmp_path: Path) -> None:
    config = {**trained(PUBLISHED[0], ranks=2), "tuner": {"accumulation": 2}}
    plain = standalone(config, ranks=2, gpus=2)
    assert plain["data"]["samples_per_gpu"] == 2
    assert plain["optimizer_config"]["cumulative_iters"] == 2


@pytest.mark.parametrize(
    "file", [*PUBLISHED, ROOT / "configs/sem_fpn/fpn_coc_nano_camvid.py"], ids=lambda f: f.stem
)
def test_its_text_reads_as_it_is(file: Path, tmp_path: Path) -> None:
    plain = standalone(with_image_side(trained(file), 100), ranks=4, gpus=4)
    written = text(plain, "A heading\nof two lines")
    (tmp_path / "config.py").write_text(written)
    read = MmcvConfig.fromfile(str(tmp_path / "config.py"), import_custom_modules=False).to_dict()
    assert {key: read[key] for key in plain} == plain
    assert [line for line in written.splitlines() if line.startswith("data_root = ")] == [
        f"data_root = {plain['data']['val']['data_root']!r}"
    ]
    assert written.count("ShrinkImages") == 1
    assert all(len(line) <= 120 for line in written.splitlines())


def test_roots_below_the_common_one_move_with_it(tmp_path: Path) -> None:
    config = trained(PUBLISHED[0], **{"data.val.data_root": "data/ade/more"})
    written = text(standalone(config, ranks=4, gpus=4), "")
    assert "data_root = 'data/ade'\n" in written
    assert "data_root=data_root + '/more'" in written
    (tmp_path / "config.py").write_text(written.replace("'data/ade'", "'/elsewhere'"))
    read = MmcvConfig.fromfile(str(tmp_path / "config.py"), import_custom_modules=False)
    assert read.data.val.data_root == "/elsewhere/more"


def test_data_sets_move_below_another_folder_and_all_else_stays_as_it_is() -> None:
    sizes = {"type": "MultiScaleFlipAug", "img_scale": (64, 32), "transforms": [{"type": "RandomFlip"}]}
    there = {"data_root": "/here/a", "pipeline": [sizes]}
    assert moved(there, "/here", "/there") == there | {"data_root": "/there/a"}
    assert moved(there, "/her", "/there") == there


@pytest.mark.parametrize(("precision", "scaling"), [("bf16", None), ("fp16", "LossScalingOptimizerHook")])
def test_less_precision_goes_with_its_hooks_on_fewer_gpus_too(precision: str, scaling: str | None) -> None:
    config = reproducible(with_precision(configs.read(PUBLISHED[0]), precision), seed=3, ranks=4)
    for gpus, parts in ((4, None), (1, 4)):
        plain = standalone(config, ranks=4, gpus=gpus)
        assert plain["custom_hooks"] == [{"type": "MixedPrecisionHook", "precision": precision}]
        assert plain["custom_imports"]["imports"] == ["context_cluster"]
        assert plain["model"]["backbone"]["type"] == "ContextCluster"
        assert plain["optimizer_config"].get("cumulative_iters") == parts
        adding_up = "GradientCumulativeOptimizerHook" if parts else None
        assert plain["optimizer_config"].get("type") == (scaling or adding_up)
