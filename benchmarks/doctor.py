"""Time and memory of the doctor as tables grow: codes are made in pieces, and each table is read in a fresh process.

    python -m benchmarks.doctor --clips 100000 1000000 --folder /tmp/doctor
    python -m benchmarks.doctor --clips 1000000 --codebooks 4       # residual codes: 64 tokens of 4 codebooks

A clip has 256 codes of 1,000; a fifth of them follow a distribution of its class's own. Peak memory is the process's
own high-water mark. The figures stand in docs/doctor.md.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

GRID, SIZE, CLASSES, PIECE = (4, 8, 8), 1000, 4, 20_000
RESIDUAL_GRID, RESIDUAL_LAYOUT = (4, 4, 4), "B,N,Q"  # as many codes a clip, 4 a token
TOLD = 0.2  # share of tokens that follow the class
LOOKUP = 2**16  # draws by looking up a random place in a table of this length


def make_table(path: Path, clips: int, codebooks: int) -> None:
    """A Parquet table of class-dependent codes, a row group a piece; of several codebooks, a list a token."""
    rng = np.random.default_rng(0)
    width = int(np.prod(GRID))
    share = rng.dirichlet(np.full(SIZE, 0.3), CLASSES + 1)  # of each class, and of all
    drawn = [np.searchsorted(one.cumsum(), (np.arange(LOOKUP) + 0.5) / LOOKUP).astype(np.int32) for one in share]
    kind = pa.list_(pa.int32(), width)
    if codebooks > 1:
        kind = pa.list_(pa.list_(pa.int32(), codebooks), width // codebooks)
    schema = pa.schema([("class", pa.string()), ("codes", kind)])
    with pq.ParquetWriter(path, schema, compression="zstd") as sink:
        for start in range(0, clips, PIECE):
            count = min(PIECE, clips - start)
            label = rng.integers(0, CLASSES, count)
            source = np.where(rng.random((count, width), np.float32) < TOLD, label[:, None], CLASSES)
            codes = np.stack(drawn)[source, rng.integers(0, LOOKUP, (count, width), np.uint16)]
            values = pa.array(codes.ravel(), pa.int32())
            for length in (width,) if codebooks == 1 else (codebooks, width // codebooks):
                values = pa.FixedSizeListArray.from_arrays(values, length)
            sink.write_table(pa.table([[f"class {i}" for i in label], values], schema=schema))


def examine(path: Path, config: Path, layout: str | None, threads: int) -> None:
    """One examination in this process; its figures as JSON."""
    from kinetoken.core.progress import Progress
    from kinetoken.core.stage import Context, Hardware
    from kinetoken.diagnosis.api import DEFAULT
    from kinetoken.diagnosis.doctor import diagnose
    from kinetoken.diagnosis.intake import Files, take_in

    hardware = Hardware(accelerator="cpu", devices=1, precision="32-true", threads=threads)
    start = time.perf_counter()
    patient = take_in(Files(path, config=config, layout=layout), DEFAULT, Progress.silent())
    counted, after_count = time.perf_counter() - start, _peak_mib()
    report = diagnose(patient, DEFAULT, Context(Progress.silent(), hardware))
    print(json.dumps({
        "clips": report.numbers["usage_clips"], "mib_on_disk": path.stat().st_size / 2**20, "seconds_counting": counted,
        "seconds": time.perf_counter() - start, "peak_mib_counting": after_count, "peak_mib": _peak_mib(),
        "perplexity": report.numbers["perplexity"], "code_information_bits": report.numbers["code_information_bits"],
        "p_value": report.numbers["code_information_p_value"], "verdict": report.verdict.cause,
    }))


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, default=Path("run_info/doctor_benchmark"))
    parser.add_argument("--codebooks", type=int, choices=(1, 4), default=1, help="codes of a token")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--examine", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    config = options.folder / "config.json"
    several = options.codebooks > 1
    if options.examine is not None:
        examine(options.examine, config, RESIDUAL_LAYOUT if several else None, options.threads)
        return
    grid, quantizer = (RESIDUAL_GRID, "rvq") if several else (GRID, "vq")
    config.write_text(json.dumps({"grid": grid, "codebook_size": SIZE, "quantizer": quantizer}))
    for clips in options.clips:
        path = options.folder / f"codes_{clips}_{options.codebooks}.parquet"
        if not path.exists():
            make_table(path, clips, options.codebooks)
        command = [sys.executable, "-m", "benchmarks.doctor", "--examine", str(path), "--folder", str(options.folder)]
        command += ["--threads", str(options.threads), "--codebooks", str(options.codebooks)]
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        print(result.stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
