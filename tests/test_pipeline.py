"""dvc.yaml, params.yaml and dvc.lock against the code; the whole pipeline with the smoke profile."""

import ast
import dataclasses
import functools
import importlib
import json
import operator
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from kinetoken.cards.models import MODELS
from kinetoken.cards.writing import SECTIONS
from kinetoken.core.absence import why_absent
from kinetoken.core.numbers import BESIDE, read_numbers
from kinetoken.core.params import NoParams, load_params, overlay, read_yaml
from kinetoken.core.stage import Hardware, Input, Output, marked_paths
from kinetoken.report.results import STAGES as report_stages
from tools import fingerprints
from tools.imports import closure, is_code
from tools.relock import stale
from tools.smoke import clone, differences, dvc_process, environment, output_hashes, run_all

ROOT = Path(__file__).parents[1]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
STAGES: dict[str, Any] = PIPELINE["stages"]
SCRIPTS = sorted(path.stem for path in (ROOT / "stages").glob("*.py") if path.stem != "__init__")
NO_METRICS = {"fingerprint_code", "generate_trajectories", "render_videos", "generate_actions", "read_motion",
              "build_report", "write_cards"}
CONTRACT = {  # what programs may rely on in metrics/<stage>.json; a star stands for each class
    "train_tokenizer": (
        "psnr_db", "psnr_db_floor", "foreground_psnr_db", "foreground_psnr_db_floor", "centroid_error_px",
        "centroid_error_px_floor", "missed_rate",
    ),
    "train_baselines": ("coordinates.accuracy", "video.accuracy", "majority.accuracy"),
    "diagnose_codes": (
        "healthy", "usage", "perplexity", "perplexity_foreground", "effective_rank_latents", "effective_rank_codes",
        "probe.pixels", "probe.latents", "probe.codes", "probe.codes_pooled", "label_information_bits",
    ),
    "train_classifier": (
        "accuracy", "per_class.*", "ece", "pooling.soft_argmax.accuracy", "pooling.spatial_mean.accuracy",
    ),
    "explain_classifier": (
        "completeness_error", "rank_correlation.signed", "rank_correlation.random_weights",
        "rank_correlation.difference", "on_ball.attributed", "on_ball.attributed_floor", "deletion.attributed",
        "deletion.attributed_floor", "deletion.random", "deletion.difference",
    ),
    "train_position": ("error_px", "error_depth_percent", "error_m"),
    "train_generator": tuple(
        f"{prior}.{key}" for prior in ("gaussian", "class_gaussian", "masked")
        for key in ("class_match", "coverage", "density", "valid", "memorised", "lawful")
    ) + tuple(f"masked.forecast.{key}" for key in ("centroid_error_px", "missed_rate", "error_over_oracle")),
    "train_predictor": tuple(
        f"{model}.{key}" for model in ("lstm", "transformer")
        for key in ("mse", "mse_ratio_to_reconstruction", "centroid_error_px", "error_over_oracle", "missed_rate",
                    "ood_ratio")
    ),
    "train_i3d_magvit": (
        "accuracy", "accuracy_floor", "per_class.*", "forecast_mae", "forecast_mae_floor", "forecast_mae_percent",
        "forecast_mae_percent_floor", "forecast_rmse_percent", "forecast_rmse_percent_floor",
    ),
    "train_gasm_cast": (
        "top1", "top5", "ece", "trainable_parameters_full", "fusion_macs_saved", "end_to_end_macs_saved",
        "order_blind.top1",
    ),
    "detect_persistence": tuple(
        f"{extractor}.{key}" for extractor in ("magvit", "transformer")
        for key in ("accuracy", "early_stop_rate", "mean_decision_frame", "compute_saved", "harmonic_mean", "ece",
                    "regret", "attention_ratio")
    ),
    "describe_motion": (
        "is_llm", "parsed", "nmse_in_range", "nmse_extrapolated", "form_match", "equation_correct",
        "equation_correct_true_points", "equation_correct_oracle_form", "description_correct",
    ),
}
each_stage = pytest.mark.parametrize("name", sorted(STAGES))


def body(name: str) -> dict[str, Any]:
    return STAGES[name].get("do", STAGES[name])


