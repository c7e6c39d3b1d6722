from pathlib import Path

import pytest

from tests.conftest import JobFile
from tuner.errors import BadInput
from tuner.sizing.config_paths import apply, value_at
from tuner.sizing.precision import precision_of, with_precision
from tuner.sizing.trial_config import (
    default_params,
    in_less_memory,
    reproducible,
    trial_config,
    with_data_root,
)
from tuner.spec.trial import Config, Trial
from tuner.spec.yaml_files import read_job


def config() -> Config:
    return {
        "model": {"backbone": {"centers": [4, 4, 4, 4]}},
        "optimizer": {"type": "AdamW", "lr": 1e-4, "weight_decay": 1e-4},
        "runner": {"type": "IterBasedRunner", "max_iters": 1000},
        "data": {
            "samples_per_gpu": 4,
            "train": {"type": "RepeatDataset", "dataset": {"type": "ADE20KDataset", "data_root": "old"}},
            "val": {"data_root": "old"},
            "test": {"data_root": "old"},
        },
    }


def test_an_override_leaves_the_original_alone() -> None:
    before = config()
    after = apply(before, {"optimizer.lr": 1.0, "model.backbone.centers.2": 49}, "--set")
    assert (after["optimizer"]["lr"], after["model"]["backbone"]["centers"]) == (1.0, [4, 4, 49, 4])
    assert before == config()


