"""Make and examine single cases, and print what was handed in and what the doctor said; nothing is kept.

    python -m studies.patients.show_case                     # the names of all cases
    python -m studies.patients.show_case NAME [NAME …]       # those whose names begin so
"""

import argparse
import json
import sys
from pathlib import Path

from kinetoken.core.params import load_params
from studies.patients.plan import Patients, cases

PARAMS = Path(__file__).with_name("params.yaml")
SHOWN = ("truth", "named", "severity", "reading", "doctor_reading", "not_given", "evidence", "making_seconds",
         "doctor_seconds", "reading_seconds")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="how the cases' names begin; none: list all")
    wanted = parser.parse_args().names
    patients = load_params(PARAMS, "patients", Patients)
    for case in cases(patients):
        if not wanted:
            print(case.name)
        elif case.name.startswith(tuple(wanted)):
            from studies.patients.examining import examined

            row = examined(case, patients.diagnosis)
            print(case.name, json.dumps({key: row[key] for key in SHOWN}, indent=2, ensure_ascii=False), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
