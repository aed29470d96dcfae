"""Stages one after another as scripts, with no DVC: each in a process of its own that has PyTorch already.

Run inside a checkout; the commands, one a line, come from standard input, in the order in which they are to run.

    python -m tests.support.stages_alone < commands
"""

import os
import runpy
import shlex
import sys
from pathlib import Path


def main() -> int:
    """The exit code: that of the first command that fails, or 0."""
    import einops  # noqa: F401 - what takes seconds to import is imported once, before the processes part
    import pandas  # noqa: F401
    import sklearn  # noqa: F401
    import torch  # noqa: F401

    for line in sys.stdin.read().splitlines():
        child = os.fork()
        if not child:
            os._exit(_run(shlex.split(line)))
        if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            print(f"{line}: exit code {code}", file=sys.stderr)
            return code
    return 0


def _run(words: list[str]) -> int:
    """`python -m MODULE FLAGS` in this process; its exit code."""
    if words[:2] != ["python", "-m"]:
        raise ValueError(f"not a stage's command: {shlex.join(words)}")
    sys.argv = words[2:]
    try:
        runpy.run_module(words[2], run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    raise SystemExit(main())
