import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.object_store import ObjectStore
from tuner.errors import Crashed
from tuner.files.urls import UrlPath
from tuner.training import checkpoint


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("PytorchStreamWriter failed")]
)
def test_a_checkpoint_half_written_leaves_the_one_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def write_half(_content: Any, file: Path) -> None:
        file.write_bytes(b"half")
        raise error

    file, model = tmp_path / "checkpoint.pth", nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoint.save(file, model, optimizer, {"iteration": 1})
    monkeypatch.setattr(torch, "save", write_half)
    with pytest.raises(Crashed, match=r"cannot be written: .*; the checkpoint before it stands"):
        checkpoint.save(file, model, optimizer, {"iteration": 2})
    assert checkpoint.load(file, model, optimizer) == {"iteration": 1}
    assert list(tmp_path.iterdir()) == [file]


def test_a_store_that_refuses_a_checkpoint_fails_the_trial_and_keeps_the_one_before_it(
    object_store: ObjectStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, model = UrlPath(url) / "checkpoint.pth", nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoint.save(file, model, optimizer, {"iteration": 1})
    with monkeypatch.context() as patched:
        patched.setattr(object_store, "refuses", lambda request: request["REQUEST_METHOD"] == "PUT")
        with pytest.raises(Crashed, match=r"checkpoint\.pth.* cannot be written: .*ACCESS_DENIED"):
            checkpoint.save(file, model, optimizer, {"iteration": 2})
    assert checkpoint.load(file, model, optimizer) == {"iteration": 1}


def test_a_checkpoint_is_on_the_disk_before_it_takes_the_place_of_the_one_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(written: Any) -> None:
        synced.append(Path(written.name).stat().st_size)
        assert checkpoint.load(file, model) == {"iteration": 1}

    file, model, synced = tmp_path / "checkpoint.pth", nn.Linear(1, 1), []
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoint.save(file, model, optimizer, {"iteration": 1})
    monkeypatch.setattr(os, "fsync", sync)
    checkpoint.save(file, model, optimizer, {"iteration": 2})
    assert synced == [file.stat().st_size]
    assert checkpoint.load(file, model) == {"iteration": 2}


def test_what_a_killed_process_left_beside_is_ignored(tmp_path: Path) -> None:
    file, model = tmp_path / "checkpoint.pth", nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoint.save(file, model, optimizer, {"iteration": 1})
    (tmp_path / ".checkpoint.pth.7").write_bytes(file.read_bytes()[:100])
    assert checkpoint.load(file, model, optimizer) == {"iteration": 1}
