"""The closure of first-party imports, on a small made-up project."""

from pathlib import Path

import pytest

from kinetoken.core.errors import UserError
from tools.imports import closure, main

FILES = {
    "stages/go.py": "import numpy\nfrom kinetoken.a import thing\nfrom typing import TYPE_CHECKING\n"
    "if TYPE_CHECKING:\n    from kinetoken.never import x\n",
    "kinetoken/__init__.py": "from importlib import import_module\n_LOADERS = {'load_b': 'kinetoken.deep.b'}\n"
    "def __getattr__(name):\n    return import_module(_LOADERS[name])\n",
    "kinetoken/a.py": "def thing():\n    from kinetoken.deep import b\n    import kinetoken.c as c\n",
    "kinetoken/c.py": "from pathlib import Path\nPages = Path(__file__).parent / 'pages'\nword = 'deep'\n",
    "kinetoken/pages/deep/a.html": "<p>",
    "kinetoken/pages/b.css": "",
    "kinetoken/unnamed/c.css": "",
    "kinetoken/never.py": "",
    "kinetoken/deep/__init__.py": "",
    "kinetoken/deep/b.py": "from . import sibling\nfrom .sibling import name\nfrom ..late import other\n",
    "kinetoken/deep/sibling.py": "name = 1\n",
    "kinetoken/late.py": "import importlib\nother = importlib.import_module('kinetoken.dynamic')\n",
    "kinetoken/dynamic.py": "import kinetoken.a\n",
}
RIGHT = [
    "stages/go.py", "kinetoken/__init__.py", "kinetoken/a.py", "kinetoken/c.py", "kinetoken/deep/__init__.py",
    "kinetoken/deep/b.py", "kinetoken/deep/sibling.py", "kinetoken/dynamic.py", "kinetoken/late.py",
    "kinetoken/pages/b.css", "kinetoken/pages/deep/a.html",
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_closure_follows_lazy_relative_and_dynamic_imports(project: Path) -> None:
    assert closure("stages/go.py", project) == RIGHT


@pytest.mark.parametrize("line, fault", [
    ("from kinetoken import load_b", "stages/go.py:1: kinetoken.load_b is loaded lazily"),
    ("import kinetoken\nkinetoken.load_b('x')", "stages/go.py:2: kinetoken.load_b is loaded lazily"),
    ("import kinetoken.absent", "no module kinetoken.absent"),
    ("from kinetoken.deep.absent import x", "no module kinetoken.deep.absent"),
    ("import importlib\nimportlib.import_module('kinetoken.' + 'a')", "stages/go.py:2: module chosen at run time"),
])
def test_what_cannot_be_followed_is_an_error(project: Path, line: str, fault: str) -> None:
    (project / "stages/go.py").write_text(line + "\n")
    with pytest.raises(UserError, match=fault.replace(".", r"\.")):
        closure("stages/go.py", project)


def test_missing_script(project: Path) -> None:
    with pytest.raises(UserError, match="stages/none.py: no such file"):
        closure("stages/none.py", project)


def test_command_prints_the_list(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setattr("sys.argv", ["imports", "stages/go.py"])
    assert main() == 0
    assert capsys.readouterr().out.splitlines() == RIGHT
    monkeypatch.setattr("sys.argv", ["imports", "stages/none.py"])
    assert main() == 1
    assert "no such file" in capsys.readouterr().err
