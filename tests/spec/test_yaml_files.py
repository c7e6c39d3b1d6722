from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import JobFile
from tuner.errors import BadInput
from tuner.spec.yaml_files import read_job, read_space, write_job

FLOAT = {"type": "float", "low": 1e-5, "high": 1e-2, "log": True, "sets": "optimizer.lr"}


def space_file(folder: Path, **parameters: Any) -> Path:
    file = folder / "space.yaml"
    file.write_text(yaml.safe_dump({"parameters": parameters}))
    return file


def test_a_job_has_its_space_inside_and_absolute_paths(job_file: JobFile) -> None:
    job = read_job(job_file())
    assert list(job.space.parameters) == ["lr", "weight_decay", "centers"]
    assert job.config.is_absolute()
    assert job.fidelity.evaluation_points == (60, 160, 480)


def test_a_written_job_reads_the_same(job_file: JobFile, tmp_path: Path) -> None:
    job = read_job(job_file())
    again = read_job(write_job(job, tmp_path / "sent", "config = 1\n"))
    assert again.model_dump(exclude={"config"}) == job.model_dump(exclude={"config"})


def test_all_problems_of_a_job_and_its_space_are_told_at_once(job_file: JobFile, tmp_path: Path) -> None:
    space = space_file(tmp_path, lr=FLOAT | {"low": 0}, centers={"type": "choice", "choices": [4, 20]})
    file = job_file(name="../x", space=str(space), sampler="tpe", data_root="/nowhere", budget={})
    with pytest.raises(BadInput) as caught:
        read_job(file)
    text = str(caught.value)
    assert "data_root: there is no folder /nowhere" in text
    assert "name: must be 1 to 64 of the letters A to Z and a to z, digits, dots" in text
    assert "sampler: unknown key" in text
    assert "budget.trials: is missing" in text
    assert "space.yaml: 2 problems" in text
    assert "parameters.lr: low must be above 0 when log is true, got 0" in text
    assert "parameters.centers.sets: is missing" in text


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        (FLOAT | {"low": 1, "high": 0.1}, "low must not be above high, got 1 > 0.1"),
        (FLOAT | {"hihg": 1}, "hihg: unknown key"),
        (FLOAT | {"type": "floot"}, "floot"),
        ({"type": "choice", "choices": [], "sets": "a"}, "choices"),
        ({"type": "choice", "choices": [4, 4], "sets": "a"}, "choices must differ"),
        (
            {"type": "choice", "choices": [4, 20], "sets": "model.backbone.centers.1"},
            "choices must be squares (4, 9, 16, …), got 20",
        ),
        (
            {"type": "int", "low": 4, "high": 49, "sets": "model.backbone.centers"},
            "centers need type: choice",
        ),
        (FLOAT | {"low": -1.7e308, "high": 1.7e308, "log": False}, "low and high are too far apart"),
        (FLOAT | {"step": 1e-3}, "step and log: true exclude each other"),
        (
            FLOAT | {"log": False, "low": 0, "step": 3e-3},
            "high must be low plus whole steps of 0.003, got 0.01",
        ),
        (FLOAT | {"prior": {"value": 1}}, "prior: exists no more: list the point under initial_points"),
        (FLOAT | {"only_when": {"x.y": 1}}, "only_when: x.y is neither a parameter nor a path that one sets"),
        (FLOAT | {"only_when": {"p": 1e-3}}, "only_when: p must stand above p"),
    ],
)
def test_a_wrong_parameter_is_explained(tmp_path: Path, parameter: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_space(space_file(tmp_path, p=parameter))
    assert message in str(caught.value)
    assert "parameters.p" in str(caught.value)


def test_a_parameters_name_can_be_written_in_a_constraint(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"parameters\.a-b: must be 1 to 64 of the letters"):
        read_space(space_file(tmp_path, **{"a-b": FLOAT}))


def test_a_condition_names_a_value_that_the_other_parameter_can_have(tmp_path: Path) -> None:
    kind = {"type": "choice", "choices": ["AdamW", "SGD"], "sets": "optimizer.type"}
    with pytest.raises(BadInput, match=r"parameters\.lr\.only_when: kind is never 'Adam': it has AdamW, SGD"):
        read_space(space_file(tmp_path, kind=kind, lr=FLOAT | {"only_when": {"optimizer.type": "Adam"}}))


def test_all_wrong_constraints_are_told_with_their_places(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    name = {"type": "choice", "choices": ["a", "b"], "sets": "x"}
    constraints = ["lr < lrr", "lr ** 2 < 1", "lr < name", "lr < 1"]
    file.write_text(yaml.safe_dump({"parameters": {"lr": FLOAT, "name": name}, "constraints": constraints}))
    with pytest.raises(BadInput) as caught:
        read_space(file)
    text = str(caught.value)
    assert "space.yaml: 3 problems" in text
    assert "constraints.0: 'lr < lrr': at character 6: there is no parameter lrr; there are lr, name" in text
    assert "constraints.1: 'lr ** 2 < 1': at character 1: got lr ** 2; there are only" in text
    assert "constraints.2: 'lr < name': at character 6: name has choices that are no numbers" in text


def test_two_parameters_may_not_set_the_same_path(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"optimizer\.lr is set by both a and b"):
        read_space(space_file(tmp_path, a=FLOAT, b=FLOAT))


BOMB = "a0: &a0 1\n" + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]\n" for i in range(9))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "it has more than 20000 values, which no job or space needs"),
        ("a: &a [*a]", "a value holds itself"),
        ("a: " + "[" * 5000, "it is nested too deep"),
        ("a: 0x" + "f" * 5000, "a number is too large: 0xfff"),
        ("a: !!bool maybe", "a value is not what its tag (!!int, !!bool, …) says"),
        ("#" * 100_000, "it has more than 64 KiB, which no job or space needs"),
    ],
)
def test_a_file_that_nobody_means_well_with_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(text)
    with pytest.raises(BadInput) as caught:
        read_job(file)
    assert f"is no YAML: {message}" in str(caught.value)


