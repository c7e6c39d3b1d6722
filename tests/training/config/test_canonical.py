"""What mmseg reads of a config is honoured, moved to its present spelling, or refused with the key named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.base import base
from tuner.errors import BadInput
from tuner.sizing.precision import precision_of
from tuner.spec.trial import Config
from tuner.training.config import config as configs
from tuner.training.config.canonical import canonical, notes
from tuner.training.config.mmseg_keys import HONOURED, MEANINGLESS, REFUSED

Changed = Callable[..., Config]


@pytest.fixture
def changed(tmp_path: Path) -> Changed:
    def change(without: tuple[str, ...] = (), **keys: Any) -> Config:
        config = base(tmp_path) | keys
        return {key: value for key, value in config.items() if key not in without}

    return change


def refusal(config: Config) -> str:
    with pytest.raises(BadInput) as caught:
        canonical(config, "config.py")
    return str(caught.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"resume_from": "a.pth"}, "resume_from: a search begins at iteration 0: set load_from"),
        ({"optimizer_config": {"type": "Fp16OptimizerHook", "loss_scale": "static"}},
         "optimizer_config.loss_scale: must be 'dynamic', a number above 0 or a dict"),
        ({"runner": {"type": "EpochBasedRunner"}}, "runner.type: EpochBasedRunner: iterations"),
        ({"runner": {"type": "Mine", "max_iters": 9}}, "runner.type: must be IterBasedRunner, got Mine"),
        ({"runner": {"type": "IterBasedRunner"}}, "runner.max_iters is missing"),
        ({"runner": None}, "runner is missing"),
        ({"train_cfg": {"a": 5}, "model": {"train_cfg": {"a": 5}}}, "train_cfg: stands in model too"),
        ({"optimizer": None}, "optimizer is missing: write optimizer = dict("),
        ({"data": {"samples_per_gpu": 2, "train": {}, "worker_per_gpu": 2}},
         "data.worker_per_gpu: mmseg's loaders take no such key: is workers_per_gpu meant?"),
        ({"data": {"samples_per_gpu": 2, "train": {}}}, "data.val is missing"),
        ({"data": {"train": {}, "val": {}}}, "data.samples_per_gpu is missing"),
    ],
)  # fmt: skip
def test_what_is_not_trained_here_is_refused_with_its_key(
    changed: Changed, keys: dict[str, Any], message: str
) -> None:
    refused = refusal(changed(**keys))
    assert refused.startswith("config.py: ")
    assert message in refused


def test_all_refusals_are_told_at_once(changed: Changed) -> None:
    refused = refusal(changed(("lr_config", "optimizer_config"), resume_from="a.pth"))
    assert refused.startswith("config.py: 3 problems")


@pytest.mark.parametrize(
    ("written", "scale"),
    [
        ({"loss_scale": "dynamic"}, "dynamic"),
        ({"loss_scale": 256.0}, 256.0),
        ({"distributed": False}, 512.0),
    ],
)
def test_fp16_is_trained_as_its_hook_says(changed: Changed, written: dict[str, Any], scale: object) -> None:
    hook = {"type": "Fp16OptimizerHook", **written}
    found = canonical(changed(optimizer_config=hook, fp16={}), "config.py")
    assert precision_of(found) == "fp16"
    assert found["optimizer_config"] == {"type": "LossScalingOptimizerHook", "loss_scale": scale}
    assert "fp16" not in found
    assert canonical(found, "config.py") == found


@pytest.mark.parametrize("asked", [{}, {"loss_scale": 512.0}, True])
def test_fp16_without_its_hook_is_noted_as_mmsegs_training_does_not_read_it(
    changed: Changed, asked: object
) -> None:
    found = canonical(changed(fp16=asked), "config.py")
    assert precision_of(found) == "float32"
    [note] = notes(found)
    assert note.startswith(
        "fp16: means nothing here: no training of mmseg's reads it, but optimizer_config = dict("
    )


def test_older_spellings_are_put_where_the_present_one_has_them(changed: Changed) -> None:
    model = {"type": "EncoderDecoder"}
    found = canonical(
        changed(("runner",), total_iters=7, train_cfg={"a": 1}, test_cfg={"mode": "slide"}, model=model),
        "config.py",
    )
    assert found["runner"] == {"type": "IterBasedRunner", "max_iters": 7}
    assert found["model"] == model | {"train_cfg": {"a": 1}, "test_cfg": {"mode": "slide"}}
    assert not {"train_cfg", "test_cfg", "total_iters"} & found.keys()


def test_what_mmseg_has_a_default_for_may_be_absent(changed: Changed) -> None:
    config = changed(
        ("evaluation", "checkpoint_config", "log_config", "log_level", "workflow", "dist_params")
    )
    del config["data"]["test"], config["data"]["workers_per_gpu"]
    found = canonical(config, "config.py")
    assert found["evaluation"]["interval"] == found["checkpoint_config"]["interval"] == 3
    assert found["data"]["workers_per_gpu"] > 0


def test_batch_sizes_of_train_dataloader_win(changed: Changed) -> None:
    config = changed()
    config["data"]["train_dataloader"] = {"samples_per_gpu": 6, "workers_per_gpu": 1, "shuffle": False}
    found = canonical(config, "config.py")["data"]
    assert (found["samples_per_gpu"], found["workers_per_gpu"]) == (6, 1)
    assert found["train_dataloader"] == {"shuffle": False}


def test_saving_by_epochs_is_saving_at_the_end(changed: Changed) -> None:
    found = canonical(changed(checkpoint_config={"by_epoch": True, "interval": 1}), "config.py")
    assert found["checkpoint_config"]["interval"] == 3


@pytest.mark.parametrize(
    ("keys", "note"),
    [
        (
            {"workflow": [("train", 1), ("val", 1)]},
            "workflow: means nothing here: trials are evaluated at their rungs",
        ),
        (
            {"evaluation": {"save_best": "mIoU"}},
            "evaluation.save_best: means nothing here: a trial keeps its last",
        ),
        ({"load_form": "a.pth"}, "load_form: mmseg reads no such key: is load_from meant?"),
        ({"optimzer_config": {}}, "optimzer_config: mmseg reads no such key: is optimizer_config meant?"),
    ],
)
def test_what_means_nothing_here_or_is_misspelt_is_noted(
    changed: Changed, keys: dict[str, Any], note: str
) -> None:
    assert any(found.startswith(note) for found in notes(changed(**keys)))


def test_helper_variables_and_usual_values_go_without_a_word(changed: Changed) -> None:
    helpers = {
        "dataset_type": "A",
        "train_pipeline": [],
        "crop_size": (1, 1),
        "norm_cfg": {},
        "data_root": "x",
    }
    assert list(notes(changed(**helpers))) == []


def test_no_key_is_treated_in_two_ways() -> None:
    tables = (HONOURED, MEANINGLESS, REFUSED)
    assert len(set().union(*tables)) == sum(map(len, tables))


def test_imports_that_fail_are_told_with_their_own_words_all_at_once(tmp_path: Path) -> None:
    sources = {
        "own_divides": "VALUE = 1\n1 / 0\n",
        "own_is_no_python": "def\n",
        "own_lacks": "import nobody_has_this\n",
    }
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)
    content = base(tmp_path) | {"custom_imports": {"imports": [*sources, "own_absent"]}}
    (tmp_path / "config.py").write_text(configs.text(content))
    with pytest.raises(BadInput) as caught:
        configs.read(tmp_path / "config.py")
    refused = str(caught.value)
    assert "4 problems" in refused
    assert f"own_divides: ZeroDivisionError: division by zero ({tmp_path}/own_divides.py, line 2)" in refused
    assert "own_is_no_python: SyntaxError: invalid syntax (own_is_no_python.py, line 1)" in refused
    assert "own_lacks: ModuleNotFoundError: No module named 'nobody_has_this' (" in refused
    assert "No module named 'own_absent': put the module's folder on PYTHONPATH" in refused


def test_custom_imports_lie_beside_the_config_or_are_named(tmp_path: Path) -> None:
    module, file = tmp_path / "beside_the_config.py", tmp_path / "config.py"
    content = base(tmp_path) | {"custom_imports": {"imports": ["beside_the_config"]}}
    file.write_text(configs.text(content))
    with pytest.raises(
        BadInput, match="custom_imports: No module named 'beside_the_config': put the module's"
    ):
        configs.read(file)
    module.write_text("")
    assert configs.read(file)["custom_imports"] == content["custom_imports"]
