"""Were the faults named right, were healthy tokenizers left alone, and did the prescribed cures help?

A fault counts where it costs at least COST of probe accuracy against its healthy twin, on the codes, or on the
pooled codes where those are what is used. Thresholds are set on the half `setting` and on seeds that were scored before
(docs/notes/0006-ward.md); `scoring` holds new seeds, and mostly other severities and quantizers. Cured runs have seeds
of their own and are held against all the scoring half's healthy runs of their quantizer: one run by itself, and the
mean of a severity's runs with its interval.

Reads    section ward.faults of the study's params; the measures of all cases
Writes   in the study's folder metrics.json; plots/ the cases, the confusion of causes, each measure's range, the cures

Alone    python -m studies.ward.score --params studies/ward/params.yaml --section ward
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from kinetoken.core.artifacts import write_csv, write_metrics
from kinetoken.core.stage import Context, Input, Output, run_stage
from kinetoken.diagnosis.causes import judge
from kinetoken.diagnosis.measures import Measures
from studies.scoring import draw_confusion, share
from studies.ward.plan import HALVES, HEALTHY, Ward

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

COST = 0.05  # of accuracy, from which a fault counts
CURED = 0.02  # of accuracy: a cure brings the codes back to within this of the twins


@dataclass(frozen=True)
class Paths:
    healthy: Annotated[Path, Input("healthy cases")] = Path("studies/ward/data/healthy.json")
    codebook: Annotated[Path, Input("cases of the codebook's faults")] = Path("studies/ward/data/codebook.json")
    training: Annotated[Path, Input("cases of the training's faults")] = Path("studies/ward/data/training.json")
    data: Annotated[Path, Input("cases of the data's faults")] = Path("studies/ward/data/data.json")
    pipeline: Annotated[Path, Input("cases of broken pipelines")] = Path("studies/ward/data/pipeline.json")
    metrics: Annotated[Path, Output("numbers for dvc metrics")] = Path("studies/ward/metrics.json")
    cases: Annotated[Path, Output("one row a case")] = Path("studies/ward/plots/cases.csv")
    confusion: Annotated[Path, Output("true and named cause")] = Path("studies/ward/plots/confusion.csv")
    margins: Annotated[Path, Output("ranges of the measures")] = Path("studies/ward/plots/margins.csv")
    cures: Annotated[Path, Output("cured against healthy, by severity")] = Path("studies/ward/plots/cures.csv")
    picture: Annotated[Path, Output("the confusion, drawn")] = Path("studies/ward/plots/confusion.png")


def run(params: Ward, paths: Paths, context: Context) -> None:
    rows = []
    for path in (paths.healthy, paths.codebook, paths.training, paths.data, paths.pipeline):
        rows += json.loads(path.read_text(encoding="utf-8"))
    table = judged(rows)
    write_metrics(paths.metrics, ward_numbers(table))
    write_csv(paths.cases, table)
    scored = table[(table["half"] == "scoring") & ~table["cured"] & (table["counted"] | (table["cause"] == HEALTHY))]
    write_csv(paths.confusion, scored[["cause", "named", "name"]])
    write_csv(paths.margins, margins(table))
    write_csv(paths.cures, cures(table))
    draw_confusion(paths.picture, scored, HEALTHY)


def judged(rows: list[dict[str, Any]]) -> "pd.DataFrame":
    """One row a case: who it is, the cause named, accuracy, what it costs against the twin, and all measures.

    The twin of a cured run is the mean of its half's healthy runs of the same quantizer.
    """
    import pandas as pd

    twins = {
        (row["half"], row["twin"]): row["measures"]["probe_codes"] for row in rows if row["fault"] == HEALTHY
    }
    sound = pd.DataFrame([(half, name.rsplit("-", 1)[0], value) for (half, name), value in twins.items()])
    means = {} if sound.empty else sound.groupby([0, 1])[2].mean().to_dict()
    found = []
    for row in rows:
        measures = row["measures"]
        verdict = judge(Measures(**measures), pooled=row["pooled"])
        accuracy = measures["probe_codes_pooled" if row["pooled"] else "probe_codes"]
        twin = twins.get((row["half"], row["twin"]), accuracy)
        if row["cured"]:
            twin = means.get((row["half"], row["quantizer"]), accuracy)
        found.append({
            **{key: row[key] for key in ("name", "fault", "cause", "half", "severity", "quantizer", "seed", "cured")},
            "changes": " ".join(row["changes"]), "named": verdict.cause, "right": verdict.cause == row["cause"],
            "accuracy": accuracy, "twin": twin, "cost": twin - accuracy,
            "counted": row["cause"] != HEALTHY and twin - accuracy >= COST, **measures,
        })
    return pd.DataFrame(found)


def ward_numbers(table: "pd.DataFrame") -> dict[str, Any]:
    """Counts and shares by half, with 95 % Clopper-Pearson intervals; the scoring half by cause too."""
    numbers: dict[str, Any] = {}
    for half in HALVES:
        part = table[(table["half"] == half) & ~table["cured"]]
        healthy, faults = part[part["cause"] == HEALTHY], part[part["cause"] != HEALTHY]
        counted = faults[faults["counted"]]
        numbers[half] = {
            "healthy": share(int((~healthy["right"]).sum()), len(healthy), "false_alarms"),
            "faults": {
                "cases": len(faults), "causes": int(faults["cause"].nunique()),
                "causes_counted": int(counted["cause"].nunique()),
                **share(int(counted["right"].sum()), len(counted), "named_right"),
            },
        }
        numbers[half]["cause"] = {
            str(cause).replace(" ", "_"): share(int(own["right"].sum()), len(own), "named_right")
            for cause, own in counted.groupby("cause")
        }
    return numbers | {"cures": _cures(table)}


def _cures(table: "pd.DataFrame") -> dict[str, Any]:
    """How many cured runs, and how many severities by the mean of their runs, came back to within CURED."""
    single, means = _cured_runs(table), cures(table)
    found = {
        "run": share(int((single["cost"] <= CURED).sum()), len(single), "within_2_points"),
        "severity": share(int((means["missing"] <= CURED).sum()), len(means), "within_2_points"),
    }
    if len(means) > 1:
        found["severity"] |= {
            "not_excluded": int((means["missing_ci95_low"] <= CURED).sum()),
            "most_missing_points": 100 * float(means["missing"].max()),
            "mean_missing_points": 100 * float(means["missing"].mean()),
        }
    return found


def _cured_runs(table: "pd.DataFrame") -> "pd.DataFrame":
    """Cured runs of those severities of the scoring half whose fault counted with some seed."""
    severity = table["fault"] + " " + table["severity"].astype(str)
    sick = severity[table["counted"] & ~table["cured"] & (table["half"] == "scoring")]
    return table[table["cured"] & severity.isin(sick)]


def cures(table: "pd.DataFrame") -> "pd.DataFrame":
    """One row a cured severity: accuracy of its runs and of the healthy ones, and what is missing on average.

    The 95 % interval is Welch's (1947) for a difference of two means; with one run on a side it is all of [-1, 1].
    """
    import pandas as pd

    healthy = table[(table["fault"] == HEALTHY) & (table["half"] == "scoring")]
    rows = []
    for (fault, severity), part in _cured_runs(table).groupby(["fault", "severity"], sort=False):
        quantizer = part["quantizer"].iloc[0]
        twins = healthy[healthy["quantizer"] == quantizer]["accuracy"]
        low, high = welch(twins.to_numpy(), part["accuracy"].to_numpy())
        rows.append({
            "fault": fault, "severity": severity, "quantizer": quantizer, "runs": len(part),
            "cured": part["accuracy"].mean(), "twins": len(twins), "healthy": twins.mean(),
            "missing": twins.mean() - part["accuracy"].mean(), "missing_ci95_low": low, "missing_ci95_high": high,
        })
    names = ("fault", "severity", "quantizer", "runs", "cured", "twins", "healthy", "missing", "missing_ci95_low",
             "missing_ci95_high")
    return pd.DataFrame(rows, columns=names)


def welch(left: "np.ndarray", right: "np.ndarray") -> tuple[float, float]:
    """95 % interval of mean(left) − mean(right) of independent samples, variances not taken to be equal."""
    from scipy.stats import ttest_ind

    if min(len(left), len(right)) < 2:
        return -1.0, 1.0
    interval = ttest_ind(left, right, equal_var=False).confidence_interval(0.95)
    return float(interval.low), float(interval.high)


NUMERIC = (
    "probe_pixels", "pixels_gain", "pair_pixels", "kept", "perplexity_foreground", "perplexity_share",
    "top1_share_foreground", "directions", "quantization_error", "mismatch", "foreground_gain_db", "background_gain_db",
    "picture_gain_db", "loss_fall", "late_fall", "latent_offset", "found_elsewhere", "found_moved",
)


def margins(table: "pd.DataFrame") -> "pd.DataFrame":
    """Least, median and most of each measure by half and true cause, over healthy runs and faults that count."""
    import pandas as pd

    table = table[~table["cured"] & (table["counted"] | (table["cause"] == HEALTHY))].copy()
    table["pixels_gain"] = table["probe_pixels"] - table["probe_pixels_half"]
    best = table[["probe_pixels", "probe_latents"]].max(axis=1)
    table["kept"] = (table["probe_codes"] - table["floor"]) / (best - table["floor"])
    table["perplexity_share"] = table["perplexity_foreground"] / table["codebook_size"]
    table["directions"] = table["effective_rank_latents"] / table["latent_channels"]
    rows = []
    for (half, cause), part in table.groupby(["half", "cause"]):
        for name in NUMERIC:
            values = part[name].dropna()
            if len(values):
                rows.append({"measure": name, "half": half, "cause": cause, "least": values.min(),
                             "median": values.median(), "most": values.max()})
    return pd.DataFrame(rows).sort_values(["measure", "half", "cause"])


def main() -> int:
    return run_stage(run, Ward, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