def test_tuples_and_keys_with_dots_are_reached() -> None:
    keys = {"backbone": {"decay_mult": 1.0}, "backbone.network": {"lr_mult": 0.1}}
    before = {"optimizer": {"betas": (0.9, 0.999), "paramwise_cfg": {"custom_keys": keys}}}
    rate = "optimizer.paramwise_cfg.custom_keys.backbone.network.lr_mult"
    decay = "optimizer.paramwise_cfg.custom_keys.backbone.decay_mult"
    after = apply(before, {"optimizer.betas.1": 0.95, rate: 0.5, decay: 0.0}, "--set")
    assert after["optimizer"]["betas"] == (0.9, 0.95)
    assert (value_at(after, rate), value_at(after, decay)) == (0.5, 0.0)
    assert before["optimizer"]["betas"] == (0.9, 0.999)
    with pytest.raises(BadInput, match=r"optimizer.betas has 0, 1"):
        apply(before, {"optimizer.betas.2": 0.5}, "--set")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("optimizer.lrr", "the config has no optimizer.lrr: optimizer has type, lr, weight_decay"),
        ("model.backbone.centers.4", "model.backbone.centers has 0, 1, 2, 3"),
        ("optimizer.lr.x", "optimizer.lr has the value 0.0001"),
        ("optimzer.lr", "its top level has model, optimizer, runner, data"),
    ],
)
def test_a_path_that_the_config_lacks_is_refused_with_what_it_has(path: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        apply(config(), {path: 1}, "--set")
    assert message in str(caught.value)


def test_trial_0_has_the_configs_own_values(job_file: JobFile) -> None:
    params = default_params(read_job(job_file()), config())
    assert params == {"lr": 1e-4, "weight_decay": 1e-4, "centers": 4}


def test_a_default_outside_the_space_is_refused(job_file: JobFile) -> None:
    odd = apply(config(), {"optimizer.lr": 1.0, "model.backbone.centers": [4, 4, 9, 4]}, "test")
    with pytest.raises(BadInput) as caught:
        default_params(read_job(job_file()), odd)
    assert "parameters.lr: the config's own value 1.0 is trial 0, but lies outside 3e-05 … 0.01" in str(
        caught.value
    )
    assert "parameters.centers.sets: the config has different values there: [4, 4, 9, 4]" in str(caught.value)


def test_a_default_that_breaks_a_constraint_is_refused(job_file: JobFile) -> None:
    job = read_job(job_file())
    strict = job.space.model_copy(update={"constraints": ("lr * 10 < weight_decay",)})
    with pytest.raises(BadInput, match=r"are trial 0, but break 'lr \* 10 < weight_decay'"):
        default_params(job.model_copy(update={"space": strict}), config())


def test_a_parameter_whose_condition_does_not_hold_sets_nothing(job_file: JobFile) -> None:
    job = read_job(job_file())
    parameters = dict(job.space.parameters)
    decay = parameters.pop("weight_decay").model_copy(update={"only_when": {"model.backbone.centers.0": 25}})
    space = job.space.model_copy(update={"parameters": parameters | {"weight_decay": decay}})
    job = job.model_copy(update={"space": space})
    assert default_params(job, config()) == {"lr": 1e-4, "centers": 4}
    result = trial_config(job, config(), Trial(1, {"lr": 0.01, "centers": 4}, seed=0))
    assert value_at(result, "optimizer.weight_decay") == 1e-4
    assert space.counts("weight_decay", {"lr": 0.01, "centers": 25})


def test_a_trials_config_says_all_that_the_trial_does(job_file: JobFile) -> None:
    job = read_job(job_file(resources={"gpus_per_trial": 0, "ranks": 2, "global_batch": 8}))
    trial = Trial(3, {"lr": 0.01, "weight_decay": 0.0, "centers": 25}, seed=7)
    result = trial_config(job, config(), trial)
    assert value_at(result, "model.backbone.centers") == [25, 25, 25, 25]
    assert value_at(result, "data.samples_per_gpu") == 4
    assert value_at(result, "tuner.accumulation") == 1
    assert value_at(result, "optimizer.lr") == 0.01
    assert value_at(result, "data.train.dataset.data_root") == str(job.data_root)
    assert value_at(result, "data.train.samples") == 1000 * 8
    assert value_at(result, "data.train_dataloader.shuffle") is False
    assert (
        result["seed"] == value_at(result, "data.train.seed") == value_at(result, "custom_hooks.0.seed") == 7
    )


@pytest.mark.parametrize(("rule", "factor"), [("linear", 4.0), ("sqrt", 2.0)])
def test_the_learning_rate_follows_the_global_batch_where_the_job_says_so(
    job_file: JobFile, rule: str, factor: float
) -> None:
    trial = Trial(0, {"lr": 0.01, "weight_decay": 0.0, "centers": 4}, seed=0)
    resources = {"gpus_per_trial": 0, "global_batch": 64, "lr_rule": {"rule": rule, "base_batch": 16}}
    result = trial_config(read_job(job_file(resources=resources)), config(), trial)
    assert value_at(result, "optimizer.lr") == 0.01 * factor


def test_a_compressed_schedule_ends_with_the_trial(job_file: JobFile) -> None:
    trial = Trial(0, {"lr": 0.01, "weight_decay": 0.0, "centers": 4}, seed=0)
    for schedule, length in (("truncated", 1000), ("compressed", 480)):
        job = read_job(job_file(fidelity={"iterations": 480, "schedule": schedule}))
        assert value_at(trial_config(job, config(), trial), "runner.max_iters") == length


def test_images_are_shrunk_where_the_job_says_so_and_the_config_has_any(job_file: JobFile) -> None:
    trial = Trial(0, {"lr": 0.01, "weight_decay": 0.0, "centers": 4}, seed=0)
    job = read_job(job_file(image_side=512))
    with_images = config()
    loading = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}, {"type": "Resize"}]
    with_images["data"]["train"]["dataset"]["pipeline"] = loading
    result = trial_config(job, with_images, trial)
    shrink = {"type": "ShrinkImages", "side": 512}
    assert value_at(result, "data.train.dataset.pipeline") == [*loading[:2], shrink, loading[2]]
    assert "pipeline" not in value_at(trial_config(job, config(), trial), "data.train.dataset")


