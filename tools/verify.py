"""Re-hash every cache object and every output recorded in dvc.lock; name what is damaged and what differs.

DVC trusts what it once hashed; a bit that flips on the disk goes unnoticed. This command changes nothing (it
opens DVC's own .dvc/tmp, as `dvc status` does). It ends with exit code 1 if anything is damaged or could not be
checked. Outputs that only differ from dvc.lock (trained by hand, another revision's lock, an extra file in a
folder) are listed and are no failure. tools/integrity.py has the rule that tells the two apart.

With --repair, damaged files move to .damaged/ and good copies take their place where there are any
(tools/repair.py); `make repro` makes the others again.

    python -m tools.verify [--repair] [--json]     # or: make verify, make verify REPAIR=1
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from kinetoken.core.errors import UserError, printable
from kinetoken.core.terminal import open_streams
from tools.integrity import Examination, Finding, Project, examine, open_project
from tools.repair import repair, untouchable
from tools.smoke import git

LABELS = {"damaged": "damaged", "differs": "differs from dvc.lock", "not checked": "not checked"}
HINTS = {
    "damaged": "make verify REPAIR=1 replaces them with good copies or moves them to .damaged/; "
    "then make repro makes what is missing",
    "differs": "not damaged, so left unchanged; dvc commit records this state, make repro restores what dvc.lock "
    "describes (folders as a whole: keep extra files elsewhere)",
    "not checked": "dvc.lock is not in the form that DVC writes, or a file cannot be read",
}


def verify(project: Project, *, fix: bool = False) -> tuple[Examination, list[str]]:
    """What was found, and the lines that say so; with `fix` what is damaged is repaired."""
    examination = examine(project)
    done = dict(repair(project, examination)) if fix else {}
    lines = [_line(project, finding, done.get(finding)) for finding in examination.findings]
    return examination, lines + _summary(project.root, examination, fixed=fix)


def _line(project: Project, finding: Finding, done: str | None) -> str:
    why = finding.why
    if done is None and finding.kind != "not checked" and (reason := untouchable(project, finding.path)):
        why += f"; {reason}"
    return printable(f"{LABELS[finding.kind]}: {finding.name or '.'} ({why})" + (f": {done}" if done else ""))


def _summary(root: Path, examination: Examination, *, fixed: bool) -> list[str]:
    kinds = [finding.kind for finding in examination.findings]
    if not kinds:
        return ["no damage: every output in the workspace and every cache object was checked"]
    hints = HINTS | ({"damaged": "nothing was deleted; make repro makes what is now missing"} if fixed else {})
    if set(kinds) != {"damaged"} and git(root, "--no-optional-locks", "status", "--porcelain", "--", "dvc.lock"):
        hints["differs"] += "; dvc.lock itself is not the committed one (git diff dvc.lock)"
    return [f"{kinds.count(kind)} {LABELS[kind]}: {hint}" for kind, hint in hints.items() if kind in kinds]


def to_json(examination: Examination, lines: Sequence[str]) -> str:
    """Every finding with its kind (damaged, differs, not checked), and the lines for people."""
    findings = [{"kind": each.kind, "path": each.name or ".", "why": each.why} for each in examination.findings]
    return json.dumps({"sound": not findings, "findings": findings, "lines": list(lines)}, indent=2, sort_keys=True)


def main(argv: Sequence[str] | None = None) -> int:
    open_streams()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repair", action="store_true", help="move what is damaged aside, restore good copies")
    parser.add_argument("--json", action="store_true", help="print JSON in place of text")
    options = parser.parse_args(argv)
    try:
        with open_project(Path.cwd(), exclusive=options.repair) as project:
            examination, lines = verify(project, fix=options.repair)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(to_json(examination, lines) if options.json else "\n".join(lines))
    return int(any(finding.kind != "differs" for finding in examination.findings))


if __name__ == "__main__":
    raise SystemExit(main())
