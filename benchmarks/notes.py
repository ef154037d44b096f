"""The notes that are measured with, and questions about them."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks.system import ROOT

SHARED_NOTES = ROOT.parent / "shared" / "data" / "notes"
GENERATED = 600
TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
DESCRIPTION = re.compile(r"^- (.+?)[:：]?$", re.MULTILINE)


def find_notes(folder: Path) -> Path:
    if SHARED_NOTES.is_dir():
        return SHARED_NOTES
    print(f"{SHARED_NOTES} does not exist: {GENERATED} generated notes are measured instead.")
    return generate(folder / "notes")


def generate(folder: Path) -> Path:
    """Notes of about 150 words, the same every time."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghilmnoprstu", k=rng.randint(2, 9))) for _ in range(3000)]
    folder.mkdir()
    for number in range(GENERATED):
        parts = [f"---\ntitle: Note {number}\n---\n\n# Note {number}\n"]
        for _ in range(rng.randint(2, 6)):
            parts.append(f"- {' '.join(rng.choices(words, k=rng.randint(5, 12)))}:\n")
            parts.append(f"`{' '.join(rng.choices(words, k=rng.randint(3, 9)))}`\n")
        (folder / f"{number:04}.md").write_text("\n".join(parts))
    return folder


def questions(notes: Path) -> Iterator[str]:
    """Questions in the notes' own words, no two alike, the same every time.

    The title of one note and what another can be used for: no answer can come from a cache,
    and both arms have something to find. Raises ValueError once half of all pairs are used up.
    """
    found_titles: list[str] = []
    found_descriptions: list[str] = []
    for path in sorted(notes.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        found_titles += TITLE.findall(text)[:1]
        found_descriptions += DESCRIPTION.findall(text)
    titles = list(dict.fromkeys(found_titles))
    descriptions = list(dict.fromkeys(found_descriptions))
    rng = random.Random(0)
    asked: set[str] = set()
    # Beyond that, drawing one that is new takes ever longer.
    while len(asked) < len(titles) * len(descriptions) // 2:
        question = f"{rng.choice(titles)}: {rng.choice(descriptions)}"
        if question not in asked:
            asked.add(question)
            yield question
    raise ValueError(f"{notes} has too few notes for so many different questions")
