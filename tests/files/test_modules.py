"""Which modules come along with a config, how they are kept, and how another process imports them."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tuner.errors import BadInput
from tuner.files import modules
from tuner.files.modules import Modules, from_kept, own_modules


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A folder with a module, a helper that it imports, a package, and what nobody imports."""
    folder = tmp_path / "beside"
    (folder / "own_package" / "__pycache__").mkdir(parents=True)
    (folder / "own_module.py").write_text("import json\nimport yaml\nfrom own_helper import VALUE\n")
    (folder / "own_helper.py").write_text("VALUE = 7\n")
    (folder / "own_package" / "__init__.py").write_text("from . import part\n")
    (folder / "own_package" / "part.py").write_text("")
    (folder / "own_package" / "names.txt").write_text("sky\n")
    (folder / "own_package" / "__pycache__" / "part.pyc").write_bytes(b"")
    (folder / "unused.py").write_text("")
    return folder


def test_modules_come_with_what_they_import_and_packages_whole(beside: Path) -> None:
    found = own_modules(["own_module", "own_package.part", "mmseg.models", "tuner.models"], beside)
    package = {f"own_package/{name}" for name in ("__init__.py", "part.py", "names.txt")}
    assert set(found.files) == {"own_module.py", "own_helper.py", *package}


def test_modules_on_pythonpath_come_too_and_installed_ones_do_not(
    beside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(beside), *sys.path])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert not own_modules(["own_helper"], tmp_path).files, "as if it were installed"
    monkeypatch.setenv("PYTHONPATH", str(beside))
    assert set(own_modules(["own_helper"], tmp_path).files) == {"own_helper.py"}


def test_a_study_keeps_them_by_a_hash_of_their_contents(beside: Path) -> None:
    found = own_modules(["own_module"], beside)
    assert from_kept(found.kept()) == found
    assert found.kept() == own_modules(["own_module"], beside).kept()
    (beside / "own_helper.py").write_text("VALUE = 8\n")
    assert own_modules(["own_module"], beside).hash != found.hash
    assert from_kept(None) == Modules()


def test_another_process_imports_them_where_their_folder_is_not(beside: Path, tmp_path: Path) -> None:
    found = own_modules(["own_module"], beside)
    node = tmp_path / "node"
    node.mkdir()
    code = (
        "import pickle, sys\n"
        "pickle.load(sys.stdin.buffer).make_importable()\n"
        "import own_module\n"
        "print(own_module.VALUE, own_module.__file__)"
    )
    for _ in range(2):  # the second finds them
        done = subprocess.run(
            [sys.executable, "-c", code], input=pickle.dumps(found), capture_output=True, check=True,
            env={"TMPDIR": str(node), "PYTHONPATH": str(Path(modules.__file__).parents[2])},
        )  # fmt: skip
        assert done.stdout.decode().startswith(f"7 {node}/tuner-modules-")


def test_more_than_is_sent_is_refused_with_what_to_do(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "MOST", 10)
    with pytest.raises(
        BadInput, match=r"own_module and what is imported .* install them on every node \(pip"
    ):
        own_modules(["own_module"], beside)


def test_the_name_of_a_file_of_the_job_is_refused(beside: Path, tmp_path: Path) -> None:
    (tmp_path / "own_helper.py").write_text("")
    with pytest.raises(
        BadInput, match=r"own_helper\.py has the name of a file that lies beside it: rename it"
    ):
        own_modules(["own_module"], beside).write(tmp_path)
    assert not (tmp_path / "own_module.py").exists()
