"""Runs the command line and drivers in processes of their own, forked from one that has loaded the heavy libraries.

Loading them takes a command several seconds, most of what it takes at all. Ray is not among them: it reads its
environment while it is imported.
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["tuner.models", "mmseg.apis", "tuner.tracking.report.page", "tuner.tracking.mlflow"]
)
SECONDS = 500
NOWHERE = Path(os.devnull)


def call(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `tuner` with these arguments, in that folder."""
    with TemporaryDirectory() as outputs:
        out, err = Path(outputs, "out"), Path(outputs, "err")
        process = start(tuner(arguments), environment, out, err, folder)
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(list(arguments), SECONDS, out.read_bytes(), err.read_bytes())
        command = ["tuner", *arguments]
        return subprocess.CompletedProcess(command, process.exitcode, out.read_text(), err.read_text())


def tuner(arguments: Sequence[str]) -> Callable[[], None]:
    """`tuner` with these arguments, to be started."""
    return partial(_tuner, list(arguments))


def start(
    program: Callable[[], None],
    environment: Mapping[str, str],
    out: Path = NOWHERE,
    err: Path = NOWHERE,
    folder: Path | None = None,
) -> BaseProcess:
    """Begins to run a function as a program that has that environment, folder and outputs."""
    process = CONTEXT.Process(target=_run, args=(program, dict(environment), folder or Path.cwd(), out, err))
    process.start()
    return process


def _run(
    program: Callable[[], None], environment: dict[str, str], folder: Path, out: Path, err: Path
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for file, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    program()


def _tuner(arguments: list[str]) -> None:
    sys.argv = ["tuner", *arguments]
    from tuner.cli import main  # here, as it looks at the terminal's width

    main()
