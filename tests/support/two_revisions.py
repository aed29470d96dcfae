"""A small git repository of the real layout, with two branches that differ in one parameter and what came of it."""

import csv
import shutil
import subprocess
from pathlib import Path

import yaml
from PIL import Image

ROOT = Path(__file__).parents[2]
HOSTILE = "<img src=x onerror=alert(1)>|`x`"
COPIED = ("params.yaml", "dvc.lock", "code/*.txt", "metrics/*.json", "metrics/*/*.json", "plots/*/numbers*.csv",
          "plots/*/confusion.csv", "plots/*/curves.csv")
NUMBERS = "plots/train_classifier/numbers.csv"
CURVES, CONFUSION = "plots/train_classifier/curves.csv", "plots/train_classifier/confusion.csv"
PICTURE = "plots/train_classifier/confusions.png"


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@localhost", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", message)


def two_revisions(folder: Path) -> Path:
    """Branches `main` and `short`. `short` trains the classifier for fewer epochs; what differs is set here."""
    for pattern in COPIED:
        for path in ROOT.glob(pattern):
            (target := folder / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    (folder / "kinetoken").mkdir()
    (folder / "kinetoken" / "a.py").write_text("x = 1\n")
    Image.new("RGB", (64, 32), "red").save(folder / PICTURE)
    _set_number(folder / NUMBERS, "accuracy", value=0.99, ci95_low=0.985, ci95_high=0.995)
    _set_number(folder / NUMBERS, "pooling.spatial_mean.accuracy", value=0.28, ci95_low=0.26, ci95_high=0.30)
    _set_number(folder / "plots/train_position/numbers.csv", "error_px", value=0.20, ci95_low=0.19, ci95_high=0.21)
    _set_number(folder / "plots/train_tokenizer/numbers.csv", "parameters", value=1000, ci95_low=999, ci95_high=1001)
    (folder / CURVES).write_text("model,epoch,step,loss,val_loss\nm,1,9,1.0,1.0\nm,2,18,.5,.6\n")
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "first results")
    git(folder, "switch", "--quiet", "--create", "short")
    _shorten(folder)
    commit(folder, f"four epochs {HOSTILE}")
    git(folder, "switch", "--quiet", "main")
    return folder


def _shorten(folder: Path) -> None:
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    head, section = text.split("\ntrain_classifier:")
    before = yaml.safe_load(text)["train_classifier"]["epochs"]
    section = section.replace(f"epochs: {before}", "epochs: 4", 1)
    (folder / "params.yaml").write_text(f"{head}\ntrain_classifier:{section}", encoding="utf-8")
    lock = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))
    record = lock["stages"]["train_classifier"]
    record["params"]["params.yaml"]["train_classifier"]["epochs"] = 4
    next(out for out in record["outs"] if out["path"] == "models/classifier")["md5"] = "0" * 32
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False), encoding="utf-8")
    _set_number(folder / NUMBERS, "accuracy", value=0.97, ci95_low=0.96, ci95_high=0.98)  # worse, beyond the interval
    _set_number(folder / NUMBERS, "pooling.spatial_mean.accuracy", value=0.29, ci95_low=0.27, ci95_high=0.31)  # within
    _set_number(folder / NUMBERS, "ece", value=0.5)  # no interval
    _set_number(folder / "plots/train_position/numbers.csv", "error_px", value=0.15, ci95_low=0.14, ci95_high=0.16)
    _set_number(folder / "plots/train_tokenizer/numbers.csv", "parameters", value=2000, ci95_low=1999, ci95_high=2001)
    (folder / CURVES).write_text("model,epoch,step,loss,val_loss\nm,1,9,1.0,1.1\nm,2,18,.7,.8\n")
    with (folder / CONFUSION).open("a", encoding="utf-8") as sink:
        sink.write(f'"{HOSTILE}",linear,9999\n')
    Image.new("RGB", (64, 32), "blue").save(folder / PICTURE)
    (folder / "kinetoken" / "a.py").write_text("x = 1\ny = 2\n")
    (folder / "code" / "train_classifier.txt").write_text("0" * 64 + "\n")


def _set_number(table: Path, name: str, **columns: object) -> None:
    with table.open(encoding="utf-8", newline="") as source:
        rows = list(csv.DictReader(source))
    found = next(row for row in rows if row["name"] == name)
    found |= {column: str(value) for column, value in columns.items()}
    with table.open("w", encoding="utf-8", newline="") as sink:
        writer = csv.DictWriter(sink, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
