"""Look at codes made anywhere: how they are used, what can be read from them, what is wrong and what cures it.

CODES is a table of Kinetoken, any Parquet file with a list column of whole numbers, or an NPZ or NPY array with
one clip a row. Labels and splits are taken from columns `class` (or `label`) and `split` of the same file, or
from --labels. All other files are optional; what is missing is said in the report.

    python -m kinetoken.diagnosis codes.parquet --clips videos.npy --latents latents.npy --out report
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from kinetoken.core.errors import UserError
from kinetoken.core.params import load_params
from kinetoken.core.progress import Progress
from kinetoken.core.stage import CPU, Context
from kinetoken.diagnosis.chain import Diagnosis
from kinetoken.diagnosis.intake import Files, take_in
from kinetoken.diagnosis.probes import MomentsParams

DEFAULT = Diagnosis(  # section diagnose_codes of params.yaml, for where there is none
    seed=7, train_clips=3000, val_clips=480, test_clips=1200, shown_clips=600, reconstructed_clips=240,
    probe=MomentsParams(
        seed=7, epochs=14, batch_size=64, learning_rate=0.004, warmup_fraction=0.1, weight_decay=0.05,
        gradient_clip=1.0, ema_decay=0.0, patience=0, width=32, heads=6,
    ),
)
OPTIONAL = {
    "labels": "CSV, Parquet, NPZ or NPY with labels, and splits and ids if there are any",
    "latents": "what was quantized: NPZ, NPY or Parquet, on the codes' grid",
    "clips": "a clip store's folder, or an NPZ or NPY array N,T,H,W,C in [0, 255] or [0, 1]",
    "reconstructions": "an array like that of the clips, as decoded from the codes",
    "codebook": "NPY with one vector a code",
    "history": "CSV or JSON with epoch and val_loss",
    "config": "YAML or JSON: grid, codebook_size, levels, quantizer, pooling, foreground_weight",
}


def main(argv: list[str] | None = None) -> int:
    """The exit code: 0 when a report was made, whatever it says; 1 after one clear message."""
    options = _parse(argv)
    files = Files(options.codes, **{name: getattr(options, name) for name in OPTIONAL})
    try:
        params = DEFAULT if options.params is None else load_params(options.params, "diagnose_codes", Diagnosis)
        hardware = dataclasses.replace(CPU, threads=options.threads)
        with Progress("doctor", quiet=options.quiet) as progress:
            text = _examine(files, params, Context(progress, hardware), options)
    except UserError as error:
        print(f"error: doctor: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: doctor: interrupted", file=sys.stderr)
        return 130
    print(text, end="")
    return 0


def _examine(files: Files, params: Diagnosis, context: Context, options: argparse.Namespace) -> str:
    from kinetoken.diagnosis.doctor import diagnose
    from kinetoken.diagnosis.page import to_json, to_markdown, write_report

    report = diagnose(take_in(files, params, context.progress), params, context)
    if options.out is not None:
        write_report(options.out, report, files.codes.name)
        context.progress.say(f"written to {options.out}: report.html, report.md, report.json and tables")
    if options.json:
        return json.dumps(to_json(report), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return to_markdown(report)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m kinetoken.diagnosis", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("codes", type=Path, metavar="CODES")
    for name, help_ in OPTIONAL.items():
        parser.add_argument(f"--{name}", type=Path, help=help_)
    parser.add_argument("--out", type=Path, help="folder for report.html, report.md, report.json and tables as CSV")
    parser.add_argument("--json", action="store_true", help="print JSON in place of text")
    parser.add_argument("--params", type=Path, help="parameter file; its section diagnose_codes counts")
    parser.add_argument("--threads", type=int, default=CPU.threads, help=f"of the CPU (default: {CPU.threads})")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
