"""An export takes the user's own modules and packages along, out of the study's database, for both configs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.base import base, draw
from tests.export.studies import searched
from tuner.export.asked import Asked
from tuner.export.export import export
from tuner.files.paths import Home
from tuner.training.config import config as configs

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore::UserWarning")]
FILES = {
    "taken_along/__init__.py": "from taken_along.parts import hook\n",
    "taken_along/parts/__init__.py": "",
    "taken_along/parts/hook.py": """
from pathlib import Path
from mmcv.runner import HOOKS, Hook
from taken_along_too import LENGTH
from ..names import NAMES

@HOOKS.register_module(force=True)
class ReadsItsOwnFile(Hook):
    words = Path(__file__).with_name("words.txt").read_text().split()
    assert (len(words), NAMES) == (LENGTH, ["sky"])
""",
    "taken_along/parts/words.txt": "two words",
    "taken_along/names.py": "NAMES = ['sky']\n",
    "taken_along_too.py": "LENGTH = 2\n",
}
SPACE = "parameters: {lr: {type: float, low: 1.0e-5, high: 1.0, log: true, sets: optimizer.lr}}"
IMPORTS = """
import sys
import tuner.models  # mmseg cannot be imported before it
from mmcv.utils import Config
from tuner.training.config import config as configs

configs.read(__import__("pathlib").Path(sys.argv[1]))
print(sys.modules["taken_along.parts.hook"].__file__, sys.modules["taken_along_too"].__file__)
for name in [name for name in sys.modules if name.startswith("taken_along")]:
    del sys.modules[name]
sys.path[:] = [folder for folder in sys.path if folder != sys.argv[3]]
Config.fromfile(sys.argv[2])
print(sys.modules["taken_along.parts.hook"].__file__, sys.modules["taken_along_too"].__file__)
"""


@pytest.mark.long
def test_packages_and_modules_are_imported_from_the_export_where_the_original_is_not(tmp_path: Path) -> None:
    own, best = tmp_path / "own", tmp_path / "best"
    for name, text in FILES.items():
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text(text)
    draw(tmp_path / "blocks", images=2, validation=1)
    code = {"custom_imports": {"imports": ["taken_along"]}, "custom_hooks": [{"type": "ReadsItsOwnFile"}]}
    (own / "config.py").write_text(configs.text(base(tmp_path / "blocks") | code))
    (own / "space.yaml").write_text(SPACE)
    home = Home(tmp_path / "home")
    home.root.mkdir()
    asked = {
        "config": str(own / "config.py"),
        "space": str(own / "space.yaml"),
        "budget": {"trials": 1, "seeds": 1},
    }
    store = searched(tmp_path, home, tmp_path / "blocks", **asked)
    shutil.rmtree(own)
    export(store, home, best, Asked(verification="none"))
    paths = (best / "config.py", best / "standalone" / "config.py", best)
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    for folder, line in zip((best, best / "standalone"), done.stdout.splitlines()[-2:], strict=True):
        assert line == f"{folder}/taken_along/parts/hook.py {folder}/taken_along_too.py"
