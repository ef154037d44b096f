"""What Linux tells of a running process."""

from contextlib import suppress
from pathlib import Path


def children(pid: int) -> set[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return set(map(int, listed.split()))


def open_files(pid: int) -> list[str]:
    """What each descriptor points to; a file that is open twice is in it twice."""
    opened = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            opened.append(str(entry.readlink()))
    return opened
