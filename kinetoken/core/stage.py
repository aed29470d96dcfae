"""A stage's process: flags, lock, progress, and outputs that appear whole or not at all.

A stage script declares its files in a frozen dataclass and hands its `run` to `run_stage`::

    @dataclass(frozen=True)
    class Paths:
        codes: Annotated[Path, Input("codes table")] = Path("data/motion/codes.parquet")
        model: Annotated[Path, Output("the trained head")] = Path("models/classifier")
        metrics: Annotated[Path, Output("headline numbers")] = Path("metrics/train_classifier.json")
        headlines: HeadlineFolder = Path("metrics/train_classifier")
        numbers: NumbersTable = Path("plots/train_classifier/numbers.csv")

    def run(params: ClassifierParams, paths: Paths, context: Context) -> None: ...

Every field becomes a flag (`--codes`), so the script runs with no DVC and with other files. `run`
sees each output under a temporary name beside its place; all are moved there when it returns, and
none if it fails. Where the data allow no result, `run` raises `NotMeasured`, and each output says why
it is empty; `metrics` and `headlines`, which hold numbers only, say that it is. Fields without Input or
Output (`export: int = 0`) become plain flags.
"""

import argparse
import dataclasses
import fcntl
import hashlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO, TypeVar, get_args, get_origin

import psutil

from kinetoken.core.absence import NotMeasured, why_absent, write_absent
from kinetoken.core.artifacts import hash_path, write_json
from kinetoken.core.errors import UserError, of_the_machine
from kinetoken.core.log import logged
from kinetoken.core.params import Positive, load_params
from kinetoken.core.progress import Progress
from kinetoken.core.schedule import place
from kinetoken.core.terminal import close_streams, open_streams, tell

P = TypeVar("P")
F = TypeVar("F")

ORPHAN_CHECK_SECONDS = 1.0
ORPHAN_GRACE_SECONDS = 20.0


@dataclasses.dataclass(frozen=True)
class Input:
    """A file or folder that the stage reads; it must exist before any work starts.

    optional: the stage has work to do also where the file only says why it is empty (`kinetoken.core.absence`). Else
    its outputs say the same.
    """

    help: str
    optional: bool = False


@dataclasses.dataclass(frozen=True)
class Output:
    """A file or folder that the stage writes whole."""

    help: str


@dataclasses.dataclass(frozen=True)
class Beside:
    """Where a path goes that is not given while the path `flag` is: to the same name with another ending.

    A stage that is run with `--metrics elsewhere/metrics.json` alone so writes nothing over what the default run left.
    """

    flag: str
    ending: str  # empty: the name without an ending, for a folder

    @property
    def help(self) -> str:
        return f"where only --{self.flag} is given, beside that"


