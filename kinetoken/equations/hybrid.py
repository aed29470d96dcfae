"""Provider "hybrid": the form is the language model's, the constants are fitted to the points that it was shown.

Every number in the three equations is a free constant, but for those in exponents, which are part of the form (after
Merler et al., "In-Context Symbolic Regression", 2024, arXiv:2404.19094). A number that is written twice may stand for
one constant (the same radius, the same angular velocity) or be a coincidence: all are fitted, and the Bayesian
information criterion (Schwarz 1978, Annals of Statistics 6:461) chooses.
"""

import ast
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from kinetoken.equations.grammar import FUNCTIONS, OPERATORS, SIGNS, EquationError, Expression, parse
from kinetoken.physics.laws import Array
from kinetoken.physics.least_squares import Problem, minimise

STARTS = 24  # in each fit: the model's own constants and others around them
SPREAD = 0.4  # of the other starts: relative for factors, with a full turn for what is inside sin, cos and tan
SMALLEST = 0.1  # what a constant of 0 is varied by
DIGITS = 7  # of the fitted constants, as written
PERIODIC = ("sin", "cos", "tan")
AMPLITUDE, RATE, PHASE, OFFSET = "amplitude", "rate", "phase", "offset"  # offset: whatever has to do with none of them
SHARED = ((AMPLITUDE, RATE, PHASE), (RATE, PHASE), (RATE,), ())  # roles in which equal numbers are one constant
SEED = 20240429


@dataclasses.dataclass(frozen=True)
class Refit:
    """Equations with fitted constants; `fitted` is False where the model's own were kept (none, or none better)."""

    equations: dict[str, str]
    fitted: bool
    constants: int  # free ones


@dataclasses.dataclass(frozen=True)
class _Place:
    """A number in the text: where, its value, and what it does there."""

    node: ast.Constant
    value: float
    role: str


def refit(equations: dict[str, str], times: Array, points: Array, whitening: Array) -> Refit:
    """Fit the constants of x(t), y(t) and z(t) to points (K, 3) in metres at times (K,) in seconds.

    `whitening` (K, 3, 3) says how far to trust each point, as in `law_fit`. Deterministic; at most 60 iterations from
    each start. Raises EquationError for text that is no equation, ValueError for points that are not finite.
    """
    if not np.isfinite(points).all():
        raise ValueError("points are not all finite")
    written = [parse(equations[axis]) for axis in "xyz"]
    places = [place for expression in written for place in _places(expression.tree)]
    kept = Refit(dict(equations), False, 0)
    if not places:
        return kept
    problem = Problem(np.asarray(times, float), points[None], whitening[None], {}, 0.0)
    with np.errstate(all="ignore"):  # what overflows or is undefined is no candidate
        return _best(kept, written, places, problem)


def _best(kept: Refit, written: Sequence[Expression], places: Sequence[_Place], problem: Problem) -> Refit:
    """The grouping of constants with the least criterion, or the model's own constants if none is below theirs."""
    best, score = kept, _score(problem, WrittenForm(written, places, np.arange(len(places))), None)
    for groups in _groupings(places):
        form = WrittenForm(written, places, groups)
        theta = _fit(form, problem)
        if theta is None:
            continue
        theta = np.array([float(f"{value:.{DIGITS}g}") for value in theta])  # as written
        if not (reached := _score(problem, form, theta)) < score:
            continue
        texts = form.texts(theta)
        if texts is not None:
            best, score = Refit(texts, True, form.size), reached
    return best


