"""Provider "offline": no language model, but a fit. The law of motion by least squares, written out as text."""

from collections.abc import Mapping

import numpy as np

from kinetoken.equations.evidence import Description, Evidence
from kinetoken.equations.facts import facts_of, render_sentence
from kinetoken.physics.fitting import LawFit, Priors, choose_law, fit_laws
from kinetoken.physics.laws import CLASSES, Array, axis_frame

DECIMALS = 5  # of the numbers in equations: hundredths of a millimetre


def describe(
    evidence: Evidence, clip_times: Array, *, priors: Priors | None = None, independence: float = 1.0
) -> list[Description]:
    """Fit all four laws to each clip's points, choose by evidence and classifier together, and write it out.

    `clip_times` (T,) is the time that the words are about. See `law_fit.fit_law` for `priors` and
    `physics.fitting.choose_law` for `independence`.
    """
    fits = fit_laws(evidence.times, evidence.points, evidence.whitening, priors=priors)
    chosen, _ = choose_law(fits, evidence.law_log_prior(), independence=independence)
    return [_describe_one(fits[CLASSES[law]], clip, clip_times) for clip, law in enumerate(chosen)]


def equation_texts(law: str, parameters: Mapping[str, Array]) -> dict[str, str]:
    """x, y and z as text in t for one clip's parameters (scalars and 3-vectors) of `law`."""
    if law in ("circular", "helical"):
        return _spiral_texts(parameters)
    fall = -0.5 * float(parameters["gravity"]) if law == "parabolic" else 0.0
    return {
        axis: _sum([(float(parameters["start"][i]), ""), (float(parameters["velocity"][i]), "*t"),
                    (fall if axis == "y" else 0.0, "*t**2")])
        for i, axis in enumerate("xyz")
    }


def _describe_one(fit: LawFit, clip: int, clip_times: Array) -> Description:
    one = fit.take(np.array([clip]))
    path = one.predict(clip_times)[0]  # (T, 3)
    parameters = {name: value[0] for name, value in one.parameters.items()}
    quantities = {"speed": float(np.linalg.norm(np.diff(path, axis=0), axis=-1).sum() / np.ptp(clip_times))}
    quantities |= {name: float(parameters[name]) for name in ("radius", "gravity") if name in parameters}
    if fit.law == "helical":
        quantities["pitch"] = abs(float(parameters["pitch"]))
    quantities = {name: round(value, DECIMALS) for name, value in quantities.items()}
    facts = facts_of(fit.law, path, clip_times)
    sentence = render_sentence(facts, quantities)
    return Description(equation_texts(fit.law, parameters), sentence, facts, quantities)


def _spiral_texts(parameters: Mapping[str, Array]) -> dict[str, str]:
    """c + rate t + amplitude cos(ωt + shift) along each axis."""
    one = {name: np.asarray(value)[None] for name, value in parameters.items()}
    e1, e2, axis = (vector[0] for vector in axis_frame(one["yaw"], one["tilt"]))
    omega, phase = float(parameters["omega"]), float(parameters["phase"])
    rate = float(parameters["pitch"]) * omega / (2 * np.pi) * axis
    texts = {}
    for i, name in enumerate("xyz"):
        amplitude = float(parameters["radius"]) * float(np.hypot(e1[i], e2[i]))
        shift = phase - float(np.arctan2(e2[i], e1[i]))
        sign = -1.0 if omega < 0 else 1.0  # the cosine is even: keep its frequency positive
        turn = (sign * shift + np.pi) % (2 * np.pi) - np.pi
        angle = _sum([(sign * omega, "*t"), (turn, "")])
        middle = float(parameters["centre"][i])
        texts[name] = _sum([(middle, ""), (float(rate[i]), "*t"), (amplitude, f"*cos({angle})")])
    return texts


def _sum(terms: list[tuple[float, str]]) -> str:
    """Terms (coefficient, factor) as text, those that round to nothing left out."""
    text = ""
    for coefficient, factor in terms:
        number = f"{abs(coefficient):.{DECIMALS}f}".rstrip("0").rstrip(".")
        if number == "0":
            continue
        sign = "-" if coefficient < 0 else "+"
        text += f" {sign} {number}{factor}" if text else f"{'-' if sign == '-' else ''}{number}{factor}"
    return text or "0"
