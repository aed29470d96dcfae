"""What runs each command that the pages show: one list, which `make docs-check` holds against the pages and the tests.

A command fits the first entry whose pattern it matches (`*` stands for anything). An entry names tests that run it, or
the same program on tiny inputs; or it says why nothing runs it, in which case its words are only checked
(`tools/commands.py`). A command that a page shows without an entry here is a fault. So are an entry that no page needs,
and a test that is not there.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tools.commands import Command, Project


@dataclass(frozen=True)
class Proof:
    """What runs the commands that match a pattern; with no tests, `why` nothing does."""

    pattern: str
    tests: tuple[str, ...] = ()
    why: str = ""


PIPELINE = "tests/test_pipeline.py::test_every_stage_ends_done"
PARAM = "tests/test_pipeline.py::test_one_param_reruns_its_stage_and_its_readers"
ALONE = "tests/test_pipeline.py::test_the_scripts_alone_leave_the_same_bytes"
INFERENCE = "tests/kinetoken/test_cli_inference.py::test_each_example_of_the_page_runs"
DIAGNOSE = "tests/kinetoken/test_cli.py::test_diagnose_writes_text_json_and_a_page_that_asks_for_nothing"
EXAMINE = "tests/kinetoken/examination/test_commands.py::test_examine_and_compare"
TROUBLE = "tests/test_troubleshooting.py::test_the_message_is_what_is_printed"
PAGES = "tests/test_documented_commands.py::test_a_command_of_the_pages_runs"
CHEAP = "tests/tools/test_docs_check.py::test_this_repositorys_pages_name_what_is_there"  # run_cheap runs them
INSTALLS = "it installs packages, which needs a network"
SHELL = "it belongs to git or to the shell"

PROOFS = (
    # the library's command
    Proof("kinetoken * --help", (PAGES,)),
    Proof("kinetoken diagnose * --labels *", (DIAGNOSE,), "its probes train for a minute; the test shortens it"),
    Proof("kinetoken diagnose codes.np[yz]*", (PAGES,)),
    Proof("kinetoken diagnose*", (DIAGNOSE,)),
    Proof("kinetoken examine*", (EXAMINE,)),
    Proof("kinetoken compare-cards*", (EXAMINE,)),
    Proof("kinetoken compare*", ("tests/kinetoken/comparison/test_compare.py::test_the_command",)),
    Proof("kinetoken serve --host 0.0.0.0", (
        "tests/kinetoken/serving/test_server.py::test_what_cannot_be_served_is_told_before_anything_begins",
    )),
    Proof("kinetoken serve*", (
        "tests/kinetoken/serving/test_server.py::test_a_request_under_way_is_answered_before_the_end",
    )),
    Proof("kinetoken actions check*", ("tests/kinetoken/test_cli.py::test_actions_check",)),
    Proof("kinetoken run", ("tests/kinetoken/test_cli.py::test_in_a_checkout_its_own_programs_run_in_its_folder",)),
    Proof("kinetoken tokenize clips.npy *", (TROUBLE,)),
    Proof("kinetoken tokenize*", (INFERENCE,)),
    *(Proof(f"kinetoken {name} *", (INFERENCE,)) for name in (
        "reconstruct", "classify", "locate", "describe", "predict", "generate", "detect",
    )),
    # the pipeline
    Proof("make setup*", why=INSTALLS),
    Proof("make repro*", (PIPELINE,), "the tests run the same pipeline with the smoke profile"),
    Proof("make smoke", (PIPELINE,)),
    Proof("make test", why="it runs these tests"),
    Proof("make lint", why="it reads all code for a minute, before each commit"),
    Proof("make docs-check", (CHEAP,)),
    Proof("make metrics", ("tests/kinetoken/report/test_main.py::"
                           "test_the_committed_numbers_are_printed_narrow_with_no_heavy_library",)),
    Proof("make plots*", ("tests/test_offline_browser.py::test_every_chart_is_drawn_without_a_network",)),
    Proof("make compare*", ("tests/kinetoken/comparison/test_compare.py::test_the_command",)),
    Proof("make relock", ("tests/tools/test_relock.py::test_relock_records_a_comment_without_a_rerun",)),
    Proof("make verify REPAIR=1", ("tests/tools/test_repair.py::test_output_from_the_cache",
                                   "tests/tools/test_verify.py::test_make_repairs_only_on_a_second_word")),
    Proof("make verify", ("tests/tools/test_verify.py::test_sound_project",)),
    Proof("make watch", ("tests/tools/test_watch.py::test_statuses_as_data",)),
    Proof("make pages", ("tests/tools/test_pages.py::test_pages_say_what_the_results_say",)),
    Proof("make studies", ("tests/tools/test_studies.py::test_a_run_notes_its_commit_and_is_fresh",)),
    *(Proof(f"make study NAME={name}*", (test,), "the tests run its steps on tiny data") for name, test in (
        ("pooling", "tests/studies/test_pooling.py::test_the_table_holds_what_was_measured"),
        ("data_curve", "tests/studies/test_data_curve.py::test_a_reader_leaves_a_row_a_size"),
        ("first_team", "tests/studies/test_first_team.py::test_the_table_holds_what_was_measured"),
        ("language_model", "tests/studies/test_language_model.py::"
                           "test_the_table_has_the_three_providers_on_the_same_readings"),
        ("patients", "tests/studies/test_patients.py::test_scripts_run_to_the_score_and_a_killed_run_loses_one_case"),
        ("ward", "tests/studies/test_ward.py::"
                 "test_scripts_run_from_clips_to_score_and_a_killed_run_loses_no_finished_case"),
        ("seeds", "tests/studies/test_seeds.py::test_the_table_tells_mean_and_spread"),
        ("prediction", "tests/studies/test_prediction.py::"
                       "test_tables_hold_the_means_of_each_span_beside_the_best_rule"),
        ("persistence", "tests/studies/test_persistence.py::test_the_table_holds_what_was_measured"),
        ("gasm_cast", "tests/studies/test_gasm_cast.py::test_the_table_holds_what_was_measured"),
        ("…", "tests/tools/test_studies.py::test_a_run_notes_its_commit_and_is_fresh"),
    )),
    # DVC
    Proof("dvc exp run -S train_classifier.epochs=4", (PARAM,)),
    Proof("dvc exp run *", (PARAM, "tests/test_pipeline.py::test_params_load"),
          "it trains for minutes; the tests run it with another value"),
    Proof("dvc repro*", (PIPELINE, "tests/test_pipeline.py::test_nothing_changed_nothing_reruns")),
    Proof("dvc metrics show", ("tests/test_pipeline.py::test_dvc_shows_a_narrow_table_of_headlines",)),
    Proof("dvc metrics diff *", (PAGES,)),
    Proof("dvc plots show", ("tests/test_offline_browser.py::test_every_chart_is_drawn_without_a_network",)),
    Proof("dvc plots diff*", (PAGES, "tests/test_dvc_plots.py::test_every_plot_is_handed_over_with_both_revisions")),
    Proof("dvc exp show --only-changed", (CHEAP,)),
    Proof("dvc status", ("tests/test_pipeline.py::test_lock_is_fresh",)),
    Proof("dvc init --subdir", why="it made the folder studies/ once"),
    Proof("dvc gc --workspace", why="it removes cached files of the reader's"),
    Proof("dvc pull", why="it needs a remote of the reader's"),
    # scripts
    Proof("python -m stages.* --help", (CHEAP,), "their parsers are asked"),
    Proof("python -m stages.extract_codes*", ("tests/stages/test_extract_codes.py::test_the_script_runs_alone",)),
    Proof("python -m stages.train_tokenizer *", (ALONE,)),
    Proof("python -m stages.train_gasm_cast *", (ALONE,)),
    Proof("python -m stages.write_cards *", (
        "tests/stages/test_write_cards.py::test_its_command_line_replaces_what_was_there",
    )),
    Proof("python -m tools.plots", ("tests/test_offline_browser.py::test_every_chart_is_drawn_without_a_network",)),
    Proof("python -m benchmarks.persistence*", ("tests/benchmarks/test_persistence.py::"
                                                "test_every_number_of_tracks_is_timed",)),
    Proof("python -m benchmarks.loader*", ("tests/benchmarks/test_loader.py::test_every_way_reads_the_clips",)),
    Proof("python -m benchmarks.tokenizer*", ("tests/benchmarks/test_tokenizer.py::"
                                              "test_runs_without_the_peer_and_says_so",)),
    Proof("python -m benchmarks.serving*", ("tests/benchmarks/test_serving.py::test_every_answer_is_counted",)),
    Proof("python -m benchmarks.doctor", why="it makes and examines tables of up to a million rows for minutes"),
    Proof("pytest *", why="it runs these tests"),
    Proof("pip install .", ("tests/test_packaging.py::test_the_wheel_holds_the_library_and_the_command",), INSTALLS),
    Proof("pip install *", why=INSTALLS),
    Proof("uv *", why=INSTALLS),
    Proof("git *", why=SHELL),
    Proof("export *", why=SHELL),
    Proof(". .venv/bin/activate", why=SHELL),
)


def proof_of(command: Command) -> Proof | None:
    """The entry of a command; variables that are set before it are no part of its name."""
    words = re.sub(r"^(\w+=\S* )+", "", " ".join(command.words))
    return next((one for one in PROOFS if fnmatchcase(words, one.pattern)), None)


def proof_faults(commands: Sequence[Command], project: Project) -> Iterator[str]:
    """Commands without an entry, entries without a command, and tests that are not there."""
    needed = set[str]()
    for command in commands:
        proof = proof_of(command)
        if proof is None:
            yield (f"{command.where}: `{command}`: no entry in tools/documented.py names the test that runs it, or "
                   "says why none does")
        else:
            needed.add(proof.pattern)
    for proof in PROOFS:
        if proof.pattern not in needed:
            yield f"tools/documented.py:0: `{proof.pattern}`: no page shows such a command; remove the entry"
        if not proof.tests and not proof.why:
            yield f"tools/documented.py:0: `{proof.pattern}`: neither a test nor a reason"
        for test in proof.tests:
            file, _, name = test.partition("::")
            if f"def {name}(" not in project.text(file):
                yield f"tools/documented.py:0: `{proof.pattern}`: there is no test {test}"
