"""The public face: every name resolves, is described to type checkers, and has an example that runs."""

import ast
import doctest
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import kinetoken
from tests.support.declared import run_with_core_alone
from tests.support.models import working_folder

PACKAGE = Path(kinetoken.__file__).parent
NAMES = sorted(set(kinetoken.__all__) - {"__version__"})


@pytest.fixture(scope="module")
def folder(tiny_data: Path, coded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return working_folder(tiny_data, coded, tmp_path_factory.mktemp("public"))


@pytest.mark.parametrize("name", NAMES)
def test_every_name_has_an_example_that_runs(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    value = getattr(kinetoken, name)
    assert value is getattr(import_module(kinetoken._LOADERS[name]), name)
    test = doctest.DocTestParser().get_doctest(value.__doc__ or "", {}, name, None, 0)
    assert test.examples, f"the docstring of {name} holds no example"
    said: list[str] = []
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append).failed == 0, "".join(said)


def test_type_checkers_see_the_names_that_are_there() -> None:
    """Each line of the stub is `from MODULE import NAME as NAME`, as the table has it."""
    found = {}
    for node in ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8")).body:
        assert isinstance(node, ast.ImportFrom) and len(node.names) == 1 and node.names[0].name == node.names[0].asname
        found[node.names[0].name] = node.module
    assert found == kinetoken._LOADERS


def test_the_table_is_in_order() -> None:
    assert list(kinetoken._LOADERS) == sorted(kinetoken._LOADERS)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'kinetoken' has no attribute 'load_nothing'"):
        kinetoken.load_nothing  # noqa: B018


def test_importing_the_package_imports_nothing_beside_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import kinetoken\n"
        "print([name for name in set(sys.modules) - before if name.split('.')[0] not in sys.stdlib_module_names])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert done.stdout == "['kinetoken']\n"


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("load_")])
def test_a_folder_that_is_no_model_is_one_sentence(name: str, tmp_path: Path) -> None:
    for place in (tmp_path, str(tmp_path / "absent")):
        with pytest.raises(kinetoken.UserError, match="not a model folder"):
            getattr(kinetoken, name)(place)


def test_saved_models_need_the_core_alone(folder: Path) -> None:
    """All but GASM-CAST, whose backbones are timm's and torchvision's; that it says."""
    code = """
import kinetoken
codes = kinetoken.read_codes("data/motion/codes.parquet").codes[:2]
for name in ("tokenizer", "video_classifier", "i3d_magvit"):
    getattr(kinetoken, "load_" + name)("models/" + name)
print(kinetoken.load_classifier("models/classifier").log_probabilities(codes).shape)
print(kinetoken.load_position_head("models/position").positions(codes).shape)
print(kinetoken.load_predictor("models/predictor").predict(codes[:, :3]).shape)
print(kinetoken.load_generator("models/generator").sample("masked", "linear", 1, 0).shape)
print(kinetoken.OnlineDetector.load("models/persistence/transformer").under_way)
try:
    kinetoken.load_gasm_cast("models/gasm_cast")
except kinetoken.UserError as error:
    print(error)
"""
    said = run_with_core_alone(code, folder)
    assert said[:5] == ["(2, 4)", "(2, 16, 3)", "(2, 1, 8, 8)", "(1, 4, 8, 8)", "0"]
    assert "pip install 'kinetoken[pipeline]'" in said[5]
