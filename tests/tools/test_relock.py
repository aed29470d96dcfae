"""What is stale, and edits that change no result, in a toy project."""

import shutil
from pathlib import Path

import pytest

from kinetoken.core.errors import UserError
from kinetoken.core.params import read_yaml
from tests.tools.conftest import repro
from tools.relock import relock, stale
from tools.smoke import dvc_process, git


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def test_fresh_here_and_in_a_fresh_clone(toy: Path, tmp_path: Path) -> None:
    assert stale(toy) == {}
    git(tmp_path, "clone", "--quiet", str(toy), "clone")
    assert not (tmp_path / "clone/data/out.txt").exists()
    assert stale(tmp_path / "clone") == {}


@pytest.mark.parametrize("file, text, stage, what", [
    ("stages/double.py", "# note\n", "double", "stages/double.py"),
    ("data/in.txt", "more", "double", "data/in.txt"),
    ("metrics/count.json", " ", "count", "metrics/count.json"),
    ("plots/count/words.csv", "2,4\n", "count", "plots/count"),
])
def test_changed_files_are_stale_even_without_data(
    toy: Path, tmp_path: Path, file: str, text: str, stage: str, what: str
) -> None:
    git(tmp_path, "clone", "--quiet", str(toy), "clone")
    append(tmp_path / "clone" / file, text)
    assert stale(tmp_path / "clone") == {stage: {what: "modified"}}


def test_params_commands_and_missing_metrics_are_stale(toy: Path) -> None:
    (toy / "params.yaml").write_text("double:\n  times: 6\n")
    pipeline = (toy / "dvc.yaml").read_text()
    (toy / "dvc.yaml").write_text(pipeline.replace("python -m stages.count", "python -m stages.count --more"))
    (toy / "metrics/count.json").unlink()
    assert stale(toy) == {
        "double": {"params.yaml:double": "modified"},
        "count": {"metrics/count.json": "deleted", "command": "changed"},
    }


def test_a_lock_that_contradicts_itself_is_stale(toy: Path) -> None:
    (toy / "data/in.txt").write_text("other ")
    assert dvc_process(toy, "repro", "double").wait() == 0
    shutil.rmtree(toy / ".dvc/cache")
    (toy / "data/out.txt").unlink()
    assert stale(toy) == {"count": {"data/out.txt": "made anew since"}}


def test_relock_records_a_comment_without_a_rerun(toy: Path) -> None:
    append(toy / "stages/double.py", "# a comment\n")
    append(toy / "stages/count.py", "# another\n")
    assert relock(toy) == ["count", "double"]
    assert stale(toy) == {}
    assert "up to date" in repro(toy)
    assert relock(toy) == []


def test_hashes_of_code_are_no_results(toy: Path) -> None:
    """A stage whose outputs are hashes of the code writes others after every edit."""
    (toy / "stages/mark.py").write_text(
        "import hashlib, pathlib\npathlib.Path('code').mkdir(exist_ok=True)\n"
        "content = pathlib.Path('stages/count.py').read_bytes()\n"
        "pathlib.Path('code/count.txt').write_text(hashlib.md5(content).hexdigest())\n"
    )
    pipeline = (toy / "dvc.yaml").read_text().replace("plots:\n  - plots", (
        "  mark:\n    cmd: python -m stages.mark\n    deps: [stages/mark.py, stages/count.py]\n"
        "    outs: [code/count.txt: {cache: false}]\nplots:\n  - plots"
    ))
    (toy / "dvc.yaml").write_text(pipeline)
    repro(toy)
    git(toy, "add", "--all")
    git(toy, "commit", "--quiet", "--message", "hashes of code")
    append(toy / "stages/count.py", "# a comment\n")
    assert relock(toy) == ["count", "mark"]


def test_relock_works_in_a_clone_without_data(toy: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(toy), "clone")
    clone = tmp_path / "clone"
    append(clone / "stages/double.py", "# a comment\n")
    before = read_yaml(clone / "dvc.lock")["stages"]
    assert relock(clone) == ["double"]
    assert stale(clone) == {}
    after = read_yaml(clone / "dvc.lock")["stages"]
    assert after["count"] == before["count"] and after["double"]["outs"] == before["double"]["outs"]
    assert after["double"]["deps"] != before["double"]["deps"]


def test_relock_refuses_what_changes_results(toy: Path) -> None:
    text = (toy / "stages/double.py").read_text()
    (toy / "stages/double.py").write_text(text.replace('f"{i} {text}"', 'f"{i}: {text}"'))
    lock = (toy / "dvc.lock").read_text()
    with pytest.raises(UserError) as error:
        relock(toy)
    assert "data/many/0.txt" in str(error.value) and "data/out.txt" not in str(error.value)
    assert (toy / "dvc.lock").read_text() == lock


def test_relock_refuses_more_than_code(toy: Path) -> None:
    append(toy / "stages/double.py", "# a comment\n")
    (toy / "params.yaml").write_text("double:\n  times: 6\n")
    with pytest.raises(UserError, match=r"double: params.yaml:double \(modified\)"):
        relock(toy)


def test_relock_refuses_a_base_that_the_lock_was_not_made_from(toy: Path) -> None:
    """An edit that was committed together with a lock that does not know it must not be compared with itself."""
    append(toy / "stages/double.py", "text = 1 / 0\n")
    append(toy / "dvc.lock", "# touched\n")
    git(toy, "commit", "--quiet", "--all", "-m", "edit")
    with pytest.raises(UserError, match="is not what dvc.lock was made from"):
        relock(toy)
