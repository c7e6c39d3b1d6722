"""Trains and measures a standalone config by mmseg alone; a program for an environment that has no tuner.

Standard input is JSON: `config`, `accumulating` (the same config, whose steps take several iterations), `weights`,
`batch` (a file), `authors` (a folder with their modules, or null), `more`, `work_dir` and `seed`. It prints JSON: the
losses of mmseg's own training and its steps, the loss of the batch, the areas that mmseg's tester counts, and where
`more` is true the same of the accumulating config and the losses of two gloo processes.
"""

import json
import socket
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

ITERATIONS = 5


class NoOperators(ModuleType):
    """Stands in for the operators of an mmcv-full that was built without: mmseg asks for them when it is imported."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


def main() -> None:
    if find_spec("mmcv._ext") is None:
        sys.modules["mmcv._ext"] = NoOperators("mmcv._ext")
    warnings.simplefilter("ignore")
    asked = json.load(sys.stdin)
    if asked["authors"]:
        sys.path.insert(0, asked["authors"])
        __import__("models.context_cluster")
    import mmcv.runner.iter_based_runner as runners
    import torch
    from mmcv.utils import Config

    torch.set_num_threads(1)
    runners.time.sleep = lambda _seconds: None
    config, accumulating = (Config.fromfile(asked[name]) for name in ("config", "accumulating"))
    for each, name in ((config, "plain"), (accumulating, "accumulating")):
        each.evaluation.interval = each.checkpoint_config.interval = 100
        each.log_config = {"interval": 1, "hooks": [{"type": "TextLoggerHook", "by_epoch": False}]}
        each.work_dir, each.gpu_ids, each.device = f"{asked['work_dir']}/{name}", [0], "cpu"
        each.seed, each.runner.max_iters = asked["seed"], ITERATIONS
    accumulating.runner.max_iters *= accumulating.optimizer_config["cumulative_iters"]
    model = loaded(config, asked["weights"])
    found: dict[str, Any] = {"backbone": type(model.backbone).__module__, "areas": areas(model, config)}
    found["loss"] = loss_of(model, torch.load(asked["batch"]))
    found["losses"], found["steps"] = trained(model, config)
    if asked["more"]:
        found["accumulating"] = trained(loaded(accumulating, asked["weights"]), accumulating)
        found["ddp"] = trained_by_two(config, asked["weights"])
    found["has tuner"] = find_spec("tuner") is not None
    print("", json.dumps(found), sep="\n")


def loaded(config: Any, weights: str) -> Any:
    import torch
    from mmcv.cnn.utils import revert_sync_batchnorm
    from mmcv.runner import load_checkpoint
    from mmseg.models import build_segmentor

    torch.manual_seed(config.seed)
    model = build_segmentor(config.model, train_cfg=config.get("train_cfg"), test_cfg=config.get("test_cfg"))
    model.init_weights()
    model = revert_sync_batchnorm(model)
    load_checkpoint(model, weights, map_location="cpu", strict=True)
    return model


def loss_of(model: Any, batch: Any) -> float:
    import torch

    torch.manual_seed(0)
    losses = model.train().forward_train(**batch)
    loss, _ = model._parse_losses(losses)  # noqa: SLF001
    return float(loss)


def areas(model: Any, config: Any) -> list[list[int]]:
    """Intersections, unions, predictions and labels of each class, as tools/test.py counts them."""
    from mmcv.parallel import MMDataParallel
    from mmseg.apis import single_gpu_test
    from mmseg.datasets import build_dataloader, build_dataset

    dataset = build_dataset(config.data.val, {"test_mode": True})
    loader = build_dataloader(dataset, 1, 0, dist=False, shuffle=False, persistent_workers=False)
    results = single_gpu_test(MMDataParallel(model, device_ids=[-1]), loader, pre_eval=True)
    return [[int(value) for value in sum(area)] for area in zip(*results, strict=True)]


def trained(model: Any, config: Any) -> tuple[list[float], int]:
    """The losses of mmseg's own train_segmentor, and how often its optimizer made a step."""
    from mmseg.apis import train_segmentor
    from mmseg.datasets import build_dataset
    from torch.optim.optimizer import register_optimizer_step_post_hook

    steps: list[Any] = []
    counting = register_optimizer_step_post_hook(lambda optimizer, *_: steps.append(optimizer))
    Path(config.work_dir).mkdir(parents=True)
    train_segmentor(model, [build_dataset(config.data.train)], config, meta={})
    counting.remove()
    [log] = Path(config.work_dir).glob("*.log.json")
    entries = map(json.loads, log.read_text().splitlines())
    return [entry["loss"] for entry in entries if entry.get("mode") == "train"], len(steps)


def trained_by_two(config: Any, weights: str) -> list[float]:
    """The last losses of two gloo processes with DDP around the model's train_step."""
    import torch.multiprocessing as mp

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    context = mp.get_context("fork")
    results = context.SimpleQueue()
    ranks = [
        context.Process(target=rank, args=(number, address, config, weights, results)) for number in range(2)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    return sorted(results.get() for _ in ranks if not results.empty())


def rank(number: int, address: str, config: Any, weights: str, results: Any) -> None:
    import torch
    import torch.distributed as dist
    from mmcv.parallel import collate, scatter
    from mmseg.core import build_optimizer
    from mmseg.datasets import build_dataset

    class Step(torch.nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, batch: Any) -> Any:
            return self.model.train_step(batch, None)["loss"]

    dist.init_process_group("gloo", init_method=address, rank=number, world_size=2)
    step = torch.nn.parallel.DistributedDataParallel(Step(loaded(config, weights)))
    optimizer, dataset = (
        build_optimizer(step.module.model, config.optimizer),
        build_dataset(config.data.train),
    )
    for iteration in range(ITERATIONS):
        [batch] = scatter(collate([dataset[(2 * iteration + number) % len(dataset)]], 1), [-1])
        optimizer.zero_grad()
        loss = step(batch)
        loss.backward()
        optimizer.step()
    results.put(float(loss))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