class WrittenForm:
    """The three expressions as a curve of their constants: a `least_squares.Form`.

    `groups` (places,) is the number of the constant that stands at each place.
    """

    def __init__(self, written: Sequence[Expression], places: Sequence[_Place], groups: NDArray[np.intp]) -> None:
        self.written, self.places, self.groups = written, places, groups
        self.size = self.free = int(groups.max()) + 1
        self._constant = {id(place.node): int(group) for place, group in zip(places, groups, strict=True)}

    @property
    def own(self) -> Array:
        """The constants as written (size,)."""
        theta = np.zeros(self.size)
        theta[self.groups] = [place.value for place in self.places]
        return theta

    def starts(self, problem: Problem) -> Array:
        """(S, N, size): the constants as written, then others around them, the same in every run."""
        draw = np.random.default_rng(SEED)
        periodic = np.zeros(self.size, bool)
        periodic[self.groups] = [place.role in (RATE, PHASE) for place in self.places]
        step = draw.standard_normal((STARTS, self.size))
        theta = self.own * (1 + SPREAD * step) + np.where(self.own == 0, SMALLEST * step, 0.0)
        turn = draw.uniform(-np.pi, np.pi, theta.shape) * (draw.random(theta.shape) < 0.5)
        theta = theta + np.where(periodic & (np.abs(self.own) <= 2 * np.pi), turn, 0.0)
        theta[0] = self.own
        return np.repeat(theta[:, None], len(problem.points), 1)

    def curve(self, theta: Array, t: Array) -> Array:
        """(N, T, 3)."""
        return np.stack([self._evaluate(each.tree, theta, t)[0] for each in self.written], -1)

    def jacobian(self, theta: Array, t: Array) -> Array:
        """(N, T, 3, size); 0 where it is not finite."""
        slopes = np.stack([self._evaluate(each.tree, theta, t)[1] for each in self.written], 2)
        return np.nan_to_num(slopes, nan=0.0, posinf=0.0, neginf=0.0)

    def quantities(self, theta: Array, t: Array) -> dict[str, Array]:
        return {}

    def natural(self, theta: Array) -> dict[str, Array]:
        return {}

    def texts(self, theta: Array) -> dict[str, str] | None:
        """The equations with these constants (size,); None if they no longer fit the grammar's limits."""
        values = {key: float(f"{theta[group]:.{DIGITS}g}") for key, group in self._constant.items()}
        texts = {
            axis: ast.unparse(_with_constants(each.tree, values)).replace("+ -", "- ").replace("- -", "+ ")
            for axis, each in zip("xyz", self.written, strict=True)
        }
        try:
            for text in texts.values():
                parse(text)
        except EquationError:
            return None
        return texts

    def _evaluate(self, node: ast.expr, theta: Array, t: Array) -> tuple[Array, Array]:
        """Value (N, T) and slope by each constant (N, T, size), by forward differentiation."""
        with np.errstate(all="ignore"):
            return self._forward(node, theta, t)

    def _forward(self, node: ast.expr, theta: Array, t: Array) -> tuple[Array, Array]:
        shape = (len(theta), len(t))
        match node:
            case ast.Constant(value=number):
                group = self._constant.get(id(node))
                slope = np.zeros((*shape, self.size))
                if group is None:
                    return np.full(shape, float(number)), slope  # type: ignore[arg-type]
                slope[..., group] = 1.0
                return np.repeat(theta[:, group, None], len(t), 1), slope
            case ast.Name(id=name):
                return np.broadcast_to(t if name == "t" else np.pi, shape), np.zeros((*shape, self.size))
            case ast.UnaryOp(op=sign, operand=operand):
                value, slope = self._forward(operand, theta, t)
                return SIGNS[type(sign)](value), SIGNS[type(sign)](slope)
            case ast.Call(func=ast.Name(id=name), args=[argument]):
                value, slope = self._forward(argument, theta, t)
                return FUNCTIONS[name](value), SLOPES[name](value)[..., None] * slope
            case ast.BinOp(left=left, op=operator, right=right):
                return self._binary(operator, self._forward(left, theta, t), self._forward(right, theta, t))
        raise EquationError(f"{type(node).__name__} is not allowed")  # unreachable after `parse`

    @staticmethod
    def _binary(operator: ast.operator, left: tuple[Array, Array], right: tuple[Array, Array]) -> tuple[Array, Array]:
        (a, da), (b, db) = left, right
        value = OPERATORS[type(operator)](a, b)
        match operator:
            case ast.Add():
                return value, da + db
            case ast.Sub():
                return value, da - db
            case ast.Mult():
                return value, a[..., None] * db + b[..., None] * da
            case ast.Div():
                return value, (da - value[..., None] * db) / b[..., None]
        return value, (b * np.power(a, b - 1))[..., None] * da  # a power; its exponent has no free constant


