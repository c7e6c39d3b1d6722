import pytest

from tests.conftest import JobFile
from tuner.errors import BadInput
from tuner.files import read_job
from tuner.overrides import apply, default_params, in_less_memory, reproducible, trial_config, value_at
from tuner.trial import Config, Trial


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
    assert value_at(result, "accumulation") == 1
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


def test_pictures_are_shrunk_where_the_job_says_so_and_the_config_has_any(job_file: JobFile) -> None:
    trial = Trial(0, {"lr": 0.01, "weight_decay": 0.0, "centers": 4}, seed=0)
    job = read_job(job_file(picture_side=512))
    with_pictures = config()
    loading = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}, {"type": "Resize"}]
    with_pictures["data"]["train"]["dataset"]["pipeline"] = loading
    result = trial_config(job, with_pictures, trial)
    shrink = {"type": "ShrinkPictures", "side": 512}
    assert value_at(result, "data.train.dataset.pipeline") == [*loading[:2], shrink, loading[2]]
    assert "pipeline" not in value_at(trial_config(job, config(), trial), "data.train.dataset")


def ladder(start: Config) -> list[tuple[int, bool]]:
    """Parts and with_cp, from a config to the one that needs the least memory."""
    rungs, next_config = [], start
    while next_config is not None:
        rungs.append((next_config["accumulation"], next_config["model"]["backbone"].get("with_cp", False)))
        next_config = in_less_memory(next_config)
    return rungs


@pytest.mark.parametrize(
    ("pictures", "parts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 6]), (8, [1, 2, 4, 8]), (9, [1, 3, 9])]
)
def test_short_of_memory_the_pictures_at_once_are_halved_then_activations_computed_again(
    pictures: int, parts: list[int]
) -> None:
    start = {**config(), "accumulation": 1, "data": {"samples_per_gpu": pictures}}
    assert ladder(start) == [(n, False) for n in parts]
    start["model"] = {"backbone": {"with_cp": False}}
    assert ladder(start) == [*((n, False) for n in parts), (parts[-1], True)]


def test_an_exported_config_is_made_reproducible_only_once() -> None:
    once = reproducible(config(), seed=1, ranks=2)
    assert reproducible(once, seed=1, ranks=2) == once
