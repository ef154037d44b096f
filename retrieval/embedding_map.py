"""The vectors of an index as points on a plane: their two principal components."""

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval import inspection
from retrieval.exceptions import VectorCollectionMissing
from retrieval.factories import vector_store
from retrieval.models import Chunk, Index

#: More points than these say no more and draw slowly.
MOST_POINTS = 2000
#: Vectors that are read at once.
VECTORS = 250

Steps = Generator[tuple[int, int], None, dict[str, Any]]


def draw(index: Index) -> Steps:
    """Choose chunks evenly, read their vectors from Chroma, and lay them out.

    Yields steps done and in all; raises VectorStoreError.
    """
    keys: list[int] = []
    seen, total = 0, inspection.document_count(index)
    for documents, batch in inspection.walk(index, Chunk.objects.only("pk")):
        keys += [chunk.pk for chunk in batch]
        seen += documents
        yield seen, total + MOST_POINTS
    chosen = evenly(keys, MOST_POINTS)
    drawn: list[int] = []
    vectors: list[NDArray[np.float32]] = []
    for begin in range(0, len(chosen), VECTORS):
        part = chosen[begin : begin + VECTORS]
        try:
            records = vector_store().fetch(index.physical_name, [str(pk) for pk in part])
        except VectorCollectionMissing:
            records = {}
        for pk in part:
            record = records.get(str(pk))
            if record is not None and np.isfinite(record.vector).all():
                drawn.append(pk)
                vectors.append(record.vector)
        yield total + begin + len(part), total + len(chosen)
    points, shares = plane(np.stack(vectors) if vectors else np.empty((0, 2), dtype=np.float32))
    return {
        "chunks": len(keys),
        "missing": len(chosen) - len(drawn),
        "shares": [round(float(share), 4) for share in shares],
        "points": [
            [pk, round(float(x), 4), round(float(y), 4)]
            for pk, (x, y) in zip(drawn, points, strict=True)
        ],
    }


def evenly(keys: list[int], most: int) -> list[int]:
    """At most so many of the keys, with the same distance between them in the list."""
    if len(keys) <= most:
        return keys
    return [keys[place] for place in np.linspace(0, len(keys) - 1, most).astype(int)]


def plane(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Vectors (n, dimension) → points (n, 2) in [-1, 1], and the share of the variance that
    each of the two axes shows.

    Principal component analysis: the axes along which the centred vectors vary most, which are
    the first right singular vectors. Each is turned so that its largest weight is positive,
    because a singular vector has no sign of its own.
    """
    points, shares = np.zeros((len(vectors), 2)), np.zeros(2)
    centred = vectors.astype(np.float64) - (vectors.mean(axis=0) if len(vectors) else 0.0)
    if not centred.any():
        return points, shares
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2]
    strongest = np.abs(axes).argmax(axis=1)
    axes = axes * np.sign(axes[np.arange(len(axes)), strongest])[:, None]
    found = centred @ axes.T
    points[:, : found.shape[1]] = found
    shares[: len(axes)] = (sizes[:2] ** 2) / (sizes**2).sum()
    return points / np.abs(points).max(), shares
