"""Constraints of a space: comparisons in plain arithmetic over parameters, parsed and never run as code."""

import ast
import operator
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeAlias

from tuner.spec.trial import Value

LARGEST = sys.float_info.max
LONGEST = 300
"""Characters of a constraint."""
ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
COMPARISON = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
ALLOWED = "there are only parameters, numbers, + - * /, comparisons, and, or, not and parentheses"

Number: TypeAlias = Callable[[Mapping[str, float]], float]
Truth: TypeAlias = Callable[[Mapping[str, float]], bool]


class Constraint:
    """Compares parameters, as in `centers_1 <= centers_2`; other text raises ValueError with the position."""

    def __init__(self, text: str) -> None:
        tree = _tree(text)
        self._holds = _truth(tree)
        named = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        self.names = {node.id: _at(node) for node in named}
        """The parameters that it compares, and where."""

    def holds(self, params: Mapping[str, Value]) -> bool:
        """Tells whether it holds: not where it cannot be computed (x / 0), always where a parameter is not drawn."""
        if not self.names.keys() <= params.keys():
            return True
        try:
            return self._holds({name: float(params[name]) for name in self.names})
        except ZeroDivisionError:
            return False


@lru_cache(maxsize=256)
def constraint(text: str) -> Constraint:
    return Constraint(text)


def _tree(text: str) -> ast.expr:
    if len(text) > LONGEST:
        raise ValueError(f"must have at most {LONGEST} characters, got {len(text)}")
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"at character {error.offset or 1}: {error.msg}") from error
    except (ValueError, MemoryError, RecursionError) as error:
        raise ValueError(f"cannot be read: {error}") from error


def _truth(node: ast.expr) -> Truth:
    match node:
        case ast.Compare(left, operators, others):
            numbers = [_number(side) for side in (left, *others)]
            return _comparison(list(_known(operators, COMPARISON, node)), numbers)
        case ast.BoolOp(ast.And(), values):
            terms = [_truth(value) for value in values]
            return lambda params: all(term(params) for term in terms)
        case ast.BoolOp(ast.Or(), values):
            terms = [_truth(value) for value in values]
            return lambda params: any(term(params) for term in terms)
        case ast.UnaryOp(ast.Not(), value):
            term = _truth(value)
            return lambda params: not term(params)
    raise ValueError(f"{_at(node)}: must be a comparison, got {ast.unparse(node)}; {ALLOWED}")


def _comparison(operators: list[Callable[[float, float], bool]], numbers: list[Number]) -> Truth:
    def holds(params: Mapping[str, float]) -> bool:
        values = pairwise(number(params) for number in numbers)
        return all(compare(*pair) for compare, pair in zip(operators, values, strict=True))

    return holds


def _number(node: ast.expr) -> Number:
    match node:
        case ast.Name(name):
            return lambda params: params[name]
        case ast.Constant(int() | float() as value) if not isinstance(value, bool):
            return _literal(node, value)
        case ast.BinOp(left, operation, right):
            (compute,) = _known([operation], ARITHMETIC, node)
            first, second = _number(left), _number(right)
            return lambda params: compute(first(params), second(params))
        case ast.UnaryOp(ast.USub(), operand):
            number = _number(operand)
            return lambda params: -number(params)
    raise ValueError(f"{_at(node)}: must be a number, got {ast.unparse(node)}; {ALLOWED}")


def _literal(node: ast.expr, value: float) -> Number:
    if not -LARGEST <= value <= LARGEST:
        raise ValueError(f"{_at(node)}: a number must be finite")
    number = float(value)
    return lambda _: number


def _known(wanted: Iterable[ast.AST], known: Mapping[Any, Any], node: ast.expr) -> Iterator[Any]:
    for each in wanted:
        if type(each) not in known:
            raise ValueError(f"{_at(node)}: got {ast.unparse(node)}; {ALLOWED}")
        yield known[type(each)]


def _at(node: ast.expr) -> str:
    return f"at character {node.col_offset + 1}"
