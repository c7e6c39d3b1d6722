"""Bad input on the command line: a message that says what to do, exit code 2, and nothing written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from tests.conftest import ROOT, JobFile
from tuner.cli import main
from tuner.training.data.toy import draw

Refused = Callable[..., str]
LR = {"type": "float", "low": 1e-5, "high": 1e-2, "log": True, "sets": "optimizer.lr"}


@pytest.fixture
def refused(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command that must be refused; its message."""

    def call(*arguments: object, code: int = 2) -> str:
        monkeypatch.setattr("sys.argv", ["tuner", "--home", str(home), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert ended.value.code == code, captured
        assert not home.exists(), "something was written"
        assert "Traceback" not in captured.err
        return captured.err

    return call


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    draw(tmp_path / "toys", images=4, validation=2)
    return tmp_path / "toys"


@pytest.fixture
def image_job(job_file: JobFile, toys: Path) -> Path:
    config = str(ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py")
    fidelity = {"iterations": 90, "rungs": [15, 40, 90]}
    return job_file(config=config, data_root=str(toys), fidelity=fidelity)


def space(folder: Path, **parameters: Any) -> str:
    file = folder / "space.yaml"
    file.write_text(yaml.safe_dump({"parameters": parameters}))
    return str(file)


def test_an_unknown_key(refused: Refused, job_file: JobFile) -> None:
    assert "sampler: unknown key" in refused("run", job_file(sampler="tpe"))


def test_a_parameter_path_that_the_config_lacks(refused: Refused, job_file: JobFile, tmp_path: Path) -> None:
    file = job_file(space=space(tmp_path, lr=LR | {"sets": "optimizer.lrr"}))
    message = refused("run", file)
    assert (
        "parameters.lr.sets: the config has no optimizer.lrr: optimizer has type, lr, weight_decay" in message
    )


def test_a_space_with_low_above_high_and_centers_that_are_no_squares(
    refused: Refused, job_file: JobFile, tmp_path: Path
) -> None:
    centers = {"type": "choice", "choices": [4, 20], "sets": "model.backbone.centers.0"}
    message = refused("run", job_file(space=space(tmp_path, lr=LR | {"low": 1}, centers=centers)))
    assert "space.yaml: 2 problems" in message
    assert "parameters.lr: low must not be above high, got 1 > 0.01" in message
    assert "parameters.centers: choices must be squares (4, 9, 16, …), got 20" in message


def test_a_missing_data_root(refused: Refused, job_file: JobFile) -> None:
    message = refused("run", job_file(), "--data-root", "/nowhere")
    assert "data_root: there is no folder /nowhere" in message


def test_a_missing_image_folder(refused: Refused, image_job: Path, toys: Path) -> None:
    (toys / "images" / "training").rename(toys / "images" / "elsewhere")
    assert f"there is no folder {toys}/images/training" in refused("run", image_job)


def test_a_image_without_annotation_and_one_with_foreign_values(
    refused: Refused, image_job: Path, toys: Path
) -> None:
    first, second, *_ = sorted((toys / "annotations" / "training").iterdir())
    first.unlink()
    cv2.imwrite(str(second), np.full((96, 128), 9, np.uint8))
    message = refused("run", image_job)
    assert f"{first.stem}.jpg has no annotation {first}" in message
    assert f"{second.name} has 9, outside 0 … 8 and 255" in message


def test_a_study_name_that_is_no_name(refused: Refused, job_file: JobFile) -> None:
    assert "name: must be 1 to 64 of the letters" in refused("run", job_file(name="../x"))


def test_a_schedule_longer_than_the_configs_own(refused: Refused, job_file: JobFile) -> None:
    message = refused("run", job_file(fidelity={"iterations": 1000}))
    assert "fidelity.iterations: 1000 is longer than the config's schedule (480)" in message


def test_an_unknown_metric(refused: Refused, job_file: JobFile) -> None:
    message = refused("run", job_file(objective={"metric": "miou"}))
    assert "there is no miou; there are mIoU and loss" in message


def test_a_metric_that_the_validation_set_lacks(refused: Refused, image_job: Path) -> None:
    for metric, near in (("IoU.Sky", "IoU.sky"), ("mIOU", "mIoU"), ("Dice.hil", "Dice.hill")):
        message = refused("check", image_job, "--set", f"objective.metric={metric}")
        assert f"objective.metric: there is no {metric}: is {near} meant?" in message


def test_a_metric_of_a_class_that_no_validation_image_shows(
    refused: Refused, image_job: Path, toys: Path
) -> None:
    for file in (toys / "annotations" / "validation").iterdir():
        labels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(file), np.where(labels == 7, 1, labels).astype(np.uint8))
    message = refused("check", image_job, "--set", "objective.metric=IoU.roof")
    assert "objective.metric: no validation image shows roof, so that IoU.roof is not defined" in message


def test_a_job_file_that_is_not_there(refused: Refused) -> None:
    assert "nope.yaml: 1 problem\n  cannot be read: No such file" in refused("run", "nope.yaml")


def test_an_override_that_the_config_lacks(refused: Refused, toys: Path) -> None:
    config = ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py"
    message = refused("train", config, "--data-root", toys, "--set", "optimizer.lrr=1", "--set", "model.x=1")
    assert "--set: 2 problems" in message


def test_an_override_without_a_value(refused: Refused, toys: Path) -> None:
    config = ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py"
    assert "must be path=value, got optimizer.lr" in refused("train", config, "--set", "optimizer.lr")


def test_a_config_that_is_none(refused: Refused, tmp_path: Path) -> None:
    file = tmp_path / "config.py"
    file.write_text("model = dict(")
    assert "is no mmseg config" in refused("train", file)


def test_a_checkpoint_that_is_none(refused: Refused, toys: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    file.write_bytes(b"x")
    config = ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py"
    assert "is no checkpoint of this config" in refused("evaluate", config, file, "--data-root", toys)


def test_a_study_that_is_not_there(refused: Refused) -> None:
    assert "there is no study nope" in refused("status", "nope", code=1)
    assert "there is no study nope" in refused("export", "nope", "--to", "x", code=1)


def test_no_cluster_to_submit_to(refused: Refused, job_file: JobFile) -> None:
    assert "no cluster: start one here with `tuner up`" in refused("submit", job_file(), code=1)


def test_what_can_hold_on_no_cluster_is_told_before_a_job_is_sent(
    refused: Refused, image_job: Path, tmp_path: Path
) -> None:
    job = yaml.safe_load(image_job.read_text())
    config = tmp_path / "own.py"
    config.write_text(
        f"_base_ = [{job['config']!r}]\n"
        "load_from = 'weights/earlier.pth'\n"
        "model = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='{path}/coc.pth')))\n"
    )
    (tmp_path / "weights").mkdir()
    image_job.write_text(yaml.safe_dump(job | {"config": str(config), "data_root": "/only/there"}))
    message = refused("submit", image_job, "--set", "fidelity.iterations=1000", "--set", "fidelity.rungs=[]")
    assert "load_from: weights/earlier.pth leads nowhere on a cluster, as weights are not sent" in message
    assert "'{path}/coc.pth' is a placeholder: name the file by --pretrained FILE" in message
    assert "1000 is longer than the config's schedule" in message
    named = refused("submit", image_job, "--pretrained", "/only/there/coc.pth")
    assert "coc.pth" not in named


def test_a_default_that_needs_more_memory_than_a_gpu_has(
    refused: Refused, job_file: JobFile, toys: Path
) -> None:
    config = str(ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py")
    resources = {"gpus_per_trial": 1, "global_batch": 8, "gpu_memory": 0.01}
    fidelity = {"iterations": 90}
    job = job_file(config=config, data_root=str(toys), fidelity=fidelity, resources=resources)
    assert "the default needs 1.55 GiB a rank, but has 0.01" in refused("run", job)


def test_centers_to_sweep_that_are_no_squares(refused: Refused, tmp_path: Path) -> None:
    command = "sweep-centers", ROOT / "configs/sem_fpn/fpn_coc_nano_toy.py", tmp_path, "--to", tmp_path / "to"
    assert "must be squares (4, 9, 16, …), got 20" in refused(*command, "--centers", "4,20")
    assert "must be whole numbers with commas between, got four" in refused(*command, "--centers", "four")
    assert not (tmp_path / "to").exists()


def test_a_crop_that_the_folds_do_not_divide(refused: Refused, image_job: Path, tmp_path: Path) -> None:
    job = yaml.safe_load(image_job.read_text())
    text = Path(job["config"]).read_text().replace("../_base_", str(ROOT / "configs/_base_"))
    odd = tmp_path / "odd.py"
    odd.write_text(
        text
        + "crop = dict(train=dict(pipeline=[dict(type='RandomCrop', crop_size=(96, 100))]))\ndata = crop\n"
    )
    image_job.write_text(yaml.safe_dump(job | {"config": str(odd)}))
    message = refused("check", image_job)
    assert "the crop of 96x100 does not divide into folds 1, 1, 1, 1 a side: take multiples of 32" in message


@pytest.mark.parametrize("command", ["check", "run"])
def test_checkpoints_where_nothing_can_be_written_with_all_else_that_is_wrong(
    refused: Refused, job_file: JobFile, url: str, command: str
) -> None:
    nowhere = url.replace("/coc", "-not-made/coc")
    message = refused("--checkpoints", nowhere, command, job_file(objective={"metric": "mIoUU"}))
    assert "cannot be written to: Bucket" in message
    assert "mIoUU" in message