def test_a_device_is_no_file() -> None:
    with pytest.raises(BadInput, match="it is no file"):
        read_job(Path("/dev/zero"))


@pytest.mark.parametrize("text", ["a: [", "- 1", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(text)
    with pytest.raises(BadInput, match=r"is no YAML|must hold keys and values"):
        read_job(file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fidelity": {"iterations": 480, "rungs": [160, 60, 480]}}, "rungs must rise"),
        (
            {"fidelity": {"iterations": 480, "rungs": [60, 160]}},
            "the last rung must be iterations (480), got 160",
        ),
        (
            {"resources": {"gpus_per_trial": 2, "ranks": 1, "global_batch": 8}},
            "2 GPUs need as many ranks, got 1",
        ),
        ({"resources": {"gpus_per_trial": 1.5, "global_batch": 8}}, "must be whole, got 1.5"),
        ({"resources": {"gpus_per_trial": 3, "global_batch": 8}}, "a multiple of the ranks (3), got 8"),
        (
            {"budget": {"trials": 9, "gpu_hours": 2}},
            "budget.gpu_hours counts no CPU (gpus_per_trial is 0): set budget.hours instead",
        ),
        (
            {"budget": {"trials": 9, "seeds": 1, "patience": 5}},
            "budget: patience needs the noise between seeds, for which the default is trained again",
        ),
        ({"config": "a\0b"}, "config: 'a\\x00b' cannot be a path"),
        ({"space": "a" * 5000}, "cannot be a path"),
        ({"budget": {"trials": 0}}, "budget.trials: Input should be greater than 0, got 0"),
    ],
)
def test_a_wrong_value_of_a_job_is_explained(
    job_file: JobFile, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput) as caught:
        read_job(job_file(**changes))
    assert message in str(caught.value)


@pytest.mark.parametrize("file", sorted(Path("search_spaces").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_space_reads(file: Path) -> None:
    assert read_space(file).parameters


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corrupt_pictures": "skip"}, "corrupt_pictures: is now called corrupt_images"),
        ({"objective": {"against": "latency"}}, "objective.against: is now called objective.secondary"),
        ({"search": {"from": ["a"]}}, "search.from: is now called search.warm_start_from"),
    ],
)
def test_a_key_of_an_earlier_version_is_refused_with_its_present_name(
    job_file: JobFile, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        read_job(job_file(**changes))


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"sampler": "prior"}, "search.sampler: prior exists no more: take tpe, and list the expected point"),
        ({"scheduler": "hyperband"}, "search.scheduler: hyperband exists no more: take asha"),
        ({"scheduler": "median"}, "search.scheduler: median exists no more: take asha"),
    ],
)
def test_a_value_of_an_earlier_version_is_refused_with_what_to_take_instead(
    job_file: JobFile, search: dict[str, str], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        read_job(job_file(search=search))


def test_wrong_initial_points_are_told_with_their_places(tmp_path: Path) -> None:
    points = [
        {"params": {"lr": 1.0}},
        {"params": {"lrr": 1e-3}, "global_batch": 0},
        {"params": {"lrr": 1e-3}},
    ]
    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump({"parameters": {"lr": FLOAT}, "initial_points": points[:2]}))
    with pytest.raises(BadInput, match=r"initial_points\.1\.global_batch: Input should be greater than 0"):
        read_space(file)
    file.write_text(yaml.safe_dump({"parameters": {"lr": FLOAT}, "initial_points": points[::2]}))
    with pytest.raises(BadInput) as caught:
        read_space(file)
    assert "initial_points.0.params.lr: must lie within 1e-05 … 0.01, got 1.0" in str(caught.value)
    assert "initial_points.1.params.lrr: there is no such parameter; there are lr" in str(caught.value)


def test_values_by_dotted_key_replace_those_of_the_file(job_file: JobFile) -> None:
    job = read_job(job_file(), {"budget.trials": 20, "objective.metric": "mAcc"})
    assert (job.budget.trials, job.objective.metric) == (20, "mAcc")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("budget.trails", 20, "budget.trails: unknown key"),
        ("budget.trials", 0, "budget.trials: Input should be greater than 0, got 0"),
        ("name.x", 1, "name.x: name holds a value"),
    ],
)
def test_a_wrong_value_by_dotted_key_is_refused(
    job_file: JobFile, key: str, value: object, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        read_job(job_file(), {key: value})
