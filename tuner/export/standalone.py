"""Makes of a trial's config one that plain MMSegmentation 0.19 to 0.30 trains, without the tuner."""

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tuner.errors import BadInput
from tuner.export.accumulating import accumulating
from tuner.sizing.config_datasets import leaves
from tuner.sizing.custom_imports import imported
from tuner.sizing.precision import FLOAT32, HOOK, SCALING, precision_of
from tuner.sizing.trial_config import SEEDING, SHRINK, STREAM, images_at_once
from tuner.spec.architectures import ARCHITECTURES, AUTHORS_NAMES, FOLDS, Stage, stages
from tuner.spec.trial import Config

MODULE = "context_cluster"
"""The self-contained module that lies next to the config."""
KEYS = (
    "model", "data", "optimizer", "optimizer_config", "lr_config", "momentum_config", "runner", "checkpoint_config",
    "evaluation", "custom_hooks", "log_config", "log_level", "dist_params", "load_from", "resume_from", "workflow",
    "cudnn_benchmark", "find_unused_parameters", "device", "mp_start_method", "opencv_num_threads",
)  # fmt: skip
"""What mmseg's tools read of a config, in the order in which it is written."""
RUNTIME: dict[str, Any] = {
    "log_level": "INFO",
    "dist_params": {"backend": "nccl"},
    "load_from": None,
    "resume_from": None,
    "workflow": [("train", 1)],
    "cudnn_benchmark": True,
}
"""What mmseg's train.py cannot do without."""
DECAY = "ContextClusterLayerDecay"
ALIGNED = "AlignResize"
LAYER_SCALE = 1e-5


def standalone(config: Config, ranks: int, gpus: int) -> Config:
    """Returns the same training for this number of GPUs: plain data sets, mmseg's own keys, the same global batch.

    `ranks` are those that the trial had. Raises BadInput where the global batch cannot be shared evenly.
    """
    plain = copy.deepcopy(config)
    plain["data"] = _plain_data(plain["data"])
    plain["model"]["backbone"] = _backbone(plain)
    plain["optimizer"] = _optimizer(plain["optimizer"])
    hooks = [hook for hook in plain.pop("custom_hooks", None) or [] if hook["type"] != SEEDING]
    if hooks:
        plain["custom_hooks"] = hooks
    plain = _shared(
        _ending_with_both(plain), images_at_once(config), config["data"]["samples_per_gpu"] * ranks, gpus
    )
    own = {key: plain[key] for key in KEYS if key in plain}
    imports = [*([MODULE] if _needs_module(own) else []), *own_modules(config)]
    named = {"custom_imports": {"imports": imports, "allow_failed_imports": False}} if imports else {}
    return named | own | {key: value for key, value in RUNTIME.items() if key not in own}


def own_modules(config: Config) -> list[str]:
    """Returns the modules of the user's own that a config imports."""
    return [name for name in imported(config) if name.partition(".")[0] != "tuner"]


def has_batch_norm(config: Config) -> bool:
    """Tells whether statistics of the images that are trained at once matter."""
    return any(re.fullmatch(r"(Sync)?BN\d?d?", kind) for kind in _types(config["model"]))


def _plain_data(data: Config) -> Config:
    """Returns `data` with the training set that the stream wraps."""
    stream, loading = data["train"], dict(data.pop("train_dataloader", None) or {})
    if isinstance(stream, dict) and stream.get("type") == STREAM:
        shuffles = stream.get("shuffle", True)
        data["train"] = stream["dataset"]
        loading = {key: value for key, value in loading.items() if key != "shuffle"}
        loading |= {} if shuffles else {"shuffle": False}
    return {**data, "train_dataloader": loading} if loading else data


def _backbone(config: Config) -> Config:
    """Returns the backbone under the authors' name, where theirs is the same."""
    backbone: Config = config["model"]["backbone"]
    found = stages(backbone)
    compares_in_float32 = precision_of(config) != FLOAT32  # as theirs does not, under autocast
    needs_ours = _decays(config["optimizer"]) or compares_in_float32
    name = _authors_name(backbone, found) if found and not needs_ours else None
    if name is None:
        arch, _ = AUTHORS_NAMES.get(backbone["type"], ("", 0))
        return backbone if not arch else {**_known(backbone), "type": "ContextCluster", "arch": arch}
    kept = {key: backbone[key] for key in ("drop_path_rate", "init_cfg") if backbone.get(key)}
    return {"type": name, **kept}


