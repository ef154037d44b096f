"""The bare embedding loop over the chunks that an ingestion made, and nothing else.

    KBADMIN_DATA_DIR=… python -m benchmarks.bare

Every text is embedded once, sorted by length, with as many threads as the worker has: what is
slower than this in an ingestion is kbadmin's own. Prints one line of JSON.
"""

import json
import sys
import time

import django


def main() -> None:
    django.setup()
    from django.conf import settings

    from retrieval import embedding
    from retrieval.embedding.onnx_runtime import OnnxEmbedder
    from retrieval.factories import chunker_for
    from retrieval.models import Chunk, Collection

    collection = Collection.objects.get(slug=sys.argv[1])
    index = collection.live_index
    assert index is not None
    chunker = chunker_for(index)
    chunks = Chunk.objects.live().filter(document__collection=collection)
    texts = {
        chunk.text_hash: chunker.embedding_text(
            chunk.revision.title, tuple(chunk.heading_path), chunk.text
        )
        for chunk in chunks.select_related("revision")
    }
    ordered = sorted(texts.values(), key=len)
    bundle = embedding.find(settings.MODEL_DIR, settings.EMBEDDING_MODEL)
    assert bundle is not None
    embedder = OnnxEmbedder(bundle, settings.EMBEDDING_THREADS)
    embedder.embed(ordered[:8])
    began = time.perf_counter()
    embedder.embed(ordered)
    seconds = time.perf_counter() - began
    record = {"texts": len(ordered), "chunks": chunks.count(), "seconds": seconds}
    sys.stdout.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
