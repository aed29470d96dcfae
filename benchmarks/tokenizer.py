"""Kinetoken's tokenizer beside magvit2-pytorch 0.5.1: the same clips, grid, bits, seconds and scoring.

    python -m benchmarks.tokenizer                                  # everything, about 40 minutes of one core
    python -m benchmarks.tokenizer --systems kinetoken --seeds 1    # one run; the table shows what has run so far

Each system trains in a process of its own on one thread until its processor time is over, codes the test clips, and
decodes them from the codes alone; all are scored by kinetoken.tokenizer.scoring. The peer lives in an environment of
its own, so that nothing of it enters this one, and where that is missing the table says so:

    uv venv .venv-magvit2 && \\
      uv pip install --python .venv-magvit2/bin/python -r benchmarks/peers/magvit2/requirements.txt

Kinetoken's length is planned from a warm-up and may miss the seconds by some; the peer then trains for as long as
Kinetoken's run of the same seed did. Runs are kept under --folder and not repeated; the table is written there as
table.md and table.json.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.exchange import Data, Result
from kinetoken.core.artifacts import write_json
from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from kinetoken.core.per_track import require_splits
from kinetoken.core.progress import replace_text
from kinetoken.dataset import Dataset, DatasetPaths
from kinetoken.diagnosis.usage import foreground_tokens, usage_of
from kinetoken.scenes.clips import Clips, ClipStore
from kinetoken.scenes.rendering import Scene
from kinetoken.tokenizer.scoring import BATCH, MEASURES, ClipScores, Originals, mean_video, score_clips
from kinetoken.tokenizer.training_clips import TokenizerParams, static_background

ROOT = Path(__file__).resolve().parents[1]
PEER_PYTHON = Path(".venv-magvit2/bin/python")
Row = dict[str, float]


@dataclasses.dataclass(frozen=True)
class System:
    """What is compared: a runner and the options that are its own."""

    label: str
    runner: str  # module
    is_peer: bool = False
    options: tuple[str, ...] = ()


SYSTEMS = {
    "kinetoken": System("Kinetoken", "benchmarks.peers.kinetoken.runner"),
    "magvit2": System("magvit2-pytorch, its MSE", "benchmarks.peers.magvit2.runner", True, ("--loss", "mse")),
    "magvit2_weighted": System(
        "magvit2-pytorch, Kinetoken's loss", "benchmarks.peers.magvit2.runner", True, ("--loss", "weighted")
    ),
}

# measure → heading, decimals
COLUMNS = {
    "psnr_db": ("PSNR, dB", 2), "foreground_psnr_db": ("PSNR on the ball, dB", 2),
    "centroid_error_px": ("ball's place, px", 3), "missed_rate": ("ball missed, share of frames", 3),
    "usage": ("codebook used", 3), "perplexity": ("perplexity", 1),
    "perplexity_foreground": ("perplexity where the ball is", 1),
    "training_clips_per_s": ("training, clips/s", 1), "coding_clips_per_s": ("coding, clips/s", 1),
    "training_seconds": ("trained for, s", 1), "training_clips": ("clips seen", 0),
    "peak_mib": ("peak memory, MiB", 0), "parameters": ("parameters", 0),
}


@dataclasses.dataclass
class Test:
    """The clips that are scored, with what they are held against."""

    clips: Clips
    scene: Scene
    points: NDArray[np.float64]  # (N, T, 3) m


def score_result(result: Result, test: Test) -> Row:
    """Reconstruction, codebook use and costs of one run."""
    counts = np.bincount(result.codes.ravel(), minlength=result.codebook_size)
    where = foreground_tokens(test.scene, test.points, result.codes.shape[1:])
    ball = np.bincount(result.codes[where], minlength=result.codebook_size)
    training = result.training
    return {
        **reconstruction(result.frames, test), "usage": usage_of(counts).usage,
        "perplexity": usage_of(counts).perplexity, "perplexity_foreground": usage_of(ball).perplexity,
        "training_clips_per_s": training.clips / training.seconds, "training_seconds": training.seconds,
        "training_clips": training.clips, "coding_clips_per_s": len(result.codes) / result.coding_seconds,
        "peak_mib": training.peak_mib, "parameters": training.parameters,
    }


def reconstruction(frames: NDArray[Any], test: Test) -> Row:
    """Measures of the frames (N, T, H, W, 3), or one video (T, H, W, 3) for all, against the test clips."""
    parts = []
    for start in range(0, len(test.clips), BATCH):
        rows = slice(start, start + BATCH)
        originals = Originals.of(_unit(test.clips.pixels[rows]), test.scene, test.points[rows])
        shown = frames if frames.ndim == 4 else frames[rows]
        parts.append(score_clips(shown.astype(np.float32), originals))
    scores = ClipScores.joined(parts)
    return {name: measure(scores) for name, measure in MEASURES.items() if name in COLUMNS}


def _unit(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(255)


def prepare(folder: Path, options: argparse.Namespace, test: Test) -> dict[str, Row]:
    """Write what the runners are given; the bounds: scores of the mean video (floor) and of the originals (ceiling)."""
    bounds = folder / "bounds.json"
    if not bounds.exists():
        pixels = ClipStore(options.videos).read("train", limit=options.train_clips).pixels
        Data(pixels, test.clips.pixels, static_background(pixels).numpy()).save(folder / "data.npz")
        floor, ceiling = (reconstruction(x, test) for x in (mean_video(pixels), _unit(test.clips.pixels)))
        write_json(bounds, {"floor": floor, "ceiling": {"centroid_error_px": ceiling["centroid_error_px"]}})
    content: dict[str, Row] = json.loads(bounds.read_text(encoding="utf-8"))
    return content


def run(name: str, seed: int, folder: Path, options: argparse.Namespace, test: Test) -> None:
    """One run of one system, scored and kept."""
    kept = folder / f"{name}-{seed}.json"
    if kept.exists():
        return print(f"{name}, seed {seed}: kept from before", flush=True)
    system, out = SYSTEMS[name], folder / f"{name}-{seed}.npz"
    python = str(options.peer_python) if system.is_peer else sys.executable
    command = [
        python, "-m", system.runner, *system.options, "--data", str((folder / "data.npz").resolve()),
        "--out", str(out.resolve()), "--params", str(options.params.resolve()),
        "--seconds", str(_seconds(system, seed, options)), "--seed", str(seed),
    ]
    subprocess.run(command, cwd=ROOT, check=True)
    write_json(kept, score_result(Result.load(out), test))
    out.unlink()
    print(f"{name}, seed {seed}: done", flush=True)


def _seconds(system: System, seed: int, options: argparse.Namespace) -> float:
    """Of training: a peer gets as much as Kinetoken's run of that seed took, where there is one."""
    beside = options.folder / f"kinetoken-{seed}.json"
    if system.is_peer and beside.exists():
        return float(json.loads(beside.read_text(encoding="utf-8"))["training_seconds"])
    return float(options.seconds)


