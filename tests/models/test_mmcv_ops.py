"""mmcv's compiled operators: a clear error where they are missing, never in their way where they are not."""

import subprocess
import sys
from pathlib import Path

import mmcv
import pytest

from tests.conftest import ROOT
from tuner.errors import TunerError
from tuner.models.mmcv_ops import EXTENSION

MMCV_AND_MORE = """
__path__.append({mmcv!r})
exec(open({mmcv!r} + "/__init__.py").read())
"""
SHOW_FILE = "import tuner.models, mmcv._ext; print(mmcv._ext.__file__)"


@pytest.fixture
def stand_in() -> object:
    import mmcv.ops  # noqa: F401 - it imports with the stand-in

    if getattr(sys.modules[EXTENSION], "__file__", None):
        pytest.skip("mmcv's operators are compiled here")
    return sys.modules[EXTENSION]


def test_calling_a_missing_operator_names_it_and_says_what_to_do(stand_in: object) -> None:
    with pytest.raises(TunerError, match=r"operator nms: .* run `make ops`"):
        stand_in.nms(1, 2)  # type: ignore[attr-defined]


def test_mmcv_itself_sees_that_the_operators_are_missing(stand_in: object) -> None:
    assert stand_in.__spec__.loader is None  # type: ignore[attr-defined]
    assert not hasattr(stand_in, "__file__")


def test_compiled_operators_are_used_where_they_are_installed(tmp_path: Path) -> None:
    (tmp_path / "mmcv").mkdir()
    (tmp_path / "mmcv" / "__init__.py").write_text(MMCV_AND_MORE.format(mmcv=mmcv.__path__[0]))
    compiled = tmp_path / "mmcv" / "_ext.py"
    compiled.touch()
    shown = subprocess.run(
        [sys.executable, "-c", SHOW_FILE],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == str(compiled)