def test_data_sets_with_roots_of_their_own_keep_their_places_to_each_other() -> None:
    several = config()
    several["data"]["train"] = [
        {"data_root": "data/a"},
        {"type": "Mix", "dataset": {"data_root": "data/b/c"}},
    ]
    several["data"]["val"] = {"data_root": "data/a"}
    several["data"]["test"] = {"data_root": "elsewhere"}
    found = with_data_root(several, Path("/here"))["data"]
    assert [found["train"][0]["data_root"], found["train"][1]["dataset"]["data_root"]] == [
        "/here/a",
        "/here/b/c",
    ]
    assert (found["val"]["data_root"], found["test"]["data_root"]) == ("/here/a", "/elsewhere")
    several["data"]["val"]["data_root"] = "/absolute"
    with pytest.raises(BadInput, match="some data sets have an absolute one, others not"):
        with_data_root(several, Path("/here"))


def ladder(start: Config) -> list[tuple[int, bool]]:
    """Parts and with_cp, from a config to the one that needs the least memory."""
    rungs, next_config = [], start
    while next_config is not None:
        rungs.append(
            (next_config["tuner"]["accumulation"], next_config["model"]["backbone"].get("with_cp", False))
        )
        next_config = in_less_memory(next_config)
    return rungs


@pytest.mark.parametrize(
    ("images", "parts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 6]), (8, [1, 2, 4, 8]), (9, [1, 3, 9])]
)
def test_short_of_memory_the_images_at_once_are_halved_then_activations_computed_again(
    images: int, parts: list[int]
) -> None:
    start = {**config(), "tuner": {"accumulation": 1}, "data": {"samples_per_gpu": images}}
    assert ladder(start) == [(n, False) for n in parts]
    start["model"] = {"backbone": {"with_cp": False}}
    assert ladder(start) == [*((n, False) for n in parts), (parts[-1], True)]


def test_an_exported_config_is_made_reproducible_only_once() -> None:
    once = reproducible(config(), seed=1, ranks=2)
    assert reproducible(once, seed=1, ranks=2) == once


@pytest.mark.parametrize(
    ("own", "asked", "trained", "optimizer_hook"),
    [
        ("float32", None, "float32", None),
        ("float32", "float32", "float32", None),
        ("float32", "bf16", "bf16", None),
        ("float32", "fp16", "fp16", "LossScalingOptimizerHook"),
        ("fp16", None, "fp16", "LossScalingOptimizerHook"),
        ("fp16", "float32", "float32", None),
        ("fp16", "bf16", "bf16", None),
    ],
)
def test_a_job_says_how_precisely_its_trials_are_trained_else_the_config_does(
    job_file: JobFile, own: str, asked: str | None, trained: str, optimizer_hook: str | None
) -> None:
    resources = {"gpus_per_trial": 0, "global_batch": 8, "precision": asked}
    job = read_job(job_file(resources=resources))
    before = {**config(), "optimizer_config": {"grad_clip": {"max_norm": 1.0}}}
    made = trial_config(job, with_precision(before, own), Trial(0, {"lr": 0.1}, 0))
    assert precision_of(made) == trained
    assert made["optimizer_config"].get("type") == optimizer_hook
    assert made["optimizer_config"]["grad_clip"] == {"max_norm": 1.0}
    assert ("tuner.training.precision" in made["custom_imports"]["imports"]) is (
        trained != "float32" or own == "fp16"
    )
    plain = trial_config(read_job(job_file()), before, Trial(0, {"lr": 0.1}, 0))
    assert (made == plain) is ((own, trained) == ("float32", "float32"))


def test_gradients_that_are_added_up_are_so_in_any_precision() -> None:
    adding_up = {"type": "GradientCumulativeOptimizerHook", "cumulative_iters": 4}
    before = {**config(), "optimizer_config": adding_up}
    narrow = with_precision(before, "fp16")
    assert narrow["optimizer_config"] == {
        "type": "LossScalingOptimizerHook", "cumulative_iters": 4, "loss_scale": "dynamic"
    }  # fmt: skip
    assert with_precision(narrow, "bf16")["optimizer_config"] == adding_up