def collect(folder: Path, bounds: Mapping[str, Row], settings: Mapping[str, Any]) -> dict[str, Any]:
    """All runs of the folder, with mean and sample standard deviation over seeds."""
    systems = {}
    for name, system in SYSTEMS.items():
        rows: list[Row] = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(folder.glob(f"{name}-*.json"))]
        mean = {key: float(np.mean([row[key] for row in rows])) for key in COLUMNS} if rows else {}
        spread = {key: float(np.std([r[key] for r in rows], ddof=1)) for key in COLUMNS} if len(rows) > 1 else {}
        systems[name] = {"label": system.label, "runs": rows, "mean": mean, "spread": spread}
    return {"settings": dict(settings), **bounds, "systems": systems}


def markdown(table: Mapping[str, Any], absent: Sequence[str]) -> str:
    """The table for people: a row a measure, a column a system, mean ± spread; then what is absent."""
    shown = [one for one in table["systems"].values() if one["runs"]]
    heads = [f"{one['label']} ({len(one['runs'])} seed{'s' * (len(one['runs']) != 1)})" for one in shown]
    lines = ["| | baseline | " + " | ".join(heads) + " | upper bound |", "|---" * (len(heads) + 3) + "|"]
    for key, (heading, decimals) in COLUMNS.items():
        cells = [_cell(table["floor"].get(key), None, decimals)]
        cells += [_cell(one["mean"][key], one["spread"].get(key), decimals) for one in shown]
        cells += [_cell(table["ceiling"].get(key), None, decimals)]
        lines.append(f"| {heading} | " + " | ".join(cells) + " |")
    notes = [f"\n{SYSTEMS[name].label}: absent, its environment is not installed." for name in absent]
    return "\n".join([*lines, *notes]) + "\n"


def _cell(mean: float | None, spread: float | None, decimals: int) -> str:
    if mean is None:
        return ""
    return f"{mean:,.{decimals}f}" + (f" ± {spread:,.{decimals}f}" if spread else "")


def agreed_settings(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What all runs of a folder share. UserError if the folder holds runs of other settings."""
    params = dataclasses.asdict(load_params(options.params, "train_tokenizer", TokenizerParams))
    shared = {key: value for key, value in params.items() if key not in ("seed", "epochs")}
    chosen = {
        "seconds": options.seconds, "train_clips": options.train_clips, "test_clips": options.test_clips,
        "videos": str(options.videos), "train_tokenizer": shared,
    }
    settings: dict[str, Any] = json.loads(json.dumps(chosen))
    path = folder / "settings.json"
    if not path.exists():
        write_json(path, settings)
    elif json.loads(path.read_text(encoding="utf-8")) != settings:
        raise UserError(f"{folder}: holds runs of other settings (settings.json); remove it or give another --folder")
    return settings


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--seconds", type=float, default=150.0, help="of training, processor time of one thread")
    parser.add_argument("--train-clips", type=int, default=3840)
    parser.add_argument("--test-clips", type=int, default=480)
    parser.add_argument("--videos", type=Path, default=Path("data/motion/videos"))
    parser.add_argument("--trajectories", type=Path, default=Path("data/motion/trajectories.parquet"))
    parser.add_argument("--track-params", type=Path, default=Path("data/motion/track_params.parquet"))
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--peer-python", type=Path, default=PEER_PYTHON, help="interpreter of the peer's environment")
    parser.add_argument("--folder", type=Path, default=Path("run_info/benchmark_tokenizer"))
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    folder = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    try:
        settings = agreed_settings(folder, options)
        dataset = Dataset.open(DatasetPaths(
            videos=options.videos, trajectories=options.trajectories, track_params=options.track_params
        ), scene=True)
        require_splits(dataset.table, dataset.source, ("train", "test"))
        held_out = dataset.split("test").take(slice(options.test_clips))
        test = Test(held_out.read_clips(), dataset.scene, held_out.points)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    bounds = prepare(folder, options, test)
    absent = [name for name in options.systems if SYSTEMS[name].is_peer and not options.peer_python.exists()]
    for seed in options.seeds:
        for name in options.systems:
            if name not in absent:
                run(name, seed, folder, options, test)
    table = collect(folder, bounds, settings)
    write_json(folder / "table.json", table)
    replace_text(folder / "table.md", markdown(table, absent))
    print(markdown(table, absent))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
