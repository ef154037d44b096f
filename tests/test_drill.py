"""The short crash drill. The long one is `make drill`."""

import subprocess
import sys
from pathlib import Path

import pytest

from retrieval.embedding import Bundle
from tests.drill.notes import operations_of, outcome_of
from tests.drill.storm import plan_of

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.timeout(900)
def test_nothing_accepted_is_lost_whatever_is_killed(bundle: Bundle):
    """A program of its own: it needs its own database, ports and processes."""
    drill = subprocess.run(
        [sys.executable, "-m", "tests.drill", "--short"], cwd=ROOT, capture_output=True, text=True
    )
    assert drill.returncode == 0, drill.stdout + drill.stderr
    assert "FAIL" not in drill.stdout
    assert drill.stdout.count("kill -9 ") >= 6
    assert "chunks rebuilt from the database with 0 texts embedded" in drill.stdout
    assert "searches without Chroma: lexical, marked degraded" in drill.stdout


def test_a_seed_always_gives_the_same_storm():
    assert operations_of(11, 200) == operations_of(11, 200) != operations_of(23, 200)
    assert plan_of(11, 12) == plan_of(11, 12) != plan_of(23, 12)


def test_a_storm_holds_all_kinds_of_operations_and_victims():
    operations = operations_of(11, 200)
    assert {operation.kind for operation in operations} == {"add", "update", "delete", "repeat"}
    assert {kill.victim for kill in plan_of(11, 12)} >= {"worker", "web", "chroma"}


def test_the_outcome_is_that_of_the_last_operation():
    notes = {note.external_id: note for note in outcome_of(operations_of(11, 200))}
    assert len(notes) == 200
    updated = [note for note in notes.values() if note.text and note.outdated]
    deleted = [note for note in notes.values() if note.text is None]
    assert updated and deleted
    assert all(note.phrase in note.text for note in updated if note.text)
    assert not any(phrase in note.text for note in updated for phrase in note.outdated if note.text)
    phrases = [note.phrase for note in notes.values() if note.text]
    assert len(set(phrases)) == len(phrases)
