"""Whatever text a stranger writes: an equation or EquationError, nothing run, nothing imported; and a scorer that
cares for what an equation says, not how it is spelled."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from kinetoken.equations.grammar import EquationError, parse
from kinetoken.equations.offline import equation_texts
from kinetoken.equations.scoring import score_equations
from kinetoken.physics.fitting import fit_law
from kinetoken.physics.laws import CLASSES
from kinetoken.scenes.motion import Trajectories, draw_tracks
from kinetoken.scenes.tracks import Tracks

TIMES = np.arange(16) / 16
ATTACKS = (
    "__import__('os').system('touch PWNED')", "open('PWNED', 'w')", "exec('1')", "eval('1')", "().__class__",
    "lambda: t", "[t for t in (1,)]", "f'{t}'", "(x := t)", "t if t else 1", "await t", "yield t", "*t", "t.real",
    "t[0]", "t @ t", "t // 2", "t % 2", "t < 1", "not t", "~t", "True", "None", "...", "'t'", "b't'", "1j", "1e999",
    "inf", "nan", "9**9**9", "9" * 299 + "9" * 100, "t**t", "2**9", "sin(t, t)", "sin(*t)", "sin(x=t)", "sin()", "sin",
    "-" * 20_000 + "t", "(" * 150 + "t" + ")" * 150, "\0", "t\0", "t # t", "t\nt", "t;t", "\U0001d461", "t\u202e", "",
    " ", "import os", "del t", "x = t",
)
TOKENS = (
    "t", "pi", "1", "2.5", "1e308", "9", "+", "-", "*", "/", "**", "(", ")", ",", ".", " ", "sin(", "sqrt(", "abs(",
    "log(", "exp(", "x", "^", "_", "[", "]", ":", "=", "'", "lambda ", "if ", "@",
)
OTHERS = st.one_of(
    st.none(), st.integers(), st.floats(), st.binary(), st.lists(st.text()), st.dictionaries(st.text(), st.text())
)


def parsed_or_refused(text: str) -> None:
    """Refused with a reason, or a function of t that is evaluated without complaint."""
    try:
        expression = parse(text)
    except EquationError as refused:
        assert str(refused)
        return
    for t in (TIMES, np.zeros(()), np.linspace(-1e9, 1e9, 7).reshape(7, 1)):
        values = expression.evaluate(t)
        assert values.shape == t.shape and values.dtype == np.float64


@given(st.text())
def test_any_text_is_an_equation_or_refused(text: str) -> None:
    parsed_or_refused(text)


@settings(max_examples=500)
@given(st.lists(st.sampled_from(TOKENS), max_size=30).map("".join))
@example("2**-" * 60 + "t")
@example("((((" + "exp(" * 17 + "t" + ")" * 17 + "))))")
def test_any_soup_of_the_grammars_own_words_is_an_equation_or_refused(text: str) -> None:
    parsed_or_refused(text)


@given(OTHERS)
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(EquationError, match="expected text"):
        parse(value)


@pytest.mark.parametrize("text", ATTACKS)
def test_attacks_are_refused(text: str) -> None:
    with pytest.raises(EquationError):
        parse(text)


@pytest.mark.parametrize(("text", "reason"), [
    ("(" * 250 + "t", "not an expression"), ("-" * 299 + "t", "nested"), ("~" * 299 + "t", "nested"),
    ("sin(" * 59 + "t" + ")" * 59, "nested"), ("t**" * 99 + "t", "nested"), ("0x" + "f" * 298, "too large"),
    ("9**9**9", "at most 8"), ("1+" * 149 + "1", "terms|nested"), ("t**(1/0)", "at most 8"),
    ("t**log(-1)", "at most 8"),
])
def test_attacks_that_are_short_enough_for_pythons_parser(text: str, reason: str) -> None:
    """Refused for what they are, not for their length, before anything of them is worked out."""
    assert len(text) <= 300
    with pytest.raises(EquationError, match=reason):
        parse(text)


def test_nothing_is_imported_opened_or_run_by_parsing() -> None:
    """Python's audit hook sees every import, run of code, file and process; parsing makes a syntax tree only."""
    program = """
import json, sys
import kinetoken.equations.grammar as grammar
texts = json.load(sys.stdin)
seen = []
def hook(event, args):
    if event in ("import", "exec", "open") or event.startswith(("os.", "subprocess.", "socket.", "ctypes.")):
        seen.append(event)
sys.addaudithook(hook)
for text in texts:
    try:
        grammar.parse(text).evaluate(grammar.np.zeros(3))
    except grammar.EquationError:
        pass
print(json.dumps(seen))
__import__("json.tool")
print(json.dumps(seen[:1]))
"""
    texts = [text for text in (*ATTACKS, "1 + 2*t", "sin(3*t)**2") if text.isprintable()]
    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    while_parsing, after = map(json.loads, done.stdout.splitlines())
    assert while_parsing == [] and after == ["import"]  # the hook does see what happens


# ---- the scorer


@pytest.fixture(scope="module")
def one_of_each(trajectory_params: Trajectories) -> dict[str, tuple[dict[str, str], np.ndarray]]:
    """Law → equations that it is written in, and the true path."""
    tracks: Tracks = draw_tracks(trajectory_params)
    found = {}
    for law in CLASSES:
        path = tracks.points[int(np.flatnonzero(tracks.label == law)[0])]
        parameters = {name: value[0] for name, value in fit_law(law, TIMES, path[None]).parameters.items()}
        found[law] = equation_texts(law, parameters), path
    return found


