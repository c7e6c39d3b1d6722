"""Studies on a cluster through Ray Jobs: a submission is one `python -m tuner …` on the cluster's head.

All functions take the address of Ray's dashboard, http://host:port, and mean the study's latest submission.
They raise TunerError with what to do when the cluster does not answer or refuses.
"""

import asyncio
import getpass
import logging
import os
import shlex
import socket
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from aiohttp import ClientError
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from tuner.cluster.undocumented import CHATTY_JOBS, JOB_STOP_WAIT
from tuner.errors import StillRuns, TunerError

Ending: TypeAlias = Literal["succeeded", "failed", "stopped"]
STOP_WAIT = "30"
"""Seconds in which a stopped driver ends its runs in MLflow."""


def submit(address: str, study: str, folder: Path, arguments: list[str], environment: dict[str, str]) -> str:
    """Returns the id of the submission: `python -m tuner` with the arguments, in a copy of the folder.

    The arguments and the environment can be read in Ray's dashboard: no secrets. Raises StillRuns while an
    earlier submission of the study runs.
    """
    variables = {JOB_STOP_WAIT: STOP_WAIT, **environment}
    with _client(address) as client:
        earlier = _submissions(client, study)
        for submission in earlier:
            if not submission.status.is_terminal():
                sender = submission.metadata.get("sent_by", "somebody")
                raise StillRuns(
                    f"{submission.submission_id}, which {sender} sent, still runs: follow it with `tuner logs {study}` "
                    f"or end it with `tuner stop {study}`; if it is not your study, give your job another name"
                )
        number = _number(earlier[-1]) + 1 if earlier else 1
        return cast(
            "str",
            client.submit_job(
                entrypoint=shlex.join(["python", "-m", "tuner", *arguments]),
                submission_id=f"{study}-{number}",
                runtime_env={"working_dir": str(folder), "env_vars": variables},
                metadata={"study": study, "sent_by": f"{getpass.getuser()}@{socket.gethostname()}"},
            ),
        )


def follow(address: str, study: str) -> Iterator[str]:
    """Yields what the submission has written, and writes until it ends, in pieces of whole lines."""
    with _client(address) as client:
        submission = _latest(client, study)
        if client.get_job_status(submission).is_terminal():
            yield client.get_job_logs(submission)  # at once: who follows waits seconds for the end
        else:
            yield from _pieces(client.tail_job_logs(submission))


def wait(address: str, study: str) -> Ending:
    with _client(address) as client:
        return _ending(client, _latest(client, study))


def stop(address: str, study: str) -> Ending:
    """Returns when the submission has ended; how, if it had before."""
    with _client(address) as client:
        submission = _latest(client, study)
        client.stop_job(submission)
        return _ending(client, submission)


@contextmanager
def _client(address: str) -> Iterator[JobSubmissionClient]:
    if not address.startswith(("http://", "https://")):
        raise TunerError(f"a cluster's address is that of Ray's dashboard, http://host:8265, got {address}")
    os.environ["RAY_API_SERVER_ADDRESS"] = address  # otherwise Ray prefers RAY_ADDRESS to its own argument
    for chatty in CHATTY_JOBS:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        yield JobSubmissionClient(address, headers=_authorization())
    except AuthenticationError as error:
        raise TunerError(
            f"the Ray cluster at {address} refuses the token: name the file with it in RAY_AUTH_TOKEN_PATH"
        ) from error
    except (OSError, ClientError) as error:
        raise TunerError(
            f"no Ray cluster answers at {address}: start one here with `tuner up`, or give another address"
        ) from error
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise TunerError(f"the Ray cluster at {address} refuses: {reason}") from error


def _authorization() -> dict[str, str]:
    """Reads the variables here, since Ray reads them only once, while it is imported."""
    token = os.environ.get("RAY_AUTH_TOKEN", "")
    file = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if not token and file and Path(file).is_file():
        token = Path(file).read_text().strip()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _submissions(client: JobSubmissionClient, study: str) -> list[Any]:
    """Returns the jobs of a study, the oldest first."""
    jobs = [job for job in client.list_jobs() if (job.metadata or {}).get("study") == study]
    return sorted((job for job in jobs if job.submission_id), key=_number)


def _number(submission: Any) -> int:
    return int(submission.submission_id.rpartition("-")[2])


def _latest(client: JobSubmissionClient, study: str) -> str:
    submissions = _submissions(client, study)
    if not submissions:
        raise TunerError(f"the cluster knows no study {study}: send it with `tuner submit`")
    return cast("str", submissions[-1].submission_id)


def _ending(client: JobSubmissionClient, submission: str) -> Ending:
    while not (status := client.get_job_status(submission)).is_terminal():
        time.sleep(0.5)
    return cast("Ending", status.value.lower())


def _pieces(texts: AsyncGenerator[str, None]) -> Iterator[str]:
    loop = asyncio.new_event_loop()
    try:
        while True:
            yield loop.run_until_complete(anext(texts))
    except StopAsyncIteration:
        return
    finally:
        for interrupted in asyncio.all_tasks(loop):
            interrupted.cancel()
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(interrupted)
        loop.run_until_complete(texts.aclose())
        loop.close()
