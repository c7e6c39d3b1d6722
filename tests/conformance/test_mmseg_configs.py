"""mmseg's own config files, on small images: they train and evaluate as by mmseg."""

from pathlib import Path
from typing import Any

import mmseg
import pytest
from mmcv.utils import Config as MmcvConfig

from tests.conformance.base import CLASSES, base
from tests.conformance.trainings import compared
from tuner.spec.trial import Config

FILES = Path(mmseg.__file__).parent / ".mim" / "configs"
NAMES = (
    "sem_fpn/fpn_r50_512x512_160k_ade20k",
    "pspnet/pspnet_r18-d8_512x1024_80k_cityscapes",
    "fcn/fcn_r18-d8_512x1024_80k_cityscapes",
    "upernet/upernet_r18_512x512_80k_ade20k",
    "deeplabv3plus/deeplabv3plus_r18-d8_512x1024_80k_cityscapes",
    "segformer/segformer_mit-b0_512x512_160k_ade20k",
    "ocrnet/ocrnet_hr18s_512x512_80k_ade20k",
    "point_rend/pointrend_r50_512x512_160k_ade20k",
)
NARROW = {256: 64, 512: 128, 1024: 256, 2048: 512}
"""Channels of a ResNet-50's stages, and of a ResNet-18's."""
pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore::UserWarning")]


def in_small(name: str, folder: Path) -> Config:
    """The file's model, optimizer and schedule, without pretrained weights, on the drawn images."""
    config: Config = MmcvConfig.fromfile(str(FILES / f"{name}.py")).to_dict()
    model = config["model"]
    model["pretrained"] = None
    model["backbone"].pop("init_cfg", None)
    if model["backbone"].get("depth") == 50:
        model["backbone"]["depth"] = 18
        model["neck"]["in_channels"] = [NARROW[channels] for channels in model["neck"]["in_channels"]]
    for head in (*_listed(model["decode_head"]), *_listed(model.get("auxiliary_head"))):
        head["num_classes"] = len(CLASSES)
    small = base(folder)
    iterations = {"runner": {"type": "IterBasedRunner", "max_iters": 2}, "log_level": "WARNING"}
    return config | iterations | {"data": small["data"]}


def _listed(heads: Any) -> list[Config]:
    return heads if isinstance(heads, list) else [heads] if heads else []


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_mmseg_trains_and_evaluates_as_by_mmseg(
    name: str, block_images: Path, tmp_path: Path
) -> None:
    if not (FILES / f"{name}.py").is_file():
        pytest.skip(f"this mmsegmentation comes without {name}")
    found = compared(in_small(name, block_images), tmp_path)
    print(f"{name:60} {found.weights:10.2e} {found.areas:8g}")
    assert found.weights <= 1e-5
    assert found.areas == 0
