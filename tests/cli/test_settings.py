"""Where things lie, as the command line or the environment has it."""

from pathlib import Path

import pytest

from tests.conftest import Tuner
from tuner.errors import BadInput
from tuner.files.paths import AnyPath
from tuner.files.urls import UrlPath
from tuner.settings import Settings


def checkpoints(text: str) -> AnyPath | None:
    return Settings.from_environment(Path("runs"), None, text).home.checkpoints


def test_checkpoints_lie_in_a_folder_or_at_a_url() -> None:
    assert checkpoints("") is None
    assert checkpoints("elsewhere") == Path.cwd() / "elsewhere"
    assert checkpoints("file:///scratch/a%20b") == Path("/scratch/a b")
    assert checkpoints("s3://lab/coc?region=eu-west-1") == UrlPath("s3://lab/coc?region=eu-west-1")


@pytest.mark.parametrize("text", ["s3://key:hush@lab/coc", "abfs://lab@account/coc?client_secret=hush"])
def test_a_password_in_a_url_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(BadInput, match="must hold no password") as refused:
        checkpoints(text)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("text", ["s3:/lab/coc", "s3://[lab"])
def test_what_looks_like_a_url_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--checkpoints"):
        checkpoints(text)


@pytest.mark.parametrize(
    "url", ["postgresql://tuner:hush@db/x", "postgresql://tuner@db/x?password=hush", "x://[hush"]
)
def test_a_databases_password_is_refused_among_the_arguments(tuner_inside: Tuner, url: str) -> None:
    refused = tuner_inside("--storage", url, "status", code=2).stderr
    assert "--storage: 1 problem\n  must hold no password" in refused
    assert "hush" not in refused