SLOPES: dict[str, Callable[[Array], Array]] = {
    "sin": np.cos, "cos": lambda v: -np.sin(v), "tan": lambda v: 1 / np.cos(v) ** 2, "exp": np.exp,
    "log": lambda v: 1 / v, "sqrt": lambda v: 0.5 / np.sqrt(v), "abs": np.sign,
}


def _places(node: ast.expr, role: str = OFFSET) -> list[_Place]:
    """The free numbers in reading order: all but those in exponents."""
    match node:
        case ast.Constant(value=value):
            return [_Place(node, float(value), role)]  # type: ignore[arg-type]
        case ast.UnaryOp(operand=operand):
            return _places(operand, role)
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return _places(argument, PHASE if name in PERIODIC else role)
        case ast.BinOp(left=left, op=ast.Pow()):
            return _places(left, role)
        case ast.BinOp(left=left, op=ast.Mult() | ast.Div(), right=right):
            return _places(left, _factor_role(role, right)) + _places(right, _factor_role(role, left))
        case ast.BinOp(left=left, right=right):
            return _places(left, role) + _places(right, role)
    return []


def _factor_role(role: str, other: ast.expr) -> str:
    """The role of a factor beside `other`."""
    inside = list(ast.walk(other))
    if role == PHASE and any(isinstance(node, ast.Name) and node.id == "t" for node in inside):
        return RATE
    called = {node.func.id for node in inside if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return AMPLITUDE if role == OFFSET and called & set(PERIODIC) else role


def _groupings(places: Sequence[_Place]) -> list[NDArray[np.intp]]:
    """Which places share a constant: those of equal number and role, for ever fewer roles; at last none."""
    found: dict[tuple[int, ...], None] = {}
    for shared in SHARED:
        names = [(place.role, place.value) if place.role in shared else k for k, place in enumerate(places)]
        order = {name: k for k, name in enumerate(dict.fromkeys(names))}
        found.setdefault(tuple(order[name] for name in names))
    return [np.array(groups) for groups in found]


def _fit(form: WrittenForm, problem: Problem) -> Array | None:
    """The best constants (size,) over all starts; None if no start can be evaluated."""
    theta = form.starts(problem)[:, 0]  # (S, size)
    usable = np.isfinite(problem.errors(form.curve(theta, problem.t))).all(1)
    theta = theta[usable]
    if not len(theta):
        return None
    with np.errstate(all="ignore"):
        try:
            found, cost = minimise(form, problem.take(np.zeros(len(theta), np.intp)), theta)
        except np.linalg.LinAlgError:
            return None
    cost = np.where(np.isfinite(cost) & np.isfinite(found).all(1), cost, np.inf)
    best = int(cost.argmin())
    return found[best] if np.isfinite(cost[best]) else None


def _score(problem: Problem, form: WrittenForm, theta: Array | None) -> float:
    """BIC of the constants; of those as written if None, which cost no freedom."""
    errors = problem.errors(form.curve((form.own if theta is None else theta)[None], problem.t))[0]
    with np.errstate(all="ignore"):
        misfit = float(np.square(errors).sum())
    if not np.isfinite(misfit):
        return np.inf
    return misfit + (0 if theta is None else form.size * float(np.log(errors.size)))


def _with_constants(node: ast.expr, values: dict[int, float]) -> ast.expr:
    """A copy of the tree with the numbers at these places replaced; a negative one gets a sign of its own."""
    match node:
        case ast.Constant() if id(node) in values:
            value = values[id(node)]
            return ast.Constant(value) if value >= 0 else ast.UnaryOp(ast.USub(), ast.Constant(-value))
        case ast.UnaryOp(op=sign, operand=operand):
            return ast.UnaryOp(sign, _with_constants(operand, values))
        case ast.Call(func=function, args=[argument]):
            return ast.Call(function, [_with_constants(argument, values)], [])
        case ast.BinOp(left=left, op=operator, right=right):
            return ast.BinOp(_with_constants(left, values), operator, _with_constants(right, values))
    return node