def datasets(name: str) -> dict[str, dict[str, str]]:
    """The names that a stage's foreach runs over; one nameless entry for a plain stage."""
    return STAGES[name].get("foreach", {"": {}})


def expanded(text: str, name: str, dataset: str) -> str:
    """DVC's templates in one string of dvc.yaml, filled in."""
    for key, value in (datasets(name)[dataset] or {}).items():
        text = text.replace(f"${{item.{key}}}", value)
    text = text.replace("${key}", dataset)
    for dotted in re.findall(r"\$\{([\w.]+)\}", text):
        node = PARAMS
        for part in dotted.split("."):
            node = node[part]
        text = text.replace(f"${{{dotted}}}", str(node))
    return text


def paths_of(name: str, key: str, dataset: str) -> set[str]:
    """The paths under one key of a stage (`deps`, `outs`, `metrics`, `plots`)."""
    entries = [entry if isinstance(entry, str) else next(iter(entry)) for entry in body(name).get(key, [])]
    return {expanded(entry, name, dataset) for entry in entries}


def left_numbers(name: str, dataset: str) -> tuple[str, str, str]:
    """Where a stage leaves its numbers: the short file, the folder of headlines, the table."""
    end = f"_{dataset}" if dataset else ""
    return f"metrics/{name}{end}.json", f"metrics/{name}{end}", f"plots/{name}/numbers{end}.csv"


