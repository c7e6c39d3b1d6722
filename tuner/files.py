"""YAML ↔ types. Unknown keys are refused; all problems of a job and its space are told at once."""

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tuner.errors import BadInput, Problem
from tuner.job import JobSpec
from tuner.paths import AnyPath, replacing
from tuner.space import Space

UNIONS = ("float", "int", "choice", "bool", "str", "[key]", "[rungs]", "[auto]")


def read_job(path: Path, data_root: Path | None = None, pictures_are_here: bool = True) -> JobSpec:
    """The job of a file, `data_root` in place of its own. Raises BadInput."""
    content = _read_mapping(path)
    if data_root is not None:
        content["data_root"] = str(data_root)
    problems = _make_paths_absolute(content, path, pictures_are_here)
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
    """Raises BadInput."""
    try:
        return Space.model_validate(_read_mapping(path))
    except ValidationError as error:
        messages = [message for e in error.errors() for message in _messages(e)]
        raise BadInput.of(str(path), *messages) from error


def write_job(job: JobSpec, folder: Path, config: str, config_name: str = "config.py") -> Path:
    """A folder that holds a job, its space and its config, and can be sent elsewhere."""
    content = job.model_dump(mode="json", exclude={"space"})
    content |= {"config": config_name, "space": "space.yaml"}
    write_text(folder / config_name, config)
    write_text(folder / "space.yaml", yaml.safe_dump(job.space.model_dump(mode="json"), sort_keys=False))
    file = folder / "job.yaml"
    write_text(file, yaml.safe_dump(content, sort_keys=False))
    return file


def write_json(path: AnyPath, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, default=str) + "\n")


def write_text(path: AnyPath, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text)


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise BadInput.of(str(path), f"cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput.of(str(path), f"is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise BadInput.of(str(path), f"must hold keys and values, got {type(content).__name__}")
    return content


def _make_paths_absolute(content: dict[str, Any], path: Path, pictures_are_here: bool) -> list[Problem]:
    """`config` is relative to the job's folder, `data_root` to the current one."""
    no_paths = [key for key in ("config", "data_root", "space") if not _can_be_path(content.get(key))]
    if no_paths:
        return [Problem(str(path), f"{key}: {content[key]!r} cannot be a path") for key in no_paths]
    problems = []
    if isinstance(config := content.get("config"), str):
        file = (path.parent / config).resolve()
        content["config"] = str(file)
        if not file.is_file():
            problems.append(Problem(str(path), f"config: there is no file {file}"))
    if isinstance(data_root := content.get("data_root"), str):
        folder = Path(data_root).resolve()
        content["data_root"] = str(folder)
        if pictures_are_here and not folder.is_dir():
            problems.append(
                Problem(str(path), f"data_root: there is no folder {folder}; --data-root names another")
            )
    return problems


def _can_be_path(value: object) -> bool:
    """False for text that the system refuses as a path: too long, or with a null character."""
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
    """Usually one; a check of a whole thing gives a line a problem."""
    where = ".".join(str(part) for part in error["loc"] if part not in UNIONS)
    match error["type"]:
        case "extra_forbidden":
            what = "unknown key: remove it, or look for a misspelling"
        case "missing":
            what = "is missing"
        case _:
            what = error["msg"].removeprefix("Value error, ")
            what += "" if error["type"] == "value_error" else f", got {error['input']!r}"
    return [f"{where}: {line}" if where else line for line in what.splitlines()]
