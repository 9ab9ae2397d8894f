"""The command that counts killed mutants, on a small share of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MUTANTS = Path(__file__).resolve().parents[1] / "mutants"
sys.path.insert(0, str(MUTANTS))

from kernel_mutants.equivalents import EquivalentsError, load_equivalents  # noqa: E402 - the path comes first
from kernel_mutants.kernels import KernelNotFoundError, find_staged_kernel  # noqa: E402

SAMPLE = 12
PATIENCE = 240.0
# The topics whose cases take most of the time on an unbroken kernel.
EXPENSIVE = frozenset(("cost", "cuts", "edges", "growth", "history", "hostile", "limits", "reuse", "two-gib"))

STORE: list[dict[str, object]] = [
    {"call": "alloc", "args": [1], "bind": "a"},
    {"call": "store_u8", "args": ["$a", 7]},
    {"call": "load_u8", "args": ["$a"], "expect": 7},
]


def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(MUTANTS / "run.py"), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)


def staged_kernel() -> Path:
    try:
        return find_staged_kernel()
    except KernelNotFoundError as reason:
        pytest.skip(str(reason))


def need_node() -> None:
    if shutil.which("node") is None:
        pytest.skip("`node` is not on PATH: run `apt-get install nodejs`")


@pytest.fixture
def few_cases(tmp_path: Path) -> Path:
    """A folder with one case that sees little: reset returns."""
    folder = tmp_path / "cases"
    folder.mkdir()
    case = {
        "id": "toy/reset-returns",
        "since": "1.0.0",
        "spec": ["L-2"],
        "level": "must",
        "title": "reset returns",
    }
    (folder / "toy.json").write_text(json.dumps({"cases": [{**case, "steps": [{"call": "reset"}]}]}))
    return folder


@pytest.fixture
def store_case(few_cases: Path) -> Path:
    """The case again, now with a store that it looks for."""
    path = few_cases / "toy.json"
    document = json.loads(path.read_text())
    document["cases"][0]["steps"] = STORE
    path.write_text(json.dumps(document))
    return path


@pytest.mark.slow
def test_sample_of_mutants_is_mostly_killed(tmp_path: Path) -> None:
    """By the cheap half of the cases: each is played on the kernel first, and all take a minute."""
    need_node()
    table, cases = tmp_path / "SCORE.md", tmp_path / "cases"
    cases.mkdir()
    for path in MUTANTS.parent.joinpath("cases").glob("*.json"):
        if path.stem not in EXPENSIVE:
            shutil.copy(path, cases)
    done = run(staged_kernel(), "--sample", str(SAMPLE), "--seed", "4", "--score", table, "--cases", cases)
    assert done.returncode in {0, 1}, done.stderr
    row = next(line for line in done.stdout.splitlines() if line.startswith("| all |"))
    mutants, killed = (int(cell) for cell in row.split("|")[2:4])
    assert killed * 2 > mutants > 0, done.stdout
    assert f"({SAMPLE} of " in table.read_text()


def test_weak_cases_leave_survivors_that_a_person_can_read(few_cases: Path) -> None:
    need_node()
    done = run(staged_kernel(), "--function", "store_u8", "--cases", few_cases)
    assert done.returncode == 1
    assert "store_u8 at 0x" in done.stdout
    assert "store dropped" in done.stdout
    assert "  in: " in done.stdout


def test_listed_equivalent_that_is_killed_is_red(store_case: Path, tmp_path: Path) -> None:
    need_node()
    keys = run(staged_kernel(), "--list", "--function", "store_u8").stdout.splitlines()
    key = next(line.split()[0] for line in keys if "store_dropped" in line)
    listed = tmp_path / "equivalent.json"
    listed.write_text(
        json.dumps({"equivalent": [{"mutant": key, "change": "store dropped", "why": "it is not"}]})
    )
    done = run(staged_kernel(), "--key", key, "--equivalent", listed, "--cases", store_case.parent)
    assert done.returncode == 1
    assert "listed as equivalent, but" in done.stdout
    assert key in done.stdout


def test_survivors_that_got_a_reason_become_equivalent(few_cases: Path, tmp_path: Path) -> None:
    need_node()
    listed, survivors = tmp_path / "equivalent.json", tmp_path / "survivors.json"
    listed.write_text('{"equivalent": []}')
    only = ("--function", "store_u8", "--cases", few_cases, "--equivalent", listed)
    run(staged_kernel(), *only, "--survivors", survivors)
    document = json.loads(survivors.read_text())
    first = document["survivors"][0]
    assert first["function"] == "store_u8"
    assert sum(line.startswith("> ") for line in first["code"]) == 1
    first["why"] = "a reason"
    survivors.write_text(json.dumps(document))
    merged = run(staged_kernel(), "--merge", survivors, "--equivalent", listed)
    left = len(document["survivors"]) - 1
    assert merged.stdout.startswith(
        f"1 mutants are listed as equivalent now; {left} survivors have no reason"
    )
    again = run(staged_kernel(), "--only", survivors, "--cases", few_cases, "--equivalent", listed)
    assert f"| store_u8 | {left + 1} | 0 | 1 | {left} | 0.0% |" in again.stdout


def read_row(done: subprocess.CompletedProcess[str], name: str) -> list[int]:
    """How many mutants of a function there are, were killed, are equivalent, and survived."""
    row = next(line for line in done.stdout.splitlines() if line.startswith(f"| {name} |"))
    return [int(cell) for cell in row.split("|")[2:6]]


def test_campaign_is_resumed_where_it_was_stopped(store_case: Path, tmp_path: Path) -> None:
    need_node()
    ledger = tmp_path / "ledger.jsonl"
    again = (staged_kernel(), "--function", "store_u8", "--cases", store_case.parent, "--resume", ledger)
    first = run(*again)
    noted = ledger.read_text()
    second = run(*again)
    mutants, killed, _, survived = read_row(first, "store_u8")
    assert killed > 0 < survived
    assert "were judged before" not in first.stderr
    assert f"{mutants} of {mutants} mutants were judged before" in second.stderr
    assert first.stdout == second.stdout
    assert ledger.read_text() == noted
    store_case.write_text(store_case.read_text().replace("reset returns", "reset comes back"))
    assert "were judged before" not in run(*again).stderr


def test_survivor_is_tried_with_new_cases_alone(few_cases: Path, tmp_path: Path) -> None:
    need_node()
    ledger, store = tmp_path / "ledger.jsonl", few_cases / "store.json"
    again = (staged_kernel(), "--function", "store_u8", "--cases", few_cases, "--resume", ledger)
    mutants = read_row(run(*again), "store_u8")[0]
    case = json.loads((few_cases / "toy.json").read_text())["cases"][0]
    case |= {"id": "store/byte-comes-back", "steps": STORE}
    store.write_text(json.dumps({"cases": [case]}))
    resumed = run(*again)
    assert "1 cases recorded" in resumed.stderr
    assert resumed.stdout == run(*again[:-2]).stdout
    survived = read_row(resumed, "store_u8")[3]
    store.unlink()
    assert f"{survived} of {mutants} mutants were judged before" in run(*again).stderr


def test_score_of_what_was_noted_tries_nothing(store_case: Path, tmp_path: Path) -> None:
    """Who is not in the file counts as a survivor, so that no score is too high."""
    need_node()
    score = tmp_path / "SCORE.md"
    only = (staged_kernel(), "--function", "store_u8", "--cases", store_case.parent)
    again = (*only, "--resume", tmp_path / "ledger.jsonl")
    mutants = read_row(run(*again, "--noted", "--score", score), "store_u8")
    assert mutants == [mutants[0], 0, 0, mutants[0]]
    assert "counts as a survivor" in score.read_text()
    first = run(*again)
    assert run(*again, "--noted").stdout == first.stdout
    assert "hint: add --resume FILE" in run(staged_kernel(), "--noted").stderr


def test_slow_cases_are_left_out_on_request(store_case: Path, tmp_path: Path) -> None:
    """A kill by a slow case does not count then, though it was noted before."""
    need_node()
    document = json.loads(store_case.read_text())
    document["cases"][0]["slow"] = True
    quick = {**document["cases"][0], "id": "toy/quick", "slow": False, "steps": [{"call": "reset"}]}
    store_case.write_text(json.dumps({"cases": [*document["cases"], quick]}))
    only = (staged_kernel(), "--function", "store_u8", "--cases", store_case.parent)
    all_cases = (*only, "--resume", tmp_path / "ledger.jsonl")
    assert read_row(run(*all_cases), "store_u8")[1] > 0
    score = tmp_path / "SCORE.md"
    done = run(*all_cases, "--skip-slow", "--score", score)
    assert read_row(done, "store_u8")[1] == 0
    assert "--skip-slow" in score.read_text()


def test_campaign_ends_after_the_minutes_given(store_case: Path, tmp_path: Path) -> None:
    need_node()
    score = tmp_path / "SCORE.md"
    short = ("--minutes", "0.0001", "--score", score)
    done = run(staged_kernel(), "--cases", store_case.parent, *short)
    assert read_row(done, "all")[0] <= 1
    assert "(1 of " in score.read_text()


@pytest.mark.parametrize("option", [("--minutes", "nan"), ("--minutes", "-1"), ("--jobs", "0")])
def test_number_without_a_meaning_is_refused(option: tuple[str, str], few_cases: Path) -> None:
    done = run(staged_kernel(), "--cases", few_cases, *option)
    assert done.returncode == 2
    assert f"`{option[1]}` is no " in done.stderr
    assert "Traceback" not in done.stderr


LEDGERS = {
    "no-json": ("{", "line 1: this is no line of --resume, or only a part of one; remove it"),
    "another-kernel": ('{"kernel": "ab", "number": 1, "killer": "a/b", "case": ""}', "verdicts of kernel ab"),
}


@pytest.mark.parametrize(("text", "message"), LEDGERS.values(), ids=LEDGERS)
def test_malformed_ledger_is_refused(text: str, message: str, few_cases: Path, tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").write_text(text)
    done = run(staged_kernel(), "--cases", few_cases, "--resume", tmp_path / "ledger.jsonl")
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize("text", ["{", "[]", '{"survivors": [{"mutant": "a"}]}'])
def test_malformed_survivors_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "survivors.json").write_text(text)
    done = run(staged_kernel(), "--merge", tmp_path / "survivors.json")
    assert done.returncode == 2
    assert "this is no file of --survivors" in done.stderr


def test_names_of_another_kernel_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "raw.wasm").write_bytes(b"\0asm\1\0\0\0")
    done = run(staged_kernel(), "--names", tmp_path / "raw.wasm")
    assert done.returncode == 2
    assert "the module with the names has no functions" in done.stderr


def test_no_such_function_is_an_error_with_a_hint() -> None:
    done = run(staged_kernel(), "--function", "nonsense")
    assert done.returncode == 2
    assert "hint: run with --list" in done.stderr


def test_file_that_is_no_module_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "kernel.wasm").write_bytes(b"\0asm\1\0\0\0")
    done = run(tmp_path / "kernel.wasm")
    assert done.returncode == 2
    assert done.stderr.startswith("error[mutants]: the module has no functions")
    assert "Traceback" not in done.stderr


def test_committed_equivalents_each_have_a_reason() -> None:
    load_equivalents(MUTANTS / "equivalent.json")


FAULTS = {
    "no-json": ("{", "this is no list"),
    "no-reason": ('{"equivalent": [{"mutant": "a", "change": "b", "why": ""}]}', "an entry has"),
    "stands-twice": (
        json.dumps({"equivalent": [{"mutant": "a", "change": "b", "why": "c"}] * 2}),
        "stands twice",
    ),
}


@pytest.mark.parametrize(("text", "message"), FAULTS.values(), ids=FAULTS)
def test_malformed_equivalents_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "equivalent.json").write_text(text)
    with pytest.raises(EquivalentsError, match=message):
        load_equivalents(tmp_path / "equivalent.json")
