"""A registered model, served by MLflow itself: the mask that `tuner evaluate` computes comes over HTTP."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from tests.conftest import clean_environment
from tests.export.studies import searched
from tuner.export.asked import Asked
from tuner.export.commands import export_trial, register_model
from tuner.servers.ports import free_ports
from tuner.settings import Settings
from tuner.tracking.registry import model_name
from tuner.training.data.toy import draw
from tuner.training.evaluation.prediction import predict
from tuner.training.exported.scores import Exported, load

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore"),  # MLflow's own, of many kinds, while it saves and loads a model
]


def test_a_studys_name_is_made_fit_for_the_registry() -> None:
    assert model_name("ade20k-small.v2/x") == "ade20k-small-v2-x"


@contextmanager
def serving(address: str, uri: str) -> Iterator[str]:
    """Serves a registered model until the end; gives the URL."""
    [port] = map(str, free_ports(0))
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        address,
        "--env-manager",
        "local",
        "-p",
        port,
    ]
    variables = clean_environment() | {
        "MLFLOW_TRACKING_URI": uri,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # as an activated one has it
    }
    with subprocess.Popen([*command, "-w", "1"], env=variables, start_new_session=True) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/ping", server)
            yield f"http://127.0.0.1:{port}/invocations"
        finally:
            os.killpg(server.pid, signal.SIGTERM)  # it has started uvicorn


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(URLError, ConnectionError), urlopen(url) as answer:
            if answer.status == 200:
                return
        time.sleep(0.2)
    raise AssertionError("the model is not served")


def asked(url: str, inputs: object) -> list[dict[str, object]]:
    request = Request(url, json.dumps({"inputs": inputs}).encode(), {"Content-Type": "application/json"})
    with urlopen(request) as answer:
        found: list[dict[str, object]] = json.load(answer)["predictions"]
        return found


@torch.no_grad()
def ours(exported: Exported, index: int) -> np.ndarray:
    exported.model.eval()
    [prediction] = predict(exported.model, [exported.dataset[index]], torch.device("cpu"))
    return prediction.labels.numpy()


def test_a_registered_model_answers_an_image_with_the_mask_of_an_evaluation(tmp_path: Path) -> None:
    settings = Settings.from_environment(tmp_path / "home", None)
    (tmp_path / "home").mkdir()
    draw(tmp_path / "toys", images=2, validation=2)
    searched(tmp_path, settings.home, tmp_path / "toys", name="toys.v2", budget={"trials": 1, "seeds": 1})
    assert register_model("toys.v2", Asked(), settings) == "models:/toys-v2/1"
    version = MlflowClient(settings.tracking_uri).get_model_version("toys-v2", "1")
    assert version.description.startswith("# toys.v2, trial 0")
    assert "## Classes" not in version.description
    export_trial("toys.v2", tmp_path / "best", Asked(verification="none"), settings)
    exported = load(tmp_path / "best/config.py", tmp_path / "best/checkpoint.pth", None)
    files = [tmp_path / f"toys/images/validation/{number:04}.jpg" for number in range(2)]
    with serving("models:/toys-v2/1", settings.tracking_uri) as url:
        found = asked(url, [base64.b64encode(file.read_bytes()).decode() for file in files])
    assert [each["classes"] for each in found] == [list(exported.dataset.CLASSES)] * 2
    for index, each in enumerate(found):
        wanted = ours(exported, index)
        assert (np.array(each["mask"]) != wanted).mean() < 1e-3  # mmseg's softmax rounds near logits to ties