def run_stage_call(name: str) -> ast.Call:
    tree = ast.parse((ROOT / "stages" / f"{name}.py").read_text(encoding="utf-8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "run_stage"]
    assert len(calls) == 1, f"stages/{name}.py must call run_stage once"
    return calls[0]


def uses_hardware(name: str) -> bool:
    words = {word.arg: word.value for word in run_stage_call(name).keywords}
    return "hardware" in words and ast.literal_eval(words["hardware"])


def params_class(name: str) -> type[Any]:
    """What the script hands to run_stage: a dataclass, or a union of some."""
    module = vars(importlib.import_module(f"stages.{name}"))
    found: type[Any] = functools.reduce(
        operator.or_, (module[each.strip()] for each in ast.unparse(run_stage_call(name).args[1]).split("|"))
    )
    return found


# ---- dvc.yaml against the code


def test_scripts_and_stages_are_the_same() -> None:
    assert SCRIPTS == sorted(STAGES)


@each_stage
def test_stage_has_its_name_in_every_place(name: str) -> None:
    assert body(name)["cmd"].split()[:3] == ["python", "-m", f"stages.{name}"]
    assert (name in PARAMS) == (params_class(name) is not NoParams), f"params.yaml has no section {name}"
    assert (ROOT / "tests" / "stages" / f"test_{name}.py").is_file()
    assert body(name)["desc"]
    kept = body(name).get("metrics", []) + [e for e in body(name).get("outs", []) if out_path(e) in plotted()]
    for dataset in datasets(name) if name not in NO_METRICS else ():
        short, folder, table = left_numbers(name, dataset)
        assert paths_of(name, "metrics", dataset) == {folder}
        kept += [e for e in body(name)["outs"] if expanded(str(next(iter(e))), name, dataset) in (short, table)]
        assert {short, table} <= paths_of(name, "outs", dataset)
    for entry in kept:
        assert next(iter(entry.values()))["cache"] is False, f"{entry}: numbers and small plots live in git"


@each_stage
def test_code_is_one_dep(name: str) -> None:
    code = [dep for dep in body(name)["deps"] if is_code(dep)]
    assert code == (["kinetoken", "stages", "tools"] if name == "fingerprint_code" else [f"code/{name}.txt"])


@each_stage
def test_fingerprints_are_of_the_code_as_it_stands(name: str) -> None:
    recorded = (ROOT / "code" / f"{name}.txt").read_text(encoding="utf-8").strip()
    assert recorded == fingerprints.fingerprint(f"stages/{name}.py", ROOT), "run `dvc repro fingerprint_code`"


@each_stage
def test_params_are_the_stages_own_section(name: str) -> None:
    section = f"{name}.${{key}}" if "foreach" in STAGES[name] else name
    own = [] if params_class(name) is NoParams else [section]
    shown = SECTIONS if name == "write_cards" else ()  # a card shows what its model was trained with
    assert body(name).get("params", []) == [*own, *shown, *(["hardware"] if uses_hardware(name) else [])]
    if "foreach" in STAGES[name]:
        assert f"--section {section} " in body(name)["cmd"] + " "
        assert set(PARAMS[name]) == set(datasets(name)), f"params.yaml, {name}: one section a dataset"


@pytest.mark.parametrize("profile", [None, "smoke", "gpu"])
def test_params_load(profile: str | None, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    if profile is not None:
        assert overlay(ROOT / "profiles" / f"{profile}.yaml", params) > 0
    load_params(params, "hardware", Hardware)
    for name in STAGES:
        for dataset in datasets(name):
            load_params(params, f"{name}.{dataset}".rstrip("."), params_class(name))
    with_params = {name for name in STAGES if params_class(name) is not NoParams}
    assert set(PARAMS) == {*with_params, "hardware"}, "a section that no stage reads"


@each_stage
def test_flags_and_recorded_paths_agree(name: str) -> None:
    """Each file in the command is a dep or an out, under the flag that the script knows it by, and none is left out."""
    paths_class = importlib.import_module(f"stages.{name}").Paths
    for dataset in datasets(name):
        words = expanded(body(name)["cmd"], name, dataset).split()[3:]
        flags = {flag.lstrip("-").replace("-", "_"): value for flag, value in zip(words[::2], words[1::2], strict=True)}
        names = {field.name for field in dataclasses.fields(paths_class)}
        assert set(flags) <= names | {"section"}, f"unknown flags {set(flags) - names}"
        paths = paths_class(**{n: Path(v) for n, v in flags.items() if n in names})
        if name == "fingerprint_code":
            continue  # it reads what the scripts import, wherever that lies
        inputs = {flags.get(n) for n in marked_paths(paths, Input)}
        outputs = {flags.get(n) for n in marked_paths(paths, Output)}
        assert None not in inputs | outputs, "every input and output is a flag of the command"
        deps = {dep for dep in paths_of(name, "deps", dataset) if not is_code(dep)}
        assert inputs <= deps
        given = [Path(value) for value in flags.values()]  # a flag may also name a folder of deps
        assert [dep for dep in deps if not any(Path(dep).is_relative_to(path) for path in given)] == []
        recorded = set().union(*(paths_of(name, key, dataset) for key in ("outs", "metrics", "plots")))
        assert recorded == outputs


def test_the_report_reads_every_number() -> None:
    made = {left_numbers(name, dataset)[2] for name in STAGES if name not in NO_METRICS for dataset in datasets(name)}
    assert made == {f"plots/{table}" for table in report_stages.values()}
    assert made <= paths_of("build_report", "deps", "")


def test_there_is_a_card_of_every_model_and_dataset() -> None:
    recorded = {path for n in STAGES for d in datasets(n) for path in paths_of(n, "outs", d)}
    made = {path for path in recorded if path.startswith("models/")}
    assert made == {f"models/{model.name}" for model in MODELS}
    made |= {path for path in recorded if path.endswith(("videos", "trajectories.parquet")) or path == "data/actions"}
    made |= {f"plots/{table}" for table in report_stages.values()}
    assert made == {dep for dep in paths_of("write_cards", "deps", "") if not is_code(dep)}


def upstream(name: str) -> set[str]:
    """The stages whose outputs a stage reads, and theirs in turn."""
    made = {
        path: stage for stage in STAGES for dataset in datasets(stage)
        for key in ("outs", "metrics", "plots") for path in paths_of(stage, key, dataset)
    }
    read = {path for dataset in datasets(name) for path in paths_of(name, "deps", dataset)}
    direct = {made[path] for path in read if path in made} - {name}
    return direct.union(*map(upstream, direct))


def test_the_predictor_hangs_on_nothing_of_the_generator() -> None:
    """No change of the generator trains the predictor again, be it of params, data or code."""
    assert {"train_tokenizer", "extract_codes"} <= upstream("train_predictor")
    assert "train_generator" not in upstream("train_predictor")
    assert not [file for file in closure("stages/train_predictor.py", ROOT) if file.startswith("kinetoken/generation/")]


def out_path(entry: str | dict[str, Any]) -> str:
    return entry if isinstance(entry, str) else next(iter(entry))


def plot_definitions() -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and options of each top-level plot of dvc.yaml; a picture has no options."""
    for entry in PIPELINE["plots"]:
        yield (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))


def plotted() -> set[str]:
    """The files that the top-level plots draw."""
    return {path for name, options in plot_definitions() for path in options.get("y", [name])}


def test_plots_are_defined_in_one_place_and_drawn_from_files_in_git() -> None:
    """A file that a stage registers too would be drawn twice, the second time as DVC guesses."""
    assert not [name for name in STAGES if "plots" in body(name)]
    names = [name for name, _ in plot_definitions()]
    assert len(names) == len(set(names))
    recorded = {path for name in STAGES for dataset in datasets(name) for path in paths_of(name, "outs", dataset)}
    assert plotted() <= recorded, "dvc.yaml plots: a file that no stage writes"


def test_plots_name_columns_and_templates_that_are_there() -> None:
    used = {options["template"] for _, options in plot_definitions() if options}
    assert used == {path.stem for path in (ROOT / ".dvc" / "plots").glob("*.json")}
    for name, options in plot_definitions():
        for path, columns in options.get("y", {}).items():
            head = (ROOT / path).read_text(encoding="utf-8").splitlines()[0].split(",")
            wanted = {options["x"], *([columns] if isinstance(columns, str) else columns)}
            assert wanted <= set(head), f"{name}: {path} has no {wanted - set(head)}"
            assert options["x_label"] and options["y_label"], name


def test_every_model_is_an_artifact() -> None:
    models = {p for n in STAGES for d in datasets(n) for p in paths_of(n, "outs", d) if p.startswith("models/")}
    artifacts = PIPELINE["artifacts"]
    assert {entry["path"] for entry in artifacts.values()} == models and len(artifacts) == len(models)
    for name, entry in artifacts.items():
        assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name), f"DVC takes no artifact named {name}"
        assert entry["type"] == "model" and entry["desc"] and entry["labels"]


# ---- files that must stay as plain as they are


def test_params_are_plain() -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert "${" not in text
    assert not re.search(r":\s+[-+]?\d+(\.\d*)?[eE]", text), "write 0.001, not 1e-3: YAML reads that as text"


def test_no_tracked_file_names_this_machine_or_an_index() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")
    folders = b"|".join(re.escape(f"{folder}/".encode()) for folder in (ROOT, Path.home()))
    absolute = re.compile(rb"(?<![\w.~/-])(" + folders + rb")")
    for name in filter(None, listed):
        path = ROOT / name
        if path.is_file() and path.stat().st_size < 2**20:
            assert not absolute.search(path.read_bytes()), f"{name} names a path of this machine"
    assert "://" not in (ROOT / "requirements.txt").read_text(encoding="utf-8")


# ---- what is committed was computed by what is committed


def test_lock_is_fresh() -> None:
    changes = stale(ROOT)
    told = "\n".join(f"  {stage}: {what} {how}" for stage, each in changes.items() for what, how in each.items())
    assert not changes, f"dvc.lock does not describe this tree; run make repro (or make relock) and commit:\n{told}"


def committed(path: str) -> dict[str, float]:
    """Dotted names and numbers of a committed JSON file."""
    def leaves(node: dict[str, Any], where: str) -> Iterator[tuple[str, Any]]:
        for key, value in node.items():
            yield from leaves(value, f"{where}{key}.") if isinstance(value, dict) else [(where + key, value)]

    return dict(leaves(json.loads((ROOT / path).read_text(encoding="utf-8")), ""))


@pytest.mark.parametrize("name", sorted(set(STAGES) - NO_METRICS))
def test_committed_metrics_are_numbers(name: str) -> None:
    """At most 25 in a short file, the contract among them; all of them, and every headline's, as in the table."""
    for dataset in datasets(name):
        short, folder, table = left_numbers(name, dataset)
        numbers, every = committed(short), read_numbers(ROOT / table)
        assert 0 < len(numbers) <= 25 and all(type(number) in (int, float) for number in numbers.values()), short
        assert numbers.items() <= every.items()
        for key in CONTRACT.get(name, ()):
            assert any(fnmatch(found, key) for found in numbers), f"{short}: no {key}"
        files = list((ROOT / folder).iterdir())
        assert 5 <= len(files) <= 21
        for file in files:
            headline = committed(f"{folder}/{file.name}")
            ends = {"value": "", **{column: end for end, column in BESIDE.items()}}
            assert headline == {
                column: every[file.stem + end] for column, end in ends.items() if file.stem + end in every
            }


def test_dvc_shows_a_narrow_table_of_headlines() -> None:
    command = [str(Path(sys.executable).parent / "dvc"), "metrics", "show"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert 100 < len(lines) <= 300 and max(map(len, lines)) <= 160
    assert lines[0].split() == ["Path", "baseline", "ci95_high", "ci95_low", "upper_bound", "value"]


# ---- the whole pipeline, tiny, for real


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which the pipeline ran from nothing with the smoke profile."""
    folder = tmp_path_factory.mktemp("smoke") / "one"
    clone(ROOT, folder)
    run_all([folder])
    return folder


def dvc(folder: Path, *words: str) -> str:
    """The output of a dvc command that must succeed."""
    log = folder / "run_info" / "dvc.log"
    code = dvc_process(folder, *words, log=log).wait()
    text = log.read_text(encoding="utf-8")
    assert code == 0, text
    return text


def reran(output: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", output))


def test_the_scripts_alone_leave_the_same_bytes(smoke: Path) -> None:
    """Every stage again from nothing, in another folder, by its script alone, with no DVC."""
    hashes = output_hashes(smoke)
    assert "plots/report.html" in hashes and "models/tokenizer/model.safetensors" in hashes
    alone = smoke.with_name("alone")
    clone(ROOT, alone)
    commands = [entry["cmd"] for entry in read_yaml(smoke / "dvc.lock")["stages"].values()]  # as they ran
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.stages_alone"], input="\n".join(commands), cwd=alone,
        env=environment(alone), capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
    shutil.copy2(smoke / "dvc.lock", alone)  # the list of outputs to compare
    assert differences(smoke, alone) == []


def test_every_stage_ends_done(smoke: Path) -> None:
    for name in STAGES:
        for dataset in datasets(name):
            label = f"{name}_{dataset}".rstrip("_")
            status = json.loads((smoke / "run_info" / label / "status.json").read_text(encoding="utf-8"))
            assert (status["state"], status["reason"]) == ("done", None)


def test_nothing_changed_nothing_reruns(smoke: Path) -> None:
    output = dvc(smoke, "repro")
    assert "up to date" in output and not reran(output)


def test_two_experiments_can_be_left_out(smoke: Path) -> None:
    """Early decisions and GASM-CAST: their stages are done and say why they are empty, and all others go on."""
    folder = smoke.with_name("left_out")
    shutil.copytree(smoke, folder)
    (folder / "profiles/left_out.yaml").write_text(
        "generate_trajectories: {persistence: {enabled: false}}\ngenerate_actions: {enabled: false}\n", encoding="utf-8"
    )
    overlay(folder / "profiles/left_out.yaml", folder / "params.yaml")
    emptied = {
        "generate_trajectories@persistence", "render_videos@persistence", "extract_codes@persistence",
        "detect_persistence", "generate_actions", "train_gasm_cast",
    }
    assert reran(dvc(folder, "repro")) == emptied | {"describe_motion", "build_report", "write_cards"}
    candidates = "left out by params.yaml: generate_trajectories.persistence.enabled is false"
    actions = "left out by params.yaml: generate_actions.enabled is false"
    for stage in emptied:
        name, _, dataset = stage.partition("@")
        reason = actions if name in ("generate_actions", "train_gasm_cast") else candidates
        for path in paths_of(name, "outs", dataset) | paths_of(name, "metrics", dataset):
            place = folder / path
            assert place.exists()
            if place.suffix not in (".md", ".png", ".jsonl"):  # these say it to people
                told = "these data allow no such result" if path.startswith("metrics") else reason
                assert why_absent(place) == told, path
    text = (folder / "plots/build_report/report.md").read_text(encoding="utf-8").replace("\\_", "_")
    assert text.count(f"Not measured: {candidates}.") >= 2 and text.count(f"Not measured: {actions}.") == 2
    cards = (folder / "plots/cards/README.md").read_text(encoding="utf-8").replace("\\_", "_")
    assert f"| `models/gasm_cast` | {actions} |" in cards and f"| `models/persistence` | {candidates} |" in cards
    numbers = read_numbers(folder / "plots/describe_motion/numbers.csv")
    assert "equation_correct" in numbers and "reasons_correct" not in numbers


def imported_by(name: str, folder: Path) -> set[str]:
    """The project's files that a stage had really imported when its run ended."""
    labels = [f"{name}_{dataset}".rstrip("_") for dataset in datasets(name)]
    lists = [(folder / "run_info" / label / "imported.json").read_text(encoding="utf-8") for label in labels]
    return {file for each in lists for file in json.loads(each)}


def test_an_edited_module_changes_the_stages_that_import_it(
    smoke: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A constant is edited in every module in turn; the stages whose hash changes are those that may run it."""
    imported = {name: imported_by(name, smoke) for name in STAGES}
    plain = fingerprints._file_hash
    before = {name: fingerprints.fingerprint(f"stages/{name}.py", ROOT) for name in STAGES}
    closures = {name: closure(f"stages/{name}.py", ROOT) for name in STAGES}
    monkeypatch.setattr(fingerprints, "closure", lambda script, root: closures[Path(script).stem])  # found once
    for path in sorted((ROOT / "kinetoken").rglob("*.py")):
        edited = fingerprints.tree_hash(path.read_text(encoding="utf-8") + "\nEDITED = 1\n")
        monkeypatch.setattr(fingerprints, "_file_hash", lambda file, p=path, e=edited: e if file == p else plain(file))
        changed = {name for name in STAGES if fingerprints.fingerprint(f"stages/{name}.py", ROOT) != before[name]}
        module = path.relative_to(ROOT).as_posix()
        assert {name for name in STAGES if module in imported[name]} <= changed, module
        assert changed == {name for name in STAGES if module in closures[name]}, module


def test_one_param_reruns_its_stage_and_its_readers(smoke: Path) -> None:
    epochs = yaml.safe_load((smoke / "params.yaml").read_text(encoding="utf-8"))["train_classifier"]["epochs"] + 1
    output = dvc(smoke, "exp", "run", "-S", f"train_classifier.epochs={epochs}")
    assert reran(output) == {
        "train_classifier", "explain_classifier", "read_motion", "describe_motion", "build_report", "write_cards",
    }
    params = smoke / "params.yaml"
    assert load_params(params, "train_classifier", params_class("train_classifier")).epochs == epochs
    for name in STAGES:
        for dataset in datasets(name):
            load_params(params, f"{name}.{dataset}".rstrip("."), params_class(name))


def test_a_users_tracks_rerun_what_reads_them(smoke: Path) -> None:
    import pandas as pd

    tracks = pd.read_parquet(smoke / "data/motion/trajectories.parquet").drop(columns="t")
    tracks.to_csv(smoke / "data/sources/mine.csv", index=False)
    params = smoke / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("sources/synthetic.csv", "sources/mine.csv", 1))
    first = {"generate_trajectories@motion", "render_videos@motion"}
    assert reran(dvc(smoke, "repro", "render_videos@motion")) == first
    tracks["z"] += 0.01  # the user edits the file
    tracks.to_csv(smoke / "data/sources/mine.csv", index=False)
    assert set(json.loads(dvc(smoke, "status", "--json", "generate_trajectories@motion"))) == {
        "generate_trajectories@motion"
    }
    assert reran(dvc(smoke, "repro", "render_videos@motion")) == first
    readers = {name for name in STAGES for d in datasets(name) if "data/motion/videos" in paths_of(name, "deps", d)}
    changed = {name.split("@")[0] for name in json.loads(dvc(smoke, "status", "--json", "dvc.yaml"))}
    assert len(readers) >= 4 and readers <= changed
