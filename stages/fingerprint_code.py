"""One hash for each script's code, so that DVC reruns a stage when code that it runs changes, and only then.

Reads the folder of scripts and everything that they import of the project's own; writes a folder with one text file
a script, `train_classifier.txt` for `stages/train_classifier.py`, that holds the hash. A docstring, a comment or a file
that no script imports changes none of them. Runs alone, from the project's folder:

    python -m stages.fingerprint_code --code /tmp/code
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kinetoken.core.errors import UserError
from kinetoken.core.params import NoParams
from kinetoken.core.stage import Context, Input, Output, run_stage
from tools.fingerprints import fingerprint, scripts_under


@dataclass(frozen=True)
class Paths:
    scripts: Annotated[Path, Input("folder of scripts, in the project's folder")] = Path("stages")
    code: Annotated[Path, Output("a hash a script")] = Path("code")


def run(params: NoParams, paths: Paths, context: Context) -> None:
    found = list(scripts_under(paths.scripts))
    if not found:
        raise UserError(f"{paths.scripts}: holds no scripts")
    for script in found:
        target = (paths.code / script.relative_to(paths.scripts)).with_suffix(".txt")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(fingerprint(script) + "\n", encoding="utf-8")


def main() -> int:
    return run_stage(run, NoParams, Paths)


if __name__ == "__main__":
    raise SystemExit(main())
