"""Job files that nobody means well with: each is drawn from its number, so that a failure can be had again."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import yaml

from tests.conftest import JOB, ROOT

LETTERS = "abcXYZ019 .-_:/\\~$%&'\"`{}[]()<>|;#*!?@=+,\t\n\r\x00\x1b\x7f\x85\u2028\u202e\ufeff\ud7ffäß語🙂"
ESCAPING = (
    "../../../../../../etc/passwd",
    "/etc/shadow",
    "/dev/zero",
    "/dev/stdin",
    "/proc/self/mem",
    "/proc/self/fd/0",
    "~root/.ssh/id_rsa",
    "file:///etc/passwd",
    "..",
    ".",
    "",
    "/",
    "//",
    "a/../../b",
    "a\x00b",
    "/" * 5000,
    "x" * 300,
    "../" * 2000,
    "$(touch /tmp/pwned)",
    "`id`",
    "space.yaml/",
    "C:\\windows",
)
NUMBERS = (
    0,
    -1,
    1,
    2**31,
    2**53 + 1,
    2**63 - 1,
    2**63,
    -(2**63),
    10**30,
    10**400,
    1e308,
    -1e308,
    5e-324,
    1e-300,
    float("inf"),
    float("nan"),
)
KEYS = (
    *JOB,
    "pretrained",
    "image_side",
    "corrupt_images",
    "seed",
    "objective.metric",
    "objective.direction",
    "objective.secondary",
    "budget.trials",
    "budget.seeds",
    "budget.hours",
    "budget.patience",
    "budget.retries",
    "fidelity.iterations",
    "fidelity.rungs",
    "fidelity.sweep_centers",
    "fidelity.schedule",
    "resources.ranks",
    "resources.gpus_per_trial",
    "resources.global_batch",
    "resources.labels",
    "resources.image_cache",
    "resources.gpu_memory",
    "resources.lr_rule",
    "search.sampler",
    "search.warm_start_from",
    "predictions.images",
    "unknown",
    "budget.unknown",
    "name.x",
)
SPACE_KEYS = (
    "parameters",
    "constraints",
    "initial_points",
    "parameters.lr",
    "parameters.lr.type",
    "parameters.lr.low",
    "parameters.lr.high",
    "parameters.lr.log",
    "parameters.lr.step",
    "parameters.lr.sets",
    "parameters.lr.only_when",
    "parameters.centers.choices",
    "parameters.centers.sets",
    "unknown",
)
RAW = (
    "",
    "\ufeff",
    "---\n---\n",
    "%YAML 9.9\n---\na: 1\n",
    "!!python/object/apply:os.system [id]",
    "!!python/name:os.system",
    "!!int ''",
    "!!bool maybe",
    "!!timestamp soon",
    "!!float ''",
    "!!binary '*'",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!!pairs [a: 1]",
    "2020-99-99",
    "? [a, b]\n: 1",
    "? {a: 1}\n: 1",
    "&a [*a]",
    "&a {b: *a}",
    "<<: 1",
    "<<: [1, 2]",
    "&a {<<: *a}",
    "=: 1",
    "null: 1\ntrue: 2\n3: 4\n2020-01-01: 5",
    "*nothing",
    "a: b: c",
    "\t- a",
    "'" * 999,
    "- " * 999,
    "? " * 999,
    "!" * 999,
    "&" * 999,
    "|" * 999,
)


def hostile(number: int, folder: Path) -> Path:
    """The job file of this number, with a space beside it."""
    random = Random(number)
    job, space = dict(JOB), yaml.safe_load((ROOT / "tests/space.yaml").read_text())
    job["space"] = "space.yaml"
    texts = {"job.yaml": _dump(job), "space.yaml": _dump(space)}
    victim = random.choice(sorted(texts))
    make = random.choice((_changed, _changed, _changed, _raw, _bomb, _nested, _huge, _binary))
    content = job if victim == "job.yaml" else space
    made = make(random, content, KEYS if victim == "job.yaml" else SPACE_KEYS)
    for name, text in (texts | {victim: made}).items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / "job.yaml"


def _changed(random: Random, content: dict[str, Any], keys: tuple[str, ...]) -> str:
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        _set(content, random.choice(keys), _value(random))
    return _dump(content)


def _raw(random: Random, content: dict[str, Any], keys: tuple[str, ...]) -> str:
    text = random.choice(RAW)
    return random.choice((text, f"{_dump(content)}\n{random.choice(keys)}: {text}", f"x: {text}"))


def _bomb(random: Random, content: dict[str, Any], keys: tuple[str, ...]) -> str:
    """Aliases of aliases: ten to the power of so many values, as lists, mappings or merged keys."""
    levels = random.choice((3, 9, 60))
    make: Callable[[int], str] = random.choice(
        (
            lambda level: "[" + ", ".join([f"*a{level}"] * 10) + "]",
            lambda level: "{" + ", ".join(f"k{i}: *a{level}" for i in range(10)) + "}",
            lambda level: "{<<: [" + ", ".join([f"*a{level}"] * 10) + "]}",
        )
    )
    lines = ["a0: &a0 {x: 1}", *(f"a{i + 1}: &a{i + 1} {make(i)}" for i in range(levels))]
    bomb = "\n".join(lines)
    return f"{bomb}\n{_dump(content)}\n{random.choice(keys).partition('.')[0]}: *a{levels}\n"


def _nested(random: Random, content: dict[str, Any], keys: tuple[str, ...]) -> str:
    opening = random.choice(("[", "{a: ", "- ", "? ", "[{a: [", "- a: "))
    deep = opening * random.choice((20, 200, 2000, 60_000 // len(opening)))
    return random.choice((deep, f"{_dump(content)}\n{random.choice(keys).partition('.')[0]}: {deep}"))


def _huge(random: Random, content: dict[str, Any], keys: tuple[str, ...]) -> str:
    key, size = random.choice(keys).partition(".")[0], random.choice((20_000, 60_000, 5_000_000))
    kinds = (
        lambda: f"{key}: {'x' * size}",
        lambda: f"{key}: {random.choice('123456789') * size}",
        lambda: f"{key}: 0x{'f' * size}",
        lambda: f"{key}: 1{':59' * (size // 3)}",
        lambda: f"{key}: [{'1, ' * (size // 3)}]",
        lambda: f"{key}: [{', '.join(f's{i}' for i in range(size // 8))}]",
        lambda: "".join(f"k{i}: 1\n" for i in range(size // 9)),
        lambda: (
            "parameters:\n"
            + "".join(
                f"  p{i}: {{type: float, low: 0, high: 1, sets: optimizer.p{i}}}\n" for i in range(size // 55)
            )
        ),
        lambda: (
            "parameters: {lr: {type: float, low: 0, high: 1, sets: optimizer.lr}}\nconstraints:\n"
            + "- lr < lr + 1 * (2 - lr)\n" * (size // 26)
        ),
        lambda: "#\n" * (size // 2),
        lambda: "\n" * size,
        lambda: " " * size + "a: 1",
    )
    return f"{_dump(content)}\n{random.choice(kinds)()}\n"


def _binary(random: Random, content: dict[str, Any], keys: tuple[str, ...]) -> bytes:
    if random.random() < 0.3:
        return random.randbytes(random.choice((1, 100, 100_000)))
    if random.random() < 0.2:
        return _dump(content).encode(random.choice(("utf-16", "utf-32", "latin-1")))
    text = bytearray(_dump(content).encode())
    for _ in range(random.choice((1, 3, 30))):
        text[random.randrange(len(text))] = random.randrange(256)
    return bytes(text)


def _value(random: Random, depth: int = 2) -> Any:
    kinds: list[Callable[[], Any]] = [
        lambda: random.choice(ESCAPING),
        lambda: random.choice(NUMBERS),
        lambda: "".join(random.choices(LETTERS, k=random.choice((1, 8, 70, 3000)))),
        lambda: random.choice((None, True, False, b"\x00\xff", [], {}, "none", "auto", "grid", "gp")),
        lambda: [f"s{i}" for i in range(random.choice((1, 30, 3000)))],
        lambda: list(range(random.choice((1, 30, 3000)))),
    ]
    if depth:
        kinds += [
            lambda: [_value(random, depth - 1) for _ in range(random.randrange(4))],
            lambda: {
                str(_value(random, 0))[:20]: _value(random, depth - 1) for _ in range(random.randrange(4))
            },
        ]
    return random.choice(kinds)()


def _set(content: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        inner = content.get(parent)
        content[parent] = content = dict(inner) if isinstance(inner, dict) else {}
    content[last] = value


def _dump(content: object) -> str:
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
