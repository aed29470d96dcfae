"""The package: what is imported is declared and the other way round, what a wheel holds, and what the core needs."""

import dataclasses
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from kinetoken.core.errors import UserError
from kinetoken.core.extras import EXTRAS, naming_extras
from kinetoken.core.version import __version__
from kinetoken.diagnosis.api import DEFAULT
from tests.support.declared import NAMES, ROOT, beyond_core, declared, imports, normal, run_with_core_alone

# whose modules are imported only where the extra is there
EXTRA_ROOMS = {"backbones": "pipeline", "llm": "llm", "serving": "serve"}
NEVER_IMPORTED = {  # tools that are run, plugins, stubs, what setuptools needs
    "build", "mypy", "pandas-stubs", "pytest-cov", "pytest-timeout", "pytest-xdist", "ruff", "setuptools",
    "types-pyyaml",
}
DECLARED = declared()


def test_what_the_library_imports_is_declared() -> None:
    """At once: in the core, or the extra of the room. Inside functions: in the core, or an extra that is named."""
    found = list(imports("kinetoken"))
    assert {"torch", "numpy", "timm", "openai", "sklearn"} <= {one.package for one in found}
    for one in found:
        room = one.path.parts[1]
        extra = EXTRA_ROOMS.get(room) if one.at_once else EXTRAS.get(one.package)
        allowed = DECLARED[""] | DECLARED.get(extra or "", set())
        assert one.distribution in allowed, f"{one.path}:{one.line} imports {one.package}, not declared for it"


@pytest.mark.parametrize("folder", ["stages", "tools", "studies", "tests"])
def test_what_the_rest_imports_is_declared(folder: str) -> None:
    everything = set().union(*DECLARED.values())
    for one in imports(folder):
        assert one.distribution in everything, f"{one.path}:{one.line} imports {one.package}, declared nowhere"


def test_what_is_declared_is_imported() -> None:
    library = {one.distribution for one in imports("kinetoken")}
    others = {one.distribution for folder in ("stages", "tools", "studies", "tests") for one in imports(folder)}
    assert not DECLARED[""] - library
    assert not set().union(*DECLARED.values()) - library - others - NEVER_IMPORTED
    assert NEVER_IMPORTED <= DECLARED["dev"]


def test_messages_name_the_extra_that_holds_a_package() -> None:
    for extra in DECLARED.keys() - {"", "dev"}:
        assert {normal(NAMES.get(each, each)) for each in EXTRAS if EXTRAS[each] == extra} == DECLARED[extra]
    with pytest.raises(UserError, match=r"the package timm, .* pip install 'kinetoken\[pipeline\]'"), naming_extras():
        raise ModuleNotFoundError(name="timm.models")
    with pytest.raises(ModuleNotFoundError), naming_extras():
        raise ModuleNotFoundError(name="unheard_of")


def test_the_lock_pins_all_that_is_declared_and_names_no_address() -> None:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    pins = {normal(line.partition("==")[0]) for line in text.splitlines() if re.match(r"\w", line)}
    assert all("==" in line for line in text.splitlines() if re.match(r"\w", line))
    assert not set().union(*DECLARED.values()) - pins
    assert "://" not in text


def test_the_wheel_holds_the_library_and_the_command(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT / "kinetoken", source / "kinetoken", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("stages", "tools", "tests", "studies"):
        (source / folder).mkdir()
        (source / folder / "__init__.py").touch()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
        entry = wheel.read(f"kinetoken-{__version__}.dist-info/entry_points.txt").decode()
    there = {path.relative_to(source).as_posix() for path in (source / "kinetoken").rglob("*") if path.is_file()}
    assert held == there
    assert {"kinetoken/py.typed", "kinetoken/__init__.pyi", "kinetoken/charts/templates/page.html.j2"} <= held
    assert entry == "[console_scripts]\nkinetoken = kinetoken.cli:app\n"


def test_the_doctor_needs_the_core_alone(tmp_path: Path) -> None:
    assert {"PIL", "dvc", "dvclive", "matplotlib", "openai", "timm", "torchvision"} <= set(beyond_core())
    quick = dataclasses.replace(DEFAULT, probe=dataclasses.replace(DEFAULT.probe, epochs=1, width=8, heads=2))
    (tmp_path / "quick.yaml").write_text(yaml.safe_dump({"diagnose_codes": dataclasses.asdict(quick)}))
    code = """
import kinetoken, numpy as np, sys
codes = np.random.default_rng(0).integers(0, 8, (120, 2, 2, 2))
label = np.array(["left", "right"])[np.arange(120) % 2]
clips = np.zeros((120, 4, 16, 16), np.uint8)
latents = codes.astype(np.float32)
kinetoken.diagnose(codes, labels=label, clips=clips, latents=latents, params="quick.yaml", threads=1, out="report")
np.savez("codes.npz", codes=codes, label=label)
from kinetoken.cli import app
for words in (["--clips", "absent.npy"], ["--params", "quick.yaml", "--threads", "1", "--out", "again", "--json"]):
    try:
        app(["diagnose", "codes.npz", "--quiet", *words])
    except SystemExit as ended:
        print("exit", ended.code)
print([name for name in ("av", "dvc", "dvclive", "openai", "timm", "torchvision") if name in sys.modules])
"""
    said = run_with_core_alone(code, tmp_path)
    assert said[:2] == ["exit 1", "{"] and said[-2:] == ["exit 0", "[]"]
    assert (tmp_path / "report" / "report.html").exists() and (tmp_path / "again" / "report.json").exists()