def _known(backbone: Config) -> Config:
    """Leaves out what the authors' classes are given and swallow."""
    own = ("type", "centers", "drop_path_rate", "init_cfg", "layer_scale", "with_cp", "folds", "head_dim")
    return {key: backbone[key] for key in own if key in backbone}


def _authors_name(backbone: Config, found: list[Stage]) -> str | None:
    """Returns the authors' name of a backbone of these stages; None where theirs would differ."""
    plain = backbone.get("layer_scale", LAYER_SCALE) == LAYER_SCALE and not any(
        stage.with_cp for stage in found
    )
    if not plain or tuple(stage.folds for stage in found) != FOLDS:
        return None
    for name, (arch, centers) in AUTHORS_NAMES.items():
        shape = ARCHITECTURES[arch]
        theirs = zip(shape.widths, shape.depths, shape.heads, shape.mlp_ratios, strict=True)
        ours = [(stage.width, stage.depth, stage.heads, stage.mlp_ratio) for stage in found]
        sizes = {(stage.head_dim, stage.centers) for stage in found}
        if ours == list(theirs) and sizes == {(shape.head_dim, centers)}:
            return name
    return None


def _decays(optimizer: Config) -> bool:
    paramwise = optimizer.get("paramwise_cfg") or {}
    return optimizer.get("constructor") == DECAY and paramwise.get("decay_rate", 1.0) != 1


def _optimizer(optimizer: Config) -> Config:
    """Leaves the layer-wise decay out where it decays nothing."""
    if optimizer.get("constructor") != DECAY or _decays(optimizer):
        return optimizer
    others = {k: v for k, v in (optimizer.get("paramwise_cfg") or {}).items() if k != "decay_rate"}
    kept = {k: v for k, v in optimizer.items() if k not in ("constructor", "paramwise_cfg")}
    return {**kept, "paramwise_cfg": others} if others else kept


def _ending_with_both(config: Config) -> Config:
    """Has a training that is shorter than its intervals evaluated and saved at its end."""
    last = config["runner"].get("max_iters")
    for key in ("checkpoint_config", "evaluation"):
        asked = config.get(key)
        if last and asked and asked.get("interval", 1) > last:
            config[key] = {**asked, "interval": last}
    return config


def _shared(config: Config, at_once: int, batch: int, gpus: int) -> Config:
    """Shares the global batch among the GPUs, none of which trains more images at once than the trial did."""
    if batch % gpus:
        raise BadInput.of("--gpus", f"must divide the global batch ({batch}), got {gpus}")
    images = batch // gpus
    parts = next(
        parts for parts in range(1, images + 1) if images % parts == 0 and images // parts <= at_once
    )
    config["data"]["samples_per_gpu"] = images // parts
    return accumulating(config, parts) if parts > 1 else config


def _needs_module(config: Config) -> bool:
    kinds = {*_types(config["model"]), *_types(config["data"]), config["optimizer"].get("constructor")}
    kinds |= {*_types(config.get("custom_hooks")), *_types(config.get("optimizer_config"))}
    return bool(kinds & {"ContextCluster", *AUTHORS_NAMES, ALIGNED, SHRINK, DECAY, HOOK, SCALING})


def _types(node: Any) -> Iterator[str]:
    """Yields every `type` below a node of a config."""
    if isinstance(node, Mapping):
        if isinstance(node.get("type"), str):
            yield node["type"]
        for value in node.values():
            yield from _types(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _types(value)


def limits(config: Config, plain: Config) -> list[str]:
    """Says what the standalone training has otherwise than the tuner's."""
    found = ["the samples come in mmseg's own order, and what is augmented and dropped of them differs"]
    if config["data"]["train"].get("corrupt") == "skip":
        found.append("an image that cannot be read ends it, where the tuner took the next")
    parts = (plain.get("optimizer_config") or {}).get("cumulative_iters", 1)
    if parts > 1:
        found.append(
            f"gradients of {parts} iterations are added up, so that iterations, warm-up and intervals count {parts} "
            "times as many; within them the learning rate moves on by fractions of a step"
        )
        if has_batch_norm(config):
            found.append("batch norm sees the images of one iteration alone")
    if any(SHRINK in _types(leaf) for leaf in leaves(plain, "train")):
        found.append("training images are shrunk each time they are loaded; no cache keeps them")
    return found
