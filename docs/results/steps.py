"""Measures a training step of the ADE20K networks here, seconds and FLOPs an image; docs/results.md plans with them.

python docs/results/steps.py
"""

import json
import platform
import time
from pathlib import Path
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

import tuner.models  # noqa: F401 - mmseg cannot be imported before it
from tuner.spec.trial import RankInfo
from tuner.training.config import config as configs
from tuner.training.engine import segmentor

HERE = Path(__file__).parent
CONFIGS = HERE.parents[1] / "configs" / "sem_fpn"
SIDE, STEPS = 512, 5


def measured(arch: str) -> dict[str, float]:
    """Returns the median seconds of forward and backward of one image, and their floating-point operations."""
    config = configs.read(CONFIGS / f"fpn_coc_{arch}_c4_ade20k_80k.py")
    model = segmentor(config, RankInfo()).train()
    image, labels = torch.randn(1, 3, SIDE, SIDE), torch.zeros(1, 1, SIDE, SIDE, dtype=torch.long)
    metas = [{"ori_shape": (SIDE, SIDE, 3), "img_shape": (SIDE, SIDE, 3), "pad_shape": (SIDE, SIDE, 3)}]

    def step() -> None:
        losses = model.forward_train(image, metas, labels)
        sum(value for name, value in losses.items() if "loss" in name).backward()

    with FlopCounterMode(display=False) as counter:
        step()
    seconds = []
    for _ in range(STEPS):
        begun = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begun)
    return {"seconds": round(median(seconds), 3), "gflops": round(counter.get_total_flops() / 1e9, 1)}


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{model or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


if __name__ == "__main__":
    found = {"machine": machine(), **{arch: measured(arch) for arch in ("small", "medium")}}
    (HERE / "steps.json").write_text(json.dumps(found, indent=2) + "\n")
    print(found)
