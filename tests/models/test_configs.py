"""The configs in the language of mmseg 0.x: they load, build, and say what was published."""

from pathlib import Path

import pytest
from mmcv import Config
from mmseg.models import build_segmentor

from tests.conftest import ROOT
from tuner.spec.architectures import stages

SEM_FPN = ROOT / "configs" / "sem_fpn"
PUBLISHED = [
    f"fpn_coc_{arch}_c{centers}_ade20k_80k" for arch in ("small", "medium") for centers in (4, 25, 49)
]
PARAMETERS = {"small": 18_411_694, "medium": 33_045_190, "nano": 1_214_757}


def loaded(name: str) -> Config:
    return Config.fromfile(str(SEM_FPN / f"{name}.py"))


@pytest.mark.parametrize("file", sorted(SEM_FPN.glob("*.py")), ids=lambda file: file.stem)
def test_every_config_loads_and_can_be_searched(file: Path) -> None:
    config = Config.fromfile(str(file))
    assert len(config.model.backbone.centers) == 4
    assert config.data.train.type in {"ADE20KDataset", "CustomDataset"}
    assert config.optimizer.type == "AdamW"


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_six_published_settings_build_with_the_published_hyperparameters(name: str) -> None:
    config = loaded(name)
    _, _, arch, centers, *_ = name.split("_")
    assert list(config.model.backbone.centers) == [int(centers[1:])] * 4
    assert config.model.backbone.arch == arch
    assert (config.optimizer.lr, config.optimizer.weight_decay) == (1e-4, 1e-4)
    published = {"policy": "poly", "power": 0.9, "min_lr": 0.0, "by_epoch": False}
    assert published.items() <= config.lr_config.items()
    assert config.lr_config.warmup_ratio == 1, "the published settings have no warm-up"
    assert config.runner.max_iters == 80_000
    assert (config.crop_size, config.data.samples_per_gpu) == ((512, 512), 4)
    segmentor = build_segmentor(config.model)
    assert segmentor.decode_head.num_classes == 150
    assert sum(parameter.numel() for parameter in segmentor.parameters()) == PARAMETERS[arch]


def test_a_config_survives_being_written_as_one_file() -> None:
    config = loaded(PUBLISHED[0])
    assert dict(Config.fromstring(config.pretty_text, ".py").items()) == dict(config.items())


def test_the_nano_model_is_small_and_has_no_batch_statistics() -> None:
    segmentor = build_segmentor(loaded("fpn_coc_nano_camvid").model)
    assert sum(parameter.numel() for parameter in segmentor.parameters()) == PARAMETERS["nano"]
    assert not list(segmentor.buffers())


@pytest.mark.parametrize(
    ("name", "points"),
    [(f"fpn_coc_{arch}_c4_ade20k_80k", [16, 16, 16, 16]) for arch in ("small", "medium")]
    + [(f"fpn_coc_nano_{camvid}", [16, 16, 8, 4]) for camvid in ("camvid", "camvid_brief")]
    + [("fpn_coc_nano_toy", [24, 12, 6, 3])],
)
def test_regions_have_as_many_points_a_side_as_the_published_ones_or_are_the_whole_map(
    name: str, points: list[int]
) -> None:
    config = loaded(name)
    assert config.crop_size[0] == config.crop_size[1]
    by_stage = stages(config.model.backbone)
    assert by_stage
    assert [config.crop_size[0] / stage.stride / stage.folds for stage in by_stage] == points
    assert all(side == 16 or stage.folds == 1 for side, stage in zip(points, by_stage, strict=True))


@pytest.mark.parametrize("name", ["fpn_coc_nano_camvid", "fpn_coc_nano_toy"])
def test_every_class_has_a_colour_and_an_output(name: str) -> None:
    config = loaded(name)
    classes = config.data.val.classes
    assert len(classes) == len(config.data.val.palette) == config.model.decode_head.num_classes
    assert classes == config.data.train.classes
