"""Copies one of the shipped jobs out, with its space and its config, to begin with."""

import re
from collections.abc import Mapping
from pathlib import Path

import tuner
from tuner.errors import BadInput

EXAMPLES = {"demo": "demo", "camvid": "camvid_small", "ade20k": "ade20k_small"}
"""The names of the examples, and of their jobs' files."""


def job_file(example: str) -> Path:
    """Returns the shipped job of an example. Raises BadInput with the names that there are."""
    if example not in EXAMPLES:
        raise BadInput.of("--example", f"must be one of {', '.join(EXAMPLES)}, got {example}")
    return shipped() / "configs" / "jobs" / f"{EXAMPLES[example]}.yaml"


def example_texts(job: Path, config: str) -> Mapping[str, str]:
    """Returns the texts of job.yaml, space.yaml and config.py; `config` is the job's, whole.

    The comments of job and space stay as they are.
    """
    text = job.read_text()
    space = re.search(r"^space: (.+)$", text, re.MULTILINE)
    if space is None:
        raise AssertionError(f"{job} names no space")
    text = re.sub(r"^config: .+$", "config: config.py", text, flags=re.MULTILINE)
    text = re.sub(r"^space: .+$", "space: space.yaml", text, flags=re.MULTILINE)
    return {"space.yaml": (job.parent / space[1]).read_text(), "config.py": config, "job.yaml": text}


def shipped() -> Path:
    """Returns the folder of configs/ and search_spaces/: in the installed package, or the checkout's."""
    package = Path(tuner.__file__).parent
    inside = package / "shipped"
    return inside if inside.is_dir() else package.parent
