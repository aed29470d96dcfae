"""Equations in t from text that nobody vouches for, parsed without running any of it.

Only an allowlist of Python's syntax tree is accepted: numbers, `t`, `pi`, + - * / **, signs, and the
functions below with one argument. Every other text is refused with a reason.
"""

import ast
import dataclasses
import math
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAX_CHARACTERS = 300
MAX_NODES = 200
MAX_DEPTH = 20
MAX_EXPONENT = 8.0

FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "abs": np.abs,
}
OPERATORS: dict[type[ast.operator], Callable[[Array, Array], Array]] = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide, ast.Pow: np.power,
}
SIGNS: dict[type[ast.unaryop], Callable[[Array], Array]] = {ast.USub: np.negative, ast.UAdd: np.positive}


class EquationError(ValueError):
    """The text is no equation of this grammar; the message says why."""


@dataclasses.dataclass(frozen=True)
class Expression:
    """A checked expression in t."""

    text: str
    tree: ast.expr

    def evaluate(self, t: Array) -> Array:
        """Values at t, of t's shape; not finite where the expression is undefined or overflows."""
        t = np.asarray(t, np.float64)
        with np.errstate(all="ignore"):
            return np.array(np.broadcast_to(_value(self.tree, t), t.shape), np.float64)


def parse(text: object) -> Expression:
    """The expression that `text` stands for.

    Raises EquationError for anything outside the grammar, over 300 characters, 200 nodes or 20 levels,
    and for exponents that depend on t or exceed 8 in size.
    """
    if not isinstance(text, str):
        raise EquationError(f"expected text, found {type(text).__name__}")
    if len(text) > MAX_CHARACTERS:
        raise EquationError(f"{len(text)} characters; at most {MAX_CHARACTERS}")
    if not text.isascii() or not text.isprintable() or "#" in text:
        raise EquationError("only printable ASCII on one line, without comments")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's advice on odd literals is not for the caller
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise EquationError("not an expression") from None
    _check_size(tree)
    _check(tree)
    return Expression(text, tree)


def _check_size(tree: ast.expr) -> None:
    """Breadth first, so that the check itself cannot recurse too deep."""
    level: list[ast.expr] = [tree]
    nodes = depth = 0
    while level:
        nodes, depth = nodes + len(level), depth + 1
        if nodes > MAX_NODES:
            raise EquationError(f"more than {MAX_NODES} terms and operations")
        if depth > MAX_DEPTH:
            raise EquationError(f"nested more than {MAX_DEPTH} levels deep")
        level = [child for node in level for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]


def _check(node: ast.expr) -> None:
    match node:
        case ast.Constant(value=value):
            _check_number(value)
        case ast.Name(id=name):
            if name not in ("t", "pi"):
                raise EquationError(f"unknown name '{name}'; known are t and pi")
        case ast.UnaryOp(op=sign, operand=operand):
            if type(sign) not in SIGNS:
                raise EquationError(f"operator {type(sign).__name__} is not allowed")
            _check(operand)
        case ast.BinOp(left=left, op=operator, right=right):
            if type(operator) not in OPERATORS:
                hint = "; powers are written **" if isinstance(operator, ast.BitXor) else ""
                raise EquationError(f"operator {type(operator).__name__} is not allowed{hint}")
            _check(left)
            _check(right)
            if isinstance(operator, ast.Pow):
                _check_exponent(right)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            _check(argument)
        case ast.Call():
            raise EquationError(f"only {', '.join(FUNCTIONS)} of one argument may be called")
        case _:
            raise EquationError(f"{type(node).__name__} is not allowed")


def _check_number(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise EquationError(f"{type(value).__name__} is not a real number")
    try:
        finite = math.isfinite(float(value))
    except OverflowError:
        finite = False
    if not finite:
        raise EquationError("a number is too large")


def _check_exponent(exponent: ast.expr) -> None:
    if any(isinstance(node, ast.Name) and node.id == "t" for node in ast.walk(exponent)):
        raise EquationError("an exponent must not depend on t")
    with np.errstate(all="ignore"):
        size = abs(float(_value(exponent, np.zeros(()))))
    if not size <= MAX_EXPONENT:  # also true of NaN
        raise EquationError(f"an exponent must be at most {MAX_EXPONENT:g} in size")


def _value(node: ast.expr, t: Array) -> Array:
    match node:
        case ast.Constant(value=value):
            return np.asarray(float(value))  # type: ignore[arg-type]
        case ast.Name(id="t"):
            return t
        case ast.Name(id="pi"):
            return np.asarray(np.pi)
        case ast.UnaryOp(op=sign, operand=operand):
            return SIGNS[type(sign)](_value(operand, t))
        case ast.BinOp(left=left, op=operator, right=right):
            return OPERATORS[type(operator)](_value(left, t), _value(right, t))
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return FUNCTIONS[name](_value(argument, t))
    raise EquationError(f"{type(node).__name__} is not allowed")  # unreachable after `parse`