FOR_METRICS = ("metrics", "headlines")  # fields of outputs that hold numbers only, for `dvc metrics` and programs
# what every stage with numbers declares beside `metrics`: see `kinetoken.core.numbers`
HeadlineFolder = Annotated[Path, Output("a small file a headline, for dvc metrics"), Beside("metrics", "")]
NumbersTable = Annotated[Path, Output("every number in one table"), Beside("metrics", ".csv")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hardware:
    """Section `hardware`: what Lightning Fabric and PyTorch run on, shared by all stages."""

    accelerator: Literal["auto", "cpu", "cuda"]
    devices: Positive
    strategy: Literal["auto", "ddp"] = "auto"
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"]  # auto: bf16 on a GPU, else 32 bit
    threads: Positive  # of PyTorch on the CPU; part of what makes a result repeatable to the bit


CPU = Hardware(accelerator="cpu", devices=1, strategy="auto", precision="32-true", threads=2)


@dataclasses.dataclass(frozen=True)
class Context:
    """What surrounds a run: progress, hardware, and where a crashed run may be resumed from."""

    progress: Progress
    hardware: Hardware = CPU
    run_info: Path | None = None  # untracked notes of this run: times, curves while they grow
    checkpoints: Path | None = None  # None: no checkpoints; else a folder bound to params and inputs

    @classmethod
    def silent(cls) -> "Context":
        """A context that leaves no trace, for tests and notebooks."""
        return cls(progress=Progress.silent())


def run_stage(
    run: Callable[[P, F, Context], None],
    params_class: type[P],
    paths_class: type[F],
    *,
    hardware: bool = False,
    argv: Sequence[str] | None = None,
) -> int:
    """Run a stage from its command line; the exit code: 0, 1 after one clear message, 128 + signal if stopped.

    `hardware` says that the stage reads params section `hardware` too (dvc.yaml must then list it).
    """
    open_streams()
    try:
        return _run_stage(run, params_class, paths_class, hardware, argv)
    finally:
        close_streams()


def _run_stage(
    run: Callable[[P, F, Context], None], params_class: type[P], paths_class: type[F], hardware: bool,
    argv: Sequence[str] | None,
) -> int:
    name = Path(sys.modules[run.__module__].__file__ or run.__module__).stem
    options = _parse(name, run.__module__, paths_class, argv)
    label = options.section.replace(".", "_")
    run_info = Path(options.run_info) / label
    leader = int(os.environ.get("LOCAL_RANK", "0")) == 0
    signal.signal(signal.SIGTERM, _stop)
    try:
        began = _end_with_dvc()
        here = place(label, Path("dvc.yaml"), run_info.parent, began) if began is not None and leader else None
        with (
            _only_one(run_info / "lock", label), logged(run_info / "log.txt" if leader else None),
            Progress(label, run_info if leader else None, place=here) as progress,
        ):
            params = load_params(options.params, options.section, params_class)
            chosen = load_params(options.params, "hardware", Hardware) if hardware else CPU
            paths = _given_paths(paths_class, options)
            _check_inputs(paths)
            checkpoints = Path(".ckpt") / label / _fingerprint(run, params, chosen, paths)
            with _staged(paths, keep=leader) as staged:
                _run_or_say_why_not(run, params, staged, Context(progress, chosen, run_info, checkpoints))
            if leader:
                with suppress(OSError):  # a note; the outputs stand
                    write_json(run_info / "imported.json", imported_files())
                shutil.rmtree(checkpoints.parent, ignore_errors=True)
    except UserError as error:
        tell(f"error: {name}: {error}")
        return 1
    except Exception as error:
        if (message := of_the_machine(error)) is None:
            raise
        tell(f"error: {name}: {message}; earlier outputs are untouched, and the stage can be run again")
        return 1
    except Stopped as error:
        tell(f"error: {name}: {error}")
        return 128 + error.signum
    except KeyboardInterrupt:
        tell(f"error: {name}: interrupted")
        return 128 + signal.SIGINT
    return 0


def _run_or_say_why_not(run: Callable[[P, F, Context], None], params: P, paths: F, context: Context) -> None:
    """Run the stage; where the data, or an input that is empty for a reason, allow no result, write that reason."""
    try:
        for path in marked_paths(paths, Input, only=lambda mark: not mark.optional).values():
            if reason := why_absent(path):
                raise NotMeasured(reason)
        run(params, paths, context)
    except NotMeasured as absent:
        context.progress.say(f"not measured: {absent}")
        for name, path in marked_paths(paths, Output).items():
            _remove(path)
            write_absent(path, str(absent), metrics=name in FOR_METRICS)


def imported_files() -> list[str]:
    """The project's own files that this process has imported, relative to the project's folder."""
    root = Path(__file__).parents[2]
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    ours = (Path(file) for file in files if file is not None and Path(file).is_relative_to(root))
    return sorted({path.relative_to(root).as_posix() for path in ours if ".venv" not in path.parts})


def _parse(name: str, module: str, paths_class: type[Any], argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m stages.{name}", description=sys.modules[module].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--params", default="params.yaml", help="parameter file (default: params.yaml)")
    parser.add_argument("--section", default=name, help=f"its section (default: {name})")
    parser.add_argument("--run-info", default="run_info", help="where status and notes go (default: run_info)")
    hints = typing.get_type_hints(paths_class, include_extras=True)
    for field in dataclasses.fields(paths_class):
        kind, marks = _unwrap(hints[field.name])
        required = field.default is dataclasses.MISSING
        parser.add_argument(
            "--" + field.name.replace("_", "-"), type=kind, required=required,
            default=None if required or _beside(marks) else field.default, metavar=kind.__name__.upper(),
            help="; ".join(mark if isinstance(mark, str) else mark.help for mark in marks)
            + ("" if required else f" (default: {field.default})"),
        )
    return parser.parse_args(argv)


def _unwrap(hint: Any) -> tuple[type, tuple[Any, ...]]:  # noqa: ANN401 - a type hint is any object
    if get_origin(hint) is Annotated:
        kind, *marks = get_args(hint)
        return kind, tuple(marks)
    return hint, ()


def _beside(marks: tuple[Any, ...]) -> Beside | None:
    return next((mark for mark in marks if isinstance(mark, Beside)), None)


def _given_paths(paths_class: type[F], options: argparse.Namespace) -> F:
    """The paths of the command line. Raises UserError for a path without an ending that another should go beside."""
    hints = typing.get_type_hints(paths_class, include_extras=True)
    defaults = {field.name: field.default for field in dataclasses.fields(paths_class)}  # type: ignore[arg-type]
    given = {name: getattr(options, name) for name in defaults}
    for name, value in given.items():
        mark = _beside(_unwrap(hints[name])[1])
        if value is None and mark is not None:
            place = given[mark.flag]
            if place == defaults[mark.flag]:
                given[name] = defaults[name]
            elif place.suffix in ("", mark.ending):
                raise UserError(f"--{mark.flag} {place}: name a .json file, or give --{name.replace('_', '-')} too")
            else:
                given[name] = place.with_suffix(mark.ending)
    return paths_class(**given)


M = TypeVar("M", Input, Output)


def marked_paths(
    paths: object, mark: type[M], only: Callable[[M], bool] = lambda found: True
) -> dict[str, Path]:
    """The fields of a Paths dataclass that carry the mark, name to path; `only` those whose mark it holds for."""
    hints = typing.get_type_hints(type(paths), include_extras=True)
    return {
        name: getattr(paths, name)
        for name, hint in hints.items()
        if any(isinstance(m, mark) and only(m) for m in _unwrap(hint)[1])
    }


def _check_inputs(paths: object) -> None:
    for name, path in marked_paths(paths, Input).items():
        if not path.exists():
            raise UserError(f"--{name.replace('_', '-')} {path}: no such file or folder; name another, or run "
                "the stage that makes it")
        if not (path.is_file() or path.is_dir()):  # to read it could take forever
            raise UserError(f"--{name.replace('_', '-')} {path}: a pipe or a device, not a file or folder")


def _fingerprint(run: Callable[..., None], params: object, hardware: Hardware, paths: object) -> str:
    """Hash of everything a run depends on: a checkpoint is resumed only by the very same run."""
    script = Path(sys.modules[run.__module__].__file__ or "")
    digest = hashlib.sha256(repr((script.name, params, hardware)).encode() + script.read_bytes())
    for key, path in sorted(marked_paths(paths, Input).items()):
        digest.update(f"{key}={hash_path(path)}".encode())
    for source in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _staged(paths: F, *, keep: bool) -> Iterator[F]:
    """The paths with each output under a temporary name; moved into place only if all went well."""
    outputs = marked_paths(paths, Output)
    if not keep:  # a further rank of a distributed run: what it writes is thrown away
        with tempfile.TemporaryDirectory() as folder:
            yield dataclasses.replace(paths, **{n: Path(folder) / p.name for n, p in outputs.items()})  # type: ignore[type-var]
        return
    partial = {name: path.with_name(f".partial-{path.name}") for name, path in outputs.items()}
    try:
        for name, path in partial.items():
            _remove(path)
            outputs[name].parent.mkdir(parents=True, exist_ok=True)
        yield dataclasses.replace(paths, **partial)  # type: ignore[type-var]
        if missing := [str(outputs[name]) for name, path in partial.items() if not path.exists()]:
            raise RuntimeError(f"the stage did not write {', '.join(missing)}")
        _move({path: outputs[name] for name, path in partial.items()})
    finally:
        for path in partial.values():
            _remove(path)


def _move(moves: Mapping[Path, Path]) -> None:
    """Put new outputs in the places of old ones, or leave all old ones where that fails.

    All old ones leave before the first new one comes: a kill in between leaves outputs missing, which the next stage
    tells, and never old ones beside new ones.
    """
    before = {path: partial.with_name(f"{partial.name}.before") for partial, path in moves.items()}
    for kept in before.values():
        _remove(kept)
    try:
        for path, kept in before.items():
            if os.path.lexists(path):
                os.replace(path, kept)
        for partial, path in moves.items():
            os.replace(partial, path)
    except BaseException:
        for path, kept in before.items():
            if os.path.lexists(kept):
                _remove(path)
                os.replace(kept, path)
        raise
    for kept in before.values():
        _remove(kept)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _only_one(lock: Path, label: str) -> Iterator[None]:
    """Hold the stage's lock; UserError naming the holder if another process has it."""
    if int(os.environ.get("LOCAL_RANK", "0")) > 0:
        yield
        return
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as handle:
        _take(handle, label)
        with suppress(OSError):  # a full disk: the lock is held all the same, and its holder has no name
            handle.truncate(0)
            os.write(handle.fileno(), str(os.getpid()).encode())
        yield


def _take(handle: TextIO, label: str) -> None:
    """Lock the file; UserError if its holder lives. Workers of a killed one hold it too, and end soon after it."""
    until = time.monotonic() + ORPHAN_GRACE_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            handle.seek(0)
            holder = handle.read().strip()
        if not holder.isdecimal() or _alive(int(holder)):
            raise UserError(f"{label} is already running here as process {holder or '?'}")
        if time.monotonic() > until:
            raise UserError(f"{label} is locked by process {holder}, which is not here: it runs on another machine, or "
                "was killed and what it started still works")
        time.sleep(0.1)


def _end_with_dvc() -> float | None:
    """End this process when the `dvc` that started it is gone: DVC, killed, leaves its stage running.

    The Unix time at which that `dvc` began; None where there is none. Raises UserError if it has gone already.
    """
    if "DVC_STAGE" not in os.environ:  # DVC sets it for the commands it runs
        return None
    commands = [(parent, _command(parent)[:4]) for parent in psutil.Process().parents()]
    dvc = next((parent for parent, words in commands if any(Path(word).name == "dvc" for word in words)), None)
    if dvc is None:
        if any(words and Path(words[0]).name.startswith("python") for _, words in commands):
            return None  # a program that runs stages by DVC's Python interface
        raise UserError("the dvc that started this stage has ended")

    def end_with_it() -> None:
        while _alive(dvc):
            time.sleep(ORPHAN_CHECK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_GRACE_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)  # a long library call did not let the signal through

    threading.Thread(target=end_with_it, daemon=True, name="orphan-watch").start()
    return float(dvc.create_time())


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _alive(process: psutil.Process | int) -> bool:
    try:
        found = psutil.Process(process) if isinstance(process, int) else process
        return bool(found.is_running() and found.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


class Stopped(BaseException):
    """The process was asked to end; like KeyboardInterrupt, no `except Exception` holds it up."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


def _stop(signum: int, frame: object) -> None:
    raise Stopped(signum)
