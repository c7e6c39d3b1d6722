"""Every published setting, and what a search may make of one, exported and verified on tiny data."""

import copy
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.export.studies import searched
from tuner.export import verification
from tuner.export.asked import Asked
from tuner.export.export import export
from tuner.files.paths import Home
from tuner.sizing.config_paths import apply
from tuner.spec.trial import Config
from tuner.training.config import config as configs
from tuner.training.data.toy import draw

pytestmark = [
    pytest.mark.long,
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.xdist_group("exported"),
]
NANO = "fpn_coc_nano_toy"
PUBLISHED = sorted(file.stem for file in (ROOT / "configs/sem_fpn").glob("*_ade20k_80k.py"))
OWN_CLASS = """
from mmseg.datasets import DATASETS, CustomDataset


@DATASETS.register_module()
class Scenes(CustomDataset):
    CLASSES = ("sky", "hill", "water", "meadow", "sand", "wall", "roof", "path")
    PALETTE = [[number] * 3 for number in range(8)]
"""
Change = Callable[[Config], Config]


@cache
def read(stem: str) -> Config:
    return configs.read(ROOT / f"configs/sem_fpn/{stem}.py")


def setting(**overrides: Any) -> Change:
    return lambda config: apply(
        config, {key.replace("__", "."): value for key, value in overrides.items()}, "test"
    )


def own_class(config: Config) -> Config:
    """The data sets of a class in a module of the user's own, which lies beside the config."""
    for split in ("train", "val", "test"):
        config["data"][split]["type"] = "Scenes"
        for key in ("classes", "palette"):
            del config["data"][split][key]
    config["custom_imports"]["imports"].append("own_scenes")
    return config


SETTINGS: dict[str, tuple[str, Change, dict[str, Any]]] = {
    **{name: (name, setting(), {}) for name in PUBLISHED},
    "centers per stage": (NANO, setting(model__backbone__centers=[9, 4, 4, 25]), {}),
    "layer decay": (NANO, setting(optimizer__paramwise_cfg__decay_rate=0.8), {}),
    "drop path": (NANO, setting(model__backbone__drop_path_rate=0.2), {}),
    "own class": (NANO, own_class, {}),
    "two objectives": (
        NANO,
        setting(),
        {"objective": {"metric": "mIoU", "secondary": "parameters"}, "search": {"sampler": "nsga2"}},
    ),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    draw(folder, images=2, validation=2)
    return folder


@pytest.fixture(scope="module")
def run_alone() -> Iterator[Callable[[dict[str, Any]], str | None]]:
    """One process without the tuner for all settings: starting one for each costs most of their time."""
    command, variables = verification.COMMAND, verification.environment()
    with spawned(command, variables) as process:

        def run(asked: dict[str, Any]) -> str | None:
            assert process.stdin
            assert process.stdout
            print(json.dumps(asked), file=process.stdin, flush=True)
            found: str | None = json.loads(process.stdout.readline())
            return found

        yield run


@contextmanager
def spawned(command: tuple[str, ...], variables: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=variables,
    )
    with process:
        yield process
        assert process.stdin
        process.stdin.close()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_exported_and_verified(
    name: str,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_alone: Callable[[dict[str, Any]], str | None],
) -> None:
    monkeypatch.setattr(verification, "run_alone", run_alone)
    stem, change, keys = SETTINGS[name]
    config = change(copy.deepcopy(read(stem) | {"data": read(NANO)["data"]}))
    config["model"]["decode_head"]["num_classes"] = 8
    (tmp_path / "config.py").write_text(configs.text(config))
    if change is own_class:  # another test's would be on the path too
        (tmp_path / "own_scenes.py").write_text(OWN_CLASS)
    (tmp_path / "space.yaml").write_text(
        "parameters: {lr: {type: float, low: 1.0e-5, high: 1.0e-2, sets: optimizer.lr}}"
    )
    (tmp_path / "home").mkdir()
    home, space = Home(tmp_path / "home"), str(tmp_path / "space.yaml")
    changes = {"config": str(tmp_path / "config.py"), "space": space, "fidelity": {"iterations": 1}, **keys}
    store = searched(tmp_path, home, images, budget={"trials": 1, "seeds": 1}, **changes)
    _, messages = export(store, home, tmp_path / "best", Asked())
    shutil.rmtree(tmp_path / "home")
    assert len(messages) == 3
    assert "differ by 0 at most" in messages[1]
    assert ": 0 of " in messages[2]
