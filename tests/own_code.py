"""Modules of a user's own, of which one has a hook that says where a rank has imported it from."""

from pathlib import Path
from typing import Any

MODULE = """
from pathlib import Path

from mmcv.runner import HOOKS, Hook
from {name}_helper import TEXT


@HOOKS.register_module(force=True)
class LeavesANote(Hook):
    def __init__(self, file):
        self.file = Path(file)

    def before_run(self, runner):
        self.file.write_text(TEXT + __file__)
"""
TEXT = "a rank has it from "


def write_own_code(folder: Path, name: str) -> None:
    """Writes a module and the one that it imports."""
    (folder / f"{name}.py").write_text(MODULE.format(name=name))
    (folder / f"{name}_helper.py").write_text(f"TEXT = {TEXT!r}")


def leaves_a_note(note: Path) -> dict[str, Any]:
    """The hook, as a config has it."""
    return {"type": "LeavesANote", "file": str(note)}


def imported_from(note: Path) -> Path:
    """The folder from which the rank that has left the note has the module."""
    return Path(note.read_text().removeprefix(TEXT)).parent