REWRITES = {
    "brackets": lambda e: f"((({e})))",
    "twice the half": lambda e: f"2*({e})/2",
    "plus nothing": lambda e: f"0 + ({e}) - 0*t",
    "minus minus": lambda e: f"-(-({e}))",
    "Pythagoras": lambda e: f"({e})*(sin(t)**2 + cos(t)**2)",
    "power one": lambda e: f"({e})**1",
    "exp and log": lambda e: f"exp(log(({e}) + 50)) - 50",
    "root of the square": lambda e: f"sqrt((({e}) + 50)**2) - 50",
    "pi": lambda e: f"({e})*pi/pi",
    "spaces": lambda e: re.sub(r"(?<!\*)\*(?!\*)", " * ", e),
    "sine for cosine": lambda e: e.replace("cos(", "sin(pi/2 + "),
    "t written long": lambda e: e.replace("t", "(3*t - 2*t)").replace("co(3*t - 2*t)", "cot"),
    "square as a product": lambda e: e.replace("t**2", "t*t"),
    "cosine of the negative": lambda e: e.replace("cos(", "cos(-1*(").replace(")", "))") if "cos(" in e else e,
}


@pytest.mark.parametrize("law", CLASSES)
@pytest.mark.parametrize("rewrite", REWRITES)
def test_spelling_does_not_matter(
    one_of_each: dict[str, tuple[dict[str, str], np.ndarray]], law: str, rewrite: str
) -> None:
    equations, path = one_of_each[law]
    rough = path + [0.01, -0.02, 0.03]  # so that errors are not zero
    spelled = {axis: REWRITES[rewrite](text) for axis, text in equations.items()}
    one, other = (score_equations(each, TIMES, rough, 12, law) for each in (equations, spelled))
    assert (one.parsed, one.finite, one.form, one.equation_correct) == (
        other.parsed, other.finite, other.form, other.equation_correct
    ) and one.form == law
    assert other.nmse_in_range == pytest.approx(one.nmse_in_range, rel=1e-6)
    assert other.nmse_extrapolated == pytest.approx(one.nmse_extrapolated, rel=1e-6)


def summed(text: str) -> str:
    """The sum of terms that offline writes, last term first."""
    signs_and_terms = re.findall(r"(^-?|[+-]) ?((?:cos\([^)]*\)|[^ ()])+)", text)
    return " + ".join(f"({'-' if sign == '-' else ''}{term})" for sign, term in reversed(signs_and_terms))


def angle_split(text: str) -> str:
    """cos(a + b) as cos(a)*cos(b) - sin(a)*sin(b), and the like with a minus."""
    def split(found: re.Match[str]) -> str:
        rate, sign, shift = found.groups()
        other = "-" if sign == "+" else "+"
        return f"(cos({rate}*t)*cos({shift}) {other} sin({rate}*t)*sin({shift}))"

    return re.sub(r"cos\(([\d.]+)\*t ([+-]) ([\d.]+)\)", split, text)


CHAINED = sorted(set(REWRITES) - {"t written long", "cosine of the negative"})  # they want offline's own text
SHAPED = {"": lambda e: e, "summed the other way": summed, "angle split": angle_split}


def test_the_rewrites_do_rewrite(one_of_each: dict[str, tuple[dict[str, str], np.ndarray]]) -> None:
    spiral, line = one_of_each["helical"][0], one_of_each["linear"][0]
    assert all(angle_split(text) != text and "sin(" in angle_split(text) for text in spiral.values())
    assert all(summed(text) != text and summed(text).count("+") == 1 for text in line.values())


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(CLASSES), st.sampled_from(sorted(SHAPED)), st.lists(st.sampled_from(CHAINED), max_size=3))
def test_no_chain_of_spellings_matters(
    one_of_each: dict[str, tuple[dict[str, str], np.ndarray]], law: str, shape: str, chain: list[str]
) -> None:
    equations, path = one_of_each[law]
    spelled = {axis: SHAPED[shape](text) for axis, text in equations.items()}
    for name in chain:
        spelled = {axis: REWRITES[name](text) for axis, text in spelled.items()}
    try:
        [parse(text) for text in spelled.values()]
    except EquationError as refused:
        assume(re.search(r"characters|nested|terms", str(refused)) is None)  # only length is an excuse
        raise
    rough = path + [0.01, -0.02, 0.03]
    one, other = (score_equations(each, TIMES, rough, 12, law) for each in (equations, spelled))
    assert (one.form, one.form_match, one.equation_correct) == (other.form, other.form_match, other.equation_correct)
    assert other.nmse_in_range == pytest.approx(one.nmse_in_range, rel=1e-6)
    assert other.nmse_extrapolated == pytest.approx(one.nmse_extrapolated, rel=1e-6)


@pytest.mark.parametrize("law", CLASSES)
def test_the_true_law_is_ranked_above_a_thousand_perturbed_ones(
    one_of_each: dict[str, tuple[dict[str, str], np.ndarray]], law: str
) -> None:
    """Constants off by 5 %: none of them comes as near to the quarter that nobody saw."""
    equations, path = one_of_each[law]
    draw = np.random.default_rng(8)

    def perturbed(text: str) -> str:
        return re.sub(r"\d+\.\d+", lambda found: f"{float(found[0]) * (1 + 0.05 * draw.standard_normal()):.5f}", text)

    rivals = [{axis: perturbed(text) for axis, text in equations.items()} for _ in range(1000)]
    truth = score_equations(equations, TIMES, path, 12, law)
    assert truth.form_match and truth.equation_correct and truth.nmse_extrapolated is not None
    scores = [score_equations(rival, TIMES, path, 12, law) for rival in rivals]
    assert all(score.nmse_extrapolated > truth.nmse_extrapolated for score in scores)
    assert sum(score.equation_correct for score in scores) < len(scores)
