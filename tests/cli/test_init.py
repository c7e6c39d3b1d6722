"""`tuner init` writes jobs that pass the check, for configs of many kinds, and never writes over anything."""

from pathlib import Path
from pprint import pformat
from typing import Any

import numpy as np
import pytest

from tests.conformance.base import base, write
from tests.conformance.test_authors import write_authors_file
from tests.conformance.test_mmseg_configs import FILES, NAMES, in_small
from tests.conftest import ROOT, Tuner
from tests.undisturbed import undisturbed
from tuner.app import check_file
from tuner.errors import BadInput
from tuner.settings import Settings
from tuner.sizing.examples import EXAMPLES, job_file
from tuner.sizing.first_space import first_space
from tuner.spec.trial import Outcome
from tuner.spec.yaml_files import read_job
from tuner.training.config import config as configs
from tuner.trainings import example, first_job

Config = dict[str, Any]
LAYOUTS = (
    ("images/{}/1.jpg", "annotations/{}/1.png", ("training", "validation")),
    ("leftImg8bit/{}/1_leftImg8bit.png", "gtFine/{}/1_gtFine_labelTrainIds.png", ("train", "val")),
)
"""Where images and labels of ADE20K and of Cityscapes lie, and their splits."""
pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore::UserWarning")]


def written(config: Config, file: Path) -> Path:
    file.write_text("".join(f"{key} = {pformat(value)}\n" for key, value in config.items()))
    return file


@pytest.fixture(scope="module")
def public_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image each for training and validation, as ADE20K and as Cityscapes lie on disks."""
    folder = tmp_path_factory.mktemp("public")
    for image, label, splits in LAYOUTS:
        for split in splits:
            write(folder / image.format(split), np.zeros((32, 48, 3), np.uint8))
            write(folder / label.format(split), np.ones((32, 48), np.uint8))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_jobs_of_mmsegs_files_as_they_are_pass_the_check(
    name: str, public_images: Path, tmp_path: Path
) -> None:
    file = FILES / f"{name}.py"
    if not file.is_file():
        pytest.skip(f"this mmsegmentation comes without {name}")
    job, _ = sorted(first_job(file, public_images, "none", tmp_path / "search"))
    check_file(job, {}, Settings.from_environment(tmp_path / "home", None))
    assert {"lr", "weight_decay"} <= read_job(job).space.parameters.keys()


@pytest.mark.long
def test_a_job_of_a_custom_data_set_passes_the_check_and_can_be_built(
    block_images: Path, tmp_path: Path
) -> None:
    file = written(base(block_images), tmp_path / "config.py")
    job, _ = sorted(first_job(file, block_images, None, tmp_path / "search"))
    check_file(job, {}, Settings.from_environment(tmp_path / "home", None), builds=True)
    assert read_job(job).space.parameters.keys() == {"lr", "weight_decay", "dropout"}


def test_the_authors_files_need_the_weights_flag_and_their_centers_can_be_searched(
    block_images: Path, tmp_path: Path
) -> None:
    file = write_authors_file(tmp_path, "context_cluster_small_feat5")
    with pytest.raises(BadInput, match="--pretrained FILE, or --pretrained none"):
        first_job(file, block_images, None, tmp_path / "search")
    assert not (tmp_path / "search").exists()
    job, _ = sorted(first_job(file, block_images, "none", tmp_path / "search"))
    assert read_job(job).pretrained == "none"
    assert read_job(job).space.parameters["centers"].contains(25)
    check_file(job, {}, Settings.from_environment(tmp_path / "home", None))


@pytest.mark.long
@pytest.mark.parametrize("name", ["custom", "authors", NAMES[5]])
def test_a_search_of_what_was_written_runs_to_its_end(name: str, block_images: Path, tmp_path: Path) -> None:
    if name == "authors":
        file = write_authors_file(tmp_path, "context_cluster_small_feat5")
    else:
        config = base(block_images) if name == "custom" else in_small(name, block_images)
        file = written(config, tmp_path / "config.py")
    first_job(file, block_images, "none", tmp_path / "search")
    fidelity = {"iterations": 8, "rungs": [2, 8], "schedule": "compressed"}
    changes = {"budget.trials": 2, "budget.seeds": 1, "fidelity": fidelity}
    records = undisturbed(read_job(tmp_path / "search" / "job.yaml", changes), tmp_path / "home")
    assert len(records) == 2
    assert {record.outcome for record in records} <= {Outcome.COMPLETED, Outcome.PRUNED}


def test_what_is_there_stays_as_it_is(tuner_inside: Tuner, block_images: Path, tmp_path: Path) -> None:
    config = ROOT / "configs" / "sem_fpn" / "fpn_coc_nano_toy.py"
    to = tmp_path / "search"
    done = tuner_inside("init", config, "--data-root", block_images, "--to", to)
    assert f"next: tuner check {to / 'job.yaml'}" in done.stdout
    before = {file: file.read_text() for file in to.iterdir()}
    again = tuner_inside("init", config, "--data-root", block_images / "nowhere", "--to", to, code=2)
    assert "is there already and is not overwritten" in again.stderr
    assert "there is no folder" in again.stderr
    assert {file: file.read_text() for file in to.iterdir()} == before


def test_every_range_holds_the_configs_own_value() -> None:
    config = configs.read(ROOT / "configs" / "sem_fpn" / "fpn_coc_small_c4_ade20k_80k.py")
    config["optimizer"]["paramwise_cfg"] = {"custom_keys": {"head": {"lr_mult": 10.0}}}
    config["lr_config"] |= {"warmup": "linear", "warmup_iters": 1500}
    names = [each.name for each in first_space(config)]
    assert names == ["lr", "weight_decay", "head_lr_mult", "warmup_iters", "drop_path", "dropout", "centers"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_the_shipped_job_with_all_that_it_names(name: str, tmp_path: Path) -> None:
    files = example(name, tmp_path)
    assert {file.name for file in files} == {"job.yaml", "space.yaml", "config.py"}
    copied, shipped = (
        read_job(file, images_are_here=False) for file in (tmp_path / "job.yaml", job_file(name))
    )
    assert copied.model_dump(exclude={"config"}) == shipped.model_dump(exclude={"config"})
    assert configs.read(copied.config) == configs.read(shipped.config)
    with pytest.raises(BadInput, match="is not overwritten"):
        example(name, tmp_path)


def test_an_unknown_example_is_told_with_the_names_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="must be one of demo, camvid, ade20k, got demos"):
        example("demos", tmp_path)
