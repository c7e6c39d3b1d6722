"""Reads jobs and spaces from YAML; unknown keys are refused, and all problems are reported at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tuner.errors import BadInput, Problem
from tuner.files.writing import write_text
from tuner.spec.job import NAME, JobSpec
from tuner.spec.space import PARAMETER_NAME, Space
from tuner.spec.yaml_text import parse, read_text

RENAMED = {
    "corrupt_pictures": "corrupt_images",
    "picture_side": "image_side",
    "resources.picture_cache": "resources.image_cache",
    "objective.against": "objective.secondary",
    "search.from": "search.warm_start_from",
}
"""Keys of earlier versions of the tuner, with their present names."""
REMOVED = {
    ("search.sampler", "prior"): "take tpe, and list the expected point under initial_points of the space",
    ("search.scheduler", "hyperband"): "take asha",
    ("search.scheduler", "median"): "take asha",
}
"""Values of earlier versions that no recorded curves spoke for, with what to do instead."""
NO_PRIOR = "exists no more: list the point under initial_points of the space"
UNKNOWN = "unknown key: remove it, or look for a misspelling"
PATTERNS = {
    NAME: "1 to 64 of the letters A to Z and a to z, digits, dots, dashes and underscores, a letter or digit first",
    PARAMETER_NAME: "1 to 64 of the letters A to Z and a to z, digits and underscores, no digit first",
}
"""What a name may be, by its pattern."""
LONGEST = 80
"""Letters of a wrong name that are shown."""
UNIONS = ("float", "int", "choice", "bool", "str", "[key]", "[rungs]", "[auto]")


def read_job(path: Path, changes: Mapping[str, Any] | None = None, images_are_here: bool = True) -> JobSpec:
    """Reads a job; `changes` are values by dotted key (`budget.trials`) that replace those of the file.

    Raises BadInput.
    """
    content = _read_mapping(path)
    for key, value in (changes or {}).items():
        _assign(content, key, value)
    problems = _make_paths_absolute(content, path, images_are_here)
    problems += _inline_space(content, path)
    try:
        job = JobSpec.model_validate(content)
    except ValidationError as error:
        of_the_job = [e for e in error.errors() if not _belongs_to_space(e)]
        problems += [Problem(str(path), message) for e in of_the_job for message in _messages(e)]
        raise BadInput(problems) from error
    if problems:
        raise BadInput(problems)
    return job


def read_space(path: Path) -> Space:
    """Reads a space. Raises BadInput."""
    try:
        return Space.model_validate(_read_mapping(path))
    except ValidationError as error:
        messages = [message for e in error.errors() for message in _messages(e)]
        raise BadInput.of(str(path), *messages) from error


def write_job(job: JobSpec, folder: Path, config: str, config_name: str = "config.py") -> Path:
    """Returns a folder that holds a job, its space and its config, and can be sent elsewhere."""
    content = job.model_dump(mode="json", exclude={"space"})
    content |= {"config": config_name, "space": "space.yaml"}
    write_text(folder / config_name, config)
    write_text(folder / "space.yaml", yaml.safe_dump(job.space.model_dump(mode="json"), sort_keys=False))
    file = folder / "job.yaml"
    write_text(file, yaml.safe_dump(content, sort_keys=False))
    return file


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        content = parse(read_text(path))
    except OSError as error:
        raise BadInput.of(str(path), f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadInput.of(str(path), f"is no YAML: {error}") from error
    if not isinstance(content, dict):
        raise BadInput.of(str(path), f"must hold keys and values, got {type(content).__name__}")
    return content


def _assign(content: dict[str, Any], key: str, value: Any) -> None:
    """Sets the value at a dotted key. Raises BadInput where the file has no mapping on the way to it."""
    *parents, last = key.split(".")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise BadInput.of(
                "--set", f"{key}: {parent} holds a value, not keys, so that nothing can be set in it"
            )
    content[last] = value


def _make_paths_absolute(content: dict[str, Any], path: Path, images_are_here: bool) -> list[Problem]:
    """Makes paths absolute: `config` is relative to the job's folder, `data_root` to the current one."""
    keys = ("config", "data_root", "space", "pretrained")
    no_paths = [key for key in keys if not _can_be_path(content.get(key))]
    if no_paths:
        return [Problem(str(path), f"{key}: {content[key]!r} cannot be a path") for key in no_paths]
    problems = []
    if isinstance(config := content.get("config"), str):
        file = (path.parent / config).resolve()
        content["config"] = str(file)
        if not file.is_file():
            problems.append(Problem(str(path), f"config: there is no file {file}"))
    if isinstance(weights := content.get("pretrained"), str) and weights != "none" and "://" not in weights:
        content["pretrained"] = str(Path(weights).resolve())
        if images_are_here and not Path(content["pretrained"]).is_file():
            message = (
                f"pretrained: there is no file {content['pretrained']}; --pretrained names another, or none"
            )
            problems.append(Problem(str(path), message))
    if isinstance(data_root := content.get("data_root"), str):
        folder = Path(data_root).resolve()
        content["data_root"] = str(folder)
        if images_are_here and not folder.is_dir():
            problems.append(
                Problem(str(path), f"data_root: there is no folder {folder}; --data-root names another")
            )
    return problems


def _can_be_path(value: object) -> bool:
    """Tells whether text can be a path; the system refuses long text and null characters."""
    try:
        if isinstance(value, str):
            Path(value).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return True


def _inline_space(content: dict[str, Any], path: Path) -> tuple[Problem, ...]:
    name = content.get("space")
    if not _can_be_path(name):
        return ()
    if not isinstance(name, str):
        return () if name is None else (Problem(str(path), "space: must be the path of a space's file"),)
    try:
        content["space"] = read_space((path.parent / name).resolve())
    except BadInput as error:
        return error.problems
    return ()


def _belongs_to_space(error: ErrorDetails) -> bool:
    return error["loc"][:1] == ("space",) and error["type"] != "missing"


def _messages(error: ErrorDetails) -> list[str]:
    """Returns the messages of an error, usually one; a check of a whole value gives one line a problem."""
    where = ".".join(str(part) for part in error["loc"] if part not in UNIONS)
    match error["type"]:
        case "literal_error" if isinstance(value := error["input"], str) and (where, value) in REMOVED:
            what = f"{value} exists no more: {REMOVED[where, value]}"
        case "extra_forbidden" if where.startswith("parameters.") and where.endswith(".prior"):
            what = NO_PRIOR
        case "extra_forbidden":
            what = f"is now called {RENAMED[where]}" if where in RENAMED else UNKNOWN
        case "missing":
            what = "is missing"
        case "string_pattern_mismatch":
            what = f"must be {PATTERNS[error['ctx']['pattern']]}, got {str(error['input'])[:LONGEST]!r}"
        case _:
            what = error["msg"].removeprefix("Value error, ")
            what += "" if error["type"] == "value_error" else f", got {error['input']!r}"
    return [f"{where}: {line}" if where else line for line in what.splitlines()]
