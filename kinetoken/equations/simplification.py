"""Simpler spellings of equations by sympy, in a process of its own that is ended when it takes too long.

    with Simplifier() as simplifier:
        simplifier.simplify("2*t/2 + sin(t)**2 + cos(t)**2")  # Simplified("t + 1", 3)

The process gets text, checks it with the grammar itself, and builds the sympy expression node by node: sympy's own
parsers run code. `python -m kinetoken.equations.simplification` is that process.
"""

import ast
import dataclasses
import json
import os
import resource
import select
import subprocess
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from kinetoken.core.workers import end_with_parent
from kinetoken.equations.grammar import EquationError, parse

if TYPE_CHECKING:
    import sympy

TIMEOUT_S = 5.0
START_S = 60.0  # for the process to import sympy
MEMORY = 2 * 1024**3  # bytes of address space that the process may take
MAX_LINE = 100_000  # characters of what it may say
EXACT = 1000  # whole numbers up to here stay whole
DIGITS = 6  # to which other constants are written


@dataclasses.dataclass(frozen=True)
class Simplified:
    """The simpler text and its size: operations, numbers and names."""

    text: str
    complexity: int


class Simplifier:
    """A process that simplifies one equation at a time; a context manager."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self.timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def simplify(self, text: str) -> Simplified | None:
        """None if it took longer than the time-out or more memory than allowed. EquationError for no equation."""
        parse(text)
        if self._process is None or self._process.poll() is not None:
            self._start()
        process = self._process
        assert process is not None and process.stdin is not None
        try:
            process.stdin.write(json.dumps(text).encode() + b"\n")
            process.stdin.flush()
            said = json.loads(self._line(self.timeout_s) or "null")
        except (OSError, ValueError):
            said = None
        if not isinstance(said, dict):
            self._end()
            return None
        return Simplified(str(said["text"]), int(said["complexity"])) if said.get("text") else None

    def _start(self) -> None:
        self._end()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kinetoken.equations.simplification"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment(),
        )
        if self._line(START_S) is None:
            self._end()
            raise RuntimeError("the process for sympy did not start")

    def _line(self, seconds: float) -> str | None:
        """One line that the process says within the time."""
        assert self._process is not None and self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        return self._process.stdout.readline(MAX_LINE).decode() or None if ready else None

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass
        self._process = None


def _environment() -> dict[str, str]:
    """This process's own, without keys and with its module path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}


def to_sympy(node: ast.expr) -> "sympy.Expr":
    """A checked tree of the grammar as a sympy expression in the real symbol t."""
    import sympy

    match node:
        case ast.Constant(value=value):
            number = float(value)  # type: ignore[arg-type]
            whole = number.is_integer() and abs(number) <= EXACT
            return sympy.Integer(int(number)) if whole else sympy.Float(number)
        case ast.Name(id=name):
            return sympy.Symbol("t", real=True) if name == "t" else sympy.pi
        case ast.UnaryOp(op=sign, operand=operand):
            return -to_sympy(operand) if isinstance(sign, ast.USub) else to_sympy(operand)
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            function: Any = sympy.Abs if name == "abs" else getattr(sympy, name)
            return function(to_sympy(argument))
        case ast.BinOp(left=left, op=operator, right=right):
            a, b = to_sympy(left), to_sympy(right)
            match operator:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.Div():
                    return a / b
            return a**b
    raise EquationError(f"{type(node).__name__} is not allowed")  # unreachable after `parse`


def _simplified(text: str) -> dict[str, Any]:
    import sympy

    try:
        simple = sympy.simplify(to_sympy(parse(text).tree))
        size = int(sympy.count_ops(simple)) + sum(1 for part in sympy.preorder_traversal(simple) if part.is_Atom)
        short = simple.xreplace({number: sympy.Float(number, DIGITS) for number in simple.atoms(sympy.Float)})
        return {"text": sympy.sstr(short, full_prec=False)[: MAX_LINE // 2], "complexity": size}
    except (ArithmeticError, ValueError, TypeError, RecursionError, MemoryError, AttributeError):
        return {"text": None}


def main() -> int:
    end_with_parent()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    import sympy  # noqa: F401 - before the first question, which is timed

    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(_simplified(json.loads(line))), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
