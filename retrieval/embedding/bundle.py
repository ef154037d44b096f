"""A prepared model in the data folder: what it is, and the files that serve it."""

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: Changes when the export would give other vectors or scores: bundles of older versions are made
#: anew.
EXPORT_VERSION = 1
MANIFEST = "kbadmin.json"
LONGEST_FOLDER = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One prepared model. `folder` holds the tokenizer and, for ONNX, `model.onnx`."""

    folder: Path
    name: str
    revision: str  #: fingerprint of the weights and the export, 16 hex digits
    runtime: str  #: onnx-int8, onnx or torch
    max_tokens: int
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle(Prepared):
    """A prepared embedding model."""

    dimension: int
    languages: tuple[str, ...]
    query_prompt: str = ""
    document_prompt: str = ""
    source: str = ""  #: where torch finds the weights


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankerBundle(Prepared):
    """A prepared cross-encoder, which is always served by ONNX."""

    pad_id: int = 0  #: the token that fills shorter pairs


def folder_for(models: Path, name: str) -> Path:
    """Where the model of a name is prepared: a folder right below `models`, whatever the name."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "--", name).strip(".-") or "model"
    if len(readable) > LONGEST_FOLDER:
        # A path keeps its end, which tells models apart, and stays unique.
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        readable = f"{digest}-{readable[-LONGEST_FOLDER:].lstrip('.-')}"
    return models / readable


def reranker_folder_for(models: Path, name: str) -> Path:
    """As `folder_for`; no embedding model, whatever its name, has a plus in its folder's."""
    folder = folder_for(models, name)
    return folder.with_name(f"reranker+{folder.name}")


def find(models: Path, name: str) -> Bundle | None:
    """The prepared model of a name, or None if it has to be made (again)."""
    folder = folder_for(models, name)
    try:
        record = _manifest(folder)
        bundle = Bundle(folder=folder, **record | {"languages": tuple(record["languages"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return bundle if _is_complete(bundle, name) else None


def find_reranker(models: Path, name: str) -> RerankerBundle | None:
    """The prepared cross-encoder of a name, or None if it has to be made (again)."""
    folder = reranker_folder_for(models, name)
    try:
        bundle = RerankerBundle(folder=folder, **_manifest(folder))
    except (OSError, ValueError, TypeError):
        return None
    return bundle if _is_complete(bundle, name) else None


def _manifest(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return record


def _is_complete(bundle: Prepared, name: str) -> bool:
    """Whether every file is there, for this name and from this version of the export."""
    served = bundle.runtime == "torch" or bundle.onnx_path.is_file()
    return (
        served
        and bundle.tokenizer_path.is_file()
        and (bundle.name, bundle.export_version) == (name, EXPORT_VERSION)
    )
