"""A prepared model in the data folder: what it is, and the files that serve it."""

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

#: Changes when the export would give other vectors: bundles of older versions are made anew.
EXPORT_VERSION = 1
MANIFEST = "kbadmin.json"
LONGEST_FOLDER = 120


@dataclass(frozen=True, slots=True)
class Bundle:
    """One prepared model. `folder` holds the tokenizer and, for ONNX, `model.onnx`."""

    folder: Path
    name: str
    revision: str  #: fingerprint of the weights and the export, 16 hex digits
    runtime: str  #: onnx-int8, onnx or torch
    dimension: int
    max_tokens: int
    languages: tuple[str, ...]
    query_prompt: str = ""
    document_prompt: str = ""
    source: str = ""  #: where torch finds the weights
    note: str = ""  #: why it is not the runtime that one would expect
    export_version: int = EXPORT_VERSION

    @property
    def onnx_path(self) -> Path:
        return self.folder / "model.onnx"

    @property
    def tokenizer_path(self) -> Path:
        return self.folder / "tokenizer.json"

    def save(self) -> None:
        """Write the manifest; it comes last, so a folder that has one is complete."""
        record = {key: value for key, value in asdict(self).items() if key != "folder"}
        path = self.folder / MANIFEST
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(record, indent=2, ensure_ascii=False), encoding="utf-8")
        os.replace(partial, path)  # noqa: PTH105 - the atomic one


def folder_for(models: Path, name: str) -> Path:
    """Where the model of a name is prepared: a folder right below `models`, whatever the name."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "--", name).strip(".-") or "model"
    if len(readable) > LONGEST_FOLDER:
        # A path keeps its end, which tells models apart, and stays unique.
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        readable = f"{digest}-{readable[-LONGEST_FOLDER:].lstrip('.-')}"
    return models / readable


def find(models: Path, name: str) -> Bundle | None:
    """The prepared model of a name, or None if it has to be made (again)."""
    folder = folder_for(models, name)
    try:
        record = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        bundle = Bundle(folder=folder, **record | {"languages": tuple(record["languages"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    complete = bundle.tokenizer_path.is_file() and (
        bundle.runtime == "torch" or bundle.onnx_path.is_file()
    )
    if not complete or bundle.name != name or bundle.export_version != EXPORT_VERSION:
        return None
    return bundle
