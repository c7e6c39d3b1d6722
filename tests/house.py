"""Checks the plan of the house; `make check` runs it, and it names every rule that is broken.

It counts loose modules, files of a folder, lines of a file and the longest chain of imports between rooms.
It finds docstrings that open with a fragment, and every import of a heavy library outside its home.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "tuner"
HOMES = {
    "ray": ("cluster",),
    "optuna": ("search", "store", "tracking"),
    "mlflow": ("tracking",),
    "mmcv": ("training", "models"),
    "mmseg": ("training", "models"),
}
LOOSE, FILES, LINES, CHAIN, FRAGMENTS = 8, 14, 250, 10, 0.03
VERBLESS = re.compile(
    r"(Of|By|For|As|In|At|On|With|Without|None|Beside|From|To|One|Once|Usually|Height|Bytes|Whether|What|Which|Who|"
    r"How|Why|Where|When|Many)\b"
)
"""How a docstring opens that is no sentence of its own."""


def main() -> int:
    files = sorted(PACKAGE.rglob("*.py"))
    trees = {file: ast.parse(file.read_text()) for file in files}
    broken = [*_sizes(files), *_strangers(trees), *_chain(trees), *_fragments(trees)]
    for line in broken:
        print(line)
    return 1 if broken else 0


def room(file: Path) -> str:
    """Returns the folder below tuner/, or the name of a loose module."""
    first = file.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def _sizes(files: list[Path]) -> Iterator[str]:
    loose = [file.name for file in files if file.parent == PACKAGE]
    if len(loose) > LOOSE:
        yield f"{len(loose)} modules lie loose in tuner/, at most {LOOSE} may: {', '.join(loose)}"
    for folder in sorted({file.parent for file in files}):
        count = sum(file.parent == folder for file in files)
        if count > FILES:
            yield f"{folder.relative_to(PACKAGE.parent)} has {count} files, at most {FILES} may lie there"
    for file in files:
        lines = len(file.read_text().splitlines())
        if lines > LINES:
            yield f"{file.relative_to(PACKAGE.parent)} has {lines} lines, at most {LINES} are allowed"


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "tuner")


def _strangers(trees: dict[Path, ast.Module]) -> Iterator[str]:
    for file, tree in trees.items():
        for name in sorted({name.partition(".")[0] for name in _imports(tree)} & HOMES.keys()):
            if room(file) not in HOMES[name]:
                homes = " or ".join(f"{home}/" for home in HOMES[name])
                yield f"{file.relative_to(PACKAGE.parent)} imports {name}, whose home is {homes}"


def _chain(trees: dict[Path, ast.Module]) -> Iterator[str]:
    below: dict[str, set[str]] = {room(file): set() for file in trees}
    for file, tree in trees.items():
        targets = {name.split(".")[1] for name in _imports(tree) if name.startswith("tuner.")}
        below[room(file)] |= {target for target in targets & below.keys() if target != room(file)}

    @cache
    def longest(start: str) -> tuple[str, ...]:
        return (start, *max((longest(each) for each in below[start]), key=len, default=()))

    chain = max((longest(start) for start in below), key=len)
    if len(chain) > CHAIN:
        yield f"the imports {' → '.join(chain)} are {len(chain)} rooms long, at most {CHAIN} are allowed"


def _fragments(trees: dict[Path, ast.Module]) -> Iterator[str]:
    found, total = [], 0
    for file, tree in trees.items():
        for line, text in _docstrings(tree):
            total += 1
            if VERBLESS.match(text) or not re.search(r"[.:!?…]$", text.strip().split("\n\n")[0].rstrip('"')):
                found.append(f"{file.relative_to(PACKAGE.parent)}:{line}: {text.splitlines()[0]}")
    if len(found) >= FRAGMENTS * total:
        yield from found
        yield f"{len(found)} of {total} docstrings open with a fragment, fewer than {FRAGMENTS:.0%} may"


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yields line and text of the docstrings of modules, classes and functions, and of attributes."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for child in body if isinstance(body, list) else []:
            value = child.value if isinstance(child, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield child.lineno, value.value


if __name__ == "__main__":
    sys.exit(main())
