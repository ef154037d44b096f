"""What is wrong with the records of an index although search works: an audit of all of them."""

import unicodedata
from collections.abc import Generator
from typing import Any

import numpy as np
from django.db.models.functions import Left, Length
from numpy.typing import NDArray

from retrieval import inspection
from retrieval.exceptions import VectorCollectionMissing
from retrieval.factories import vector_store
from retrieval.models import Chunk, Index

#: Examples of each finding that are kept.
EXAMPLES = 20
#: Columns of text below which a chunk says too little; a Chinese character fills two.
SHORT = 20
ZERO = 1e-6
#: How far from the median a norm may lie: a hundredth of it, or so many deviations where the
#: model does not normalise its vectors.
NORM_TOLERANCE = 0.01
NORM_DEVIATIONS = 8.0
#: Of a normal distribution, the standard deviation in median absolute deviations.
MAD_TO_SIGMA = 1.4826

#: The findings, the worst first.
FINDINGS = (
    "missing",
    "zero_norm",
    "odd_norm",
    "empty",
    "too_short",
    "over_limit",
    "duplicates",
)

#: Yields documents done and in all; returns what is stored.
Steps = Generator[tuple[int, int], None, dict[str, Any]]


def audit(index: Index) -> Steps:
    """Look at every searchable record of an index, some documents at a time.

    Raises VectorStoreError. Keeps about 24 bytes a chunk until the end.
    """
    total = inspection.document_count(index)
    limit = index.embedding_model.max_tokens
    counts = dict.fromkeys(FINDINGS, 0)
    examples: dict[str, list[int]] = {name: [] for name in FINDINGS}

    def found(name: str, pk: int) -> None:
        counts[name] += 1
        if len(examples[name]) < EXAMPLES:
            examples[name].append(pk)

    keys: list[NDArray[np.int64]] = []
    hashes: list[NDArray[np.uint64]] = []
    norms: list[NDArray[np.float32]] = []
    done = 0
    lines = Chunk.objects.annotate(beginning=Left("text", SHORT + 1), length=Length("text")).only(
        "text_hash", "token_count"
    )
    for documents, batch in inspection.walk(index, lines):
        lengths = norms_of(index, batch)
        for chunk in batch:
            beginning, length = chunk.beginning, chunk.length  # type: ignore[attr-defined]  # annotated
            if length <= SHORT and not beginning.strip():
                found("empty", chunk.pk)
            elif length <= SHORT and width(beginning.strip()) < SHORT:
                found("too_short", chunk.pk)
            if chunk.token_count > limit:
                found("over_limit", chunk.pk)
            if chunk.pk not in lengths:
                found("missing", chunk.pk)
            elif lengths[chunk.pk] < ZERO:
                found("zero_norm", chunk.pk)
        keys.append(np.array([chunk.pk for chunk in batch], dtype=np.int64))
        hashes.append(np.array([hash_number(chunk.text_hash) for chunk in batch], dtype=np.uint64))
        norms.append(np.array([lengths.get(chunk.pk, np.nan) for chunk in batch], dtype=np.float32))
        done += documents
        yield done, max(total, done)

    all_keys = np.concatenate(keys) if keys else np.empty(0, dtype=np.int64)
    all_norms = np.concatenate(norms) if norms else np.empty(0, dtype=np.float32)
    all_hashes = np.concatenate(hashes) if hashes else np.empty(0, dtype=np.uint64)
    for pk in all_keys[odd(all_norms)].tolist():
        found("odd_norm", pk)
    groups, counts["duplicates"] = duplicates(all_keys, all_hashes)
    examples["duplicates"] = [pk for group in groups for pk in group["ids"]]
    known = all_norms[np.isfinite(all_norms)]
    return {
        "chunks": len(all_keys),
        "max_tokens": limit,
        "counts": counts,
        "examples": examples,
        "groups": groups,
        "norms": [round(float(value), 4) for value in np.quantile(known, (0, 0.5, 1))]
        if len(known)
        else [],
    }


def norms_of(index: Index, chunks: list[Chunk]) -> dict[int, float]:
    """The norm of each chunk's vector in Chroma; one that Chroma does not hold is left out.

    A vector that holds no number at all has norm 0.
    """
    try:
        records = vector_store().fetch(index.physical_name, [chunk.vector_id for chunk in chunks])
    except VectorCollectionMissing:
        return {}
    if not records:
        return {}
    matrix = np.stack([record.vector for record in records.values()])
    lengths = np.nan_to_num(np.linalg.norm(matrix, axis=1))
    return {int(id_): float(value) for id_, value in zip(records, lengths, strict=True)}


def odd(norms: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which norms lie far from the median; zero and unknown ones are not among them."""
    known = np.isfinite(norms) & (norms >= ZERO)
    if not known.any():
        return known
    median = float(np.median(norms[known]))
    deviation = float(np.median(np.abs(norms[known] - median))) * MAD_TO_SIGMA
    tolerance = max(NORM_TOLERANCE * median, NORM_DEVIATIONS * deviation)
    return np.asarray(known & (np.abs(np.nan_to_num(norms) - median) > tolerance))


def duplicates(
    keys: NDArray[np.int64], hashes: NDArray[np.uint64]
) -> tuple[list[dict[str, Any]], int]:
    """The largest groups of chunks with one text, and how many chunks repeat another's text."""
    if not len(keys):
        return [], 0
    _, inverse, sizes = np.unique(hashes, return_inverse=True, return_counts=True)
    repeated = int((sizes - 1).sum())
    largest = [place for place in np.argsort(-sizes, kind="stable")[:5] if sizes[place] > 1]
    return [
        {"size": int(sizes[place]), "ids": keys[inverse == place][:4].tolist()} for place in largest
    ], repeated


def hash_number(digest: str) -> int:
    """The beginning of a text's hash as a number of 64 bits: enough to tell texts apart."""
    try:
        return int(digest[:16] or "0", 16)
    except ValueError:
        return hash(digest) & (2**64 - 1)


def width(text: str) -> int:
    """Columns that a text fills in a terminal."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
