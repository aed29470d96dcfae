"""Simpler texts that say the same, in a process that cannot take longer, take more, or see a key."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kinetoken.equations.grammar import EquationError, parse
from kinetoken.equations.offline import equation_texts
from kinetoken.equations.simplification import MEMORY, Simplifier, _environment
from kinetoken.physics.laws import CLASSES
from tests.support.fault_stage import ended, until
from tests.support.law_tracks import draw

T = np.linspace(0.05, 0.95, 19)


@pytest.fixture(scope="module")
def simplifier() -> Iterator[Simplifier]:
    with Simplifier(timeout_s=20) as one:
        yield one


@pytest.mark.parametrize(("text", "simple"), [
    ("t + t", "2*t"), ("2*t/2", "t"), ("sin(t)**2 + cos(t)**2", "1"), ("(t + 1)**2 - t**2 - 2*t", "1"), ("0*t", "0"),
    ("exp(log(2*t + 1))", "2*t + 1"), ("sqrt(t**2)", "Abs(t)"),
])
def test_identities_collapse(simplifier: Simplifier, text: str, simple: str) -> None:
    found = simplifier.simplify(text)
    assert found is not None and found.text == simple
    own = simplifier.simplify(simple.replace("Abs", "abs"))
    assert own is not None and found.complexity == own.complexity


@pytest.mark.parametrize("text", [
    "0.11221 + 0.42596*t", "0.04012 + 0.3084*cos(4.8138*t + 0.97486)", "1.2 + 1.8*t - 2.66*t**2 + 0*t**3",
    "0.05 - 0.1*t + 0.24*cos(6.7*t + 0.46) + 0*sin(t)", "(1 + t)*(2 - t)/pi", "sqrt(t + 1)**3 - abs(t - 2)",
])
def test_the_simpler_text_says_the_same(simplifier: Simplifier, text: str) -> None:
    found = simplifier.simplify(text)
    assert found is not None and found.complexity > 0
    again = parse(found.text.replace("Abs", "abs"))
    np.testing.assert_allclose(again.evaluate(T), parse(text).evaluate(T), rtol=1e-4)


def test_more_to_say_is_more_complex(simplifier: Simplifier) -> None:
    sizes = [simplifier.simplify(text) for text in ("1", "t", "2*t", "2*t + 1", "2*t + 1 + sin(3*t)")]
    counts = [size.complexity for size in sizes if size is not None]
    assert counts[0] == counts[1] == 1 and counts[1:] == sorted(set(counts))


def test_no_equation_never_reaches_the_process() -> None:
    with Simplifier() as idle, pytest.raises(EquationError):
        idle.simplify("__import__('os')")


def test_a_time_out_is_kept_and_the_next_question_answered() -> None:
    """Expanding a tower of powers and roots takes sympy minutes."""
    hard = "((((t + 1.1)**8 + sin(t)**7)**8 + cos(t)**7)**8 + exp(t)**5)**8 - sqrt((tan(t)**8 + t**7)**8 + abs(t)**7)"
    with Simplifier(timeout_s=20) as one:
        assert one.simplify("t + t") is not None
        one.timeout_s = 0.3
        begun = time.monotonic()
        assert one.simplify(hard) is None
        assert time.monotonic() - begun < 3
        one.timeout_s = 20
        again = one.simplify("t + t")
        assert again is not None and again.text == "2*t"


def test_the_process_sees_no_key_and_this_one_no_sympy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://x")
    assert not [name for name in _environment() if name.startswith("OPENAI")]
    program = "import sys; from kinetoken.equations import simplification; print('sympy' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def test_a_process_that_died_is_begun_again() -> None:
    with Simplifier(timeout_s=20) as one:
        one.simplify("t")
        assert one._process is not None
        one._process.kill()
        one._process.wait()
        assert one.simplify("t + t") is not None


@pytest.mark.parametrize("law", CLASSES)
def test_what_the_fit_writes_says_the_same_when_simpler(simplifier: Simplifier, law: str) -> None:
    for clip in range(2):
        parameters = {name: value[clip] for name, value in draw(law, 2, 6).items()}
        for text in equation_texts(law, parameters).values():
            found = simplifier.simplify(text)
            assert found is not None
            np.testing.assert_allclose(parse(found.text).evaluate(T), parse(text).evaluate(T), rtol=1e-4, atol=1e-5)


def test_the_running_process_has_no_key_and_a_memory_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel tells it of the process itself."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("KINETOKEN_OTHER", "passed on")
    with Simplifier(timeout_s=20) as one:
        assert one.simplify("t") is not None and one._process is not None
        folder = Path("/proc") / str(one._process.pid)
        environment, limits = (folder / "environ").read_bytes(), (folder / "limits").read_text()
    assert b"sk-secret" not in environment and b"OPENAI" not in environment and b"passed on" in environment
    limit = next(line for line in limits.splitlines() if line.startswith("Max address space"))
    assert limit.split()[3:5] == [str(MEMORY)] * 2


def test_more_memory_than_allowed_ends_the_process() -> None:
    """The same process, asked to take a megabyte, then more than its limit."""
    program = """
import kinetoken.equations.simplification as child
child._simplified = lambda text: {"text": str(len(bytearray(int(text))))}
child.main()
"""
    told = subprocess.run(
        [sys.executable, "-c", program], input=f'"{2**20}"\n"{MEMORY}"\n"1"\n', capture_output=True, text=True
    )
    assert told.stdout.splitlines() == ["ready", '{"text": "1048576"}']
    assert told.returncode != 0 and "MemoryError" in told.stderr


def test_a_number_too_long_to_write_is_kept_and_the_next_question_answered(simplifier: Simplifier) -> None:
    """The exact power has two million digits."""
    assert simplifier.simplify("((((((9**8)**8)**8)**8)**8)**8)**8") is None
    again = simplifier.simplify("t + t")
    assert again is not None and again.text == "2*t"


def test_the_process_ends_with_its_context() -> None:
    with Simplifier(timeout_s=20) as one:
        one.simplify("t")
        process = one._process
        assert process is not None and process.poll() is None
    assert process.poll() is not None and one._process is None


def test_it_ends_with_the_process_that_asks() -> None:
    """In the middle of an equation, too: it reads its input only between two of them."""
    program = (
        "from kinetoken.equations.simplification import Simplifier\n"
        "one = Simplifier(timeout_s=60); one._start(); print(one._process.pid, flush=True)\n"
        "one._process.stdin.write(b'\"' + b'*'.join([b'(sin(t) + cos(2*t) + t)'] * 40) + b'\"\\n')\n"
        "one._process.stdin.flush(); one._line(60)\n"
    )
    asking = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=_environment())
    assert asking.stdout is not None
    process = int(asking.stdout.readline())
    assert not ended(process)
    asking.kill()
    asking.wait()
    assert until(lambda: ended(process), 5)
