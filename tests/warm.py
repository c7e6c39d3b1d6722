"""Calls the command line in processes of their own, forked from one that has loaded the heavy libraries already.

Loading them takes a command several seconds, most of what it takes at all. Ray is not among them: it reads its
environment while it is imported.
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["tuner.models", "mmseg.apis", "tuner.tracking.report.page", "tuner.tracking.mlflow"]
)
SECONDS = 500


def call(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `tuner` with these arguments, in that folder."""
    with TemporaryDirectory() as outputs:
        out, err = Path(outputs, "out"), Path(outputs, "err")
        process = CONTEXT.Process(
            target=_main, args=(list(arguments), dict(environment), folder or Path.cwd(), out, err)
        )
        process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(list(arguments), SECONDS, out.read_bytes(), err.read_bytes())
        command = ["tuner", *arguments]
        return subprocess.CompletedProcess(command, process.exitcode, out.read_text(), err.read_text())


def _main(arguments: list[str], environment: dict[str, str], folder: Path, out: Path, err: Path) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for file, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), descriptor)
    sys.argv = ["tuner", *arguments]
    from tuner.cli import main  # here, as it looks at the terminal's width

    main()
