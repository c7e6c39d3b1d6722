"""Runs exported standalone configs in a process that cannot import tuner; it is started with `python -m`.

Each line of its standard input is an export as JSON: `config`, `weights`, `data_root` (or null), `image` (a number of
the validation set) and `to`, the file that gets that image and its logits. For each it prints a line: what failed, or
null. Whatever tuner is installed, an import of it raises ImportError here.
"""

import importlib.abc
import json
import os
import sys
import traceback
from typing import Any

import tuner.models  # noqa: F401 - mmseg cannot be imported without operators, compiled or stood in for


class Forbidden(importlib.abc.MetaPathFinder):
    """Refuses every import of the tuner."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] == "tuner":
            raise ImportError(f"{name}: a standalone config does without the tuner")


def forbid() -> None:
    """Makes this process forget the tuner."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "tuner"]:
        del sys.modules[name]
    sys.meta_path.insert(0, Forbidden())


def run(config: str, weights: str, data_root: str | None, image: int, to: str) -> None:
    """Builds the config's model and data, loads the weights strictly, writes one image's logits."""
    import torch
    from mmcv.cnn.utils import revert_sync_batchnorm
    from mmcv.utils import Config
    from mmseg.datasets import build_dataset
    from mmseg.models import build_segmentor

    read = Config.fromfile(config)
    model = revert_sync_batchnorm(build_segmentor(read.model)).eval()
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True)["state_dict"])
    wanted = moved(read.to_dict()["data"]["val"], read.data_root, data_root)
    dataset = build_dataset(wanted, {"test_mode": True})
    sample = dataset[image]
    pixels, metas = sample["img"][0][None], [sample["img_metas"][0].data]
    with torch.no_grad():
        logits = model.encode_decode(pixels, metas)
    torch.save({"image": pixels[0], "logits": logits[0]}, to)


def moved(node: Any, old: str, new: str | None) -> Any:
    """Puts data sets that lie below one folder below another."""
    if isinstance(node, list | tuple):
        return type(node)(moved(each, old, new) for each in node)
    if not isinstance(node, dict) or new is None:
        return node
    there = {key: moved(value, old, new) for key, value in node.items()}
    if isinstance(root := there.get("data_root"), str) and f"{root}/".startswith(f"{old}/"):
        there["data_root"] = os.path.normpath(f"{new}/{root[len(old) :]}")
    return there


def tried(export: dict[str, Any]) -> str | None:
    """Returns what fails."""
    try:
        run(**export)
    except Exception as error:
        print(traceback.format_exc(), file=sys.stderr)
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return None


if __name__ == "__main__":
    forbid()
    for line in sys.stdin:
        print(json.dumps(tried(json.loads(line))), flush=True)
