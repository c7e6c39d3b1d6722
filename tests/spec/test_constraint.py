import pytest

from tuner.spec.constraint import Constraint

PARAMS = {"a": 4, "b": 9, "lr": 1e-3}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("a <= b", True),
        ("b < a", False),
        ("a < b < 9", False),
        ("lr * 100 + a / 4 == 1.1", True),
        ("not (a > b or lr >= 1) and -a != 4", True),
        ("a - b - 1 == -6", True),
        ("a / (b - 9) > 0", False),
        ("a < elsewhere", True),
    ],
)
def test_a_constraint_is_plain_arithmetic(text: str, holds: bool) -> None:
    assert Constraint(text).holds(PARAMS) is holds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a ** b < 1", r"at character 1: got a \*\* b; there are only parameters, numbers"),
        ("1 < __import__('os').getpid()", r"at character 5: must be a number, got __import__"),
        ("a.real < 1", r"must be a number, got a\.real"),
        ("a", r"at character 1: must be a comparison, got a"),
        ("a in b", r"at character 1: got a in b"),
        ("a < b and a + b", r"at character 11: must be a comparison, got a \+ b"),
        ("a < True", r"at character 5: must be a number, got True"),
        ("a <", r"at character 1: invalid syntax"),
        ("1e999999 < a" + "0" * 400, r"must have at most 300 characters, got 412"),
        ("1e999 < a", r"at character 1: a number must be finite"),
        ("a\x00", r"cannot be read|source code"),
        ("(" * 250 + "a", r"too many nested|too complex|cannot be read"),
    ],
)
def test_anything_else_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Constraint(text)
