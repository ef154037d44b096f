"""A database full of rows, for measuring pages: written fast, with texts that mean nothing."""

import hashlib
import json
import random
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate, product
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone

from plugin.doctor import examine, history
from plugin.doctor.history import KEPT, KEPT_OF_SOURCE
from plugin.doctor.kept import Kept
from plugin.models import Check
from retrieval.models import (
    ApiKey,
    Attribute,
    Chunk,
    Collection,
    Document,
    Embedding,
    EmbeddingModel,
    EvaluationAnswer,
    EvaluationRun,
    Feedback,
    Index,
    Judgment,
    ReviewItem,
    ReviewQuestion,
    ReviewSighting,
    Revision,
    Search,
    Worker,
)

#: Changes when the same sizes would give other rows: what an older version made is made anew.
VERSION = 8
_TEXT = (
    "invoice refund order delivery contract customer support server backup password network "
    "printer holiday travel expense budget project release meeting handbook policy security "
    "account payment return warranty spare part update install restore archive folder index "
    "退款 发票 合同 服务器 密码 假期 预算 项目 手册 安全"
)
WORDS = _TEXT.split()
#: Words that mean nothing, so that the ones above are about as rare as such words are.
OTHERS = ["".join(parts) for parts in product("bdfklmnprstvz", "aeiou", "bdlmnrst", "aeio")]
ALL_WORDS = [*OTHERS[:60], *WORDS, *OTHERS[60:]]
#: As in any language, the n-th most frequent word is about 1/n as frequent as the first.
WEIGHTS = list(accumulate(1 / rank for rank in range(1, len(ALL_WORDS) + 1)))
METRICS = ("recall@1", "recall@5", "recall@10", "hit@1", "hit@5", "MRR@10", "nDCG@10")
CHANNELS = ("plugin", "playground", "api")
STATES = ("pending", "accepted", "rejected")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many rows of each kind."""

    documents: int
    chunks_each: int
    failed: int
    long: int  #: chunks of one document that is longer than the others
    searches: int
    feedback: int
    judgments: int
    disabled_every: int  #: chunks, one of them is switched off
    entries: int  #: of the admin's log
    embeddings: int  #: only the first chunks have one; pages do not read them


LARGE = Sizes(100_000, 10, 5_000, 3_000, 200_000, 20_000, 2_000, 1_000, 50_000, 2_000)
#: One or two rows of each kind; a page that asks once for every row asks less often here.
SMALL = Sizes(8, 2, 2, 4, 6, 3, 2, 5, 3, 10)
COLLECTIONS = ("Handbook", "Support", "Sales", "IT", "Archive")


def insert(model: type[Model], columns: str, rows: Iterable[Sequence[Any]]) -> None:
    """Rows of database values; columns that are not named have their field's default."""
    given = columns.split()
    rest = {
        field.column: field.get_db_prep_save(field.get_default(), connection)
        for field in model._meta.concrete_fields
        if field.column not in given and not field.primary_key
    }
    quote: Callable[[Any], str] = connection.ops.quote_name
    names = ", ".join(map(quote, [*given, *rest]))
    marks = ", ".join(["%s"] * (len(given) + len(rest)))
    defaults = tuple(rest.values())
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES ({marks})",
            ((*row, *defaults) for row in rows),  # type: ignore[arg-type]  # drivers take any iterable
        )


class Filler:
    """Fills an empty, migrated database; the same sizes give the same texts."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.random = random.Random(5)
        self.now = timezone.now()
        self.failed_every = max(sizes.documents // max(sizes.failed, 1), 2)

    @transaction.atomic
    def fill(self) -> None:
        self.settings()
        self.documents()
        self.chunks()
        self.lexical()
        self.use()

    def words(self, number: int) -> str:
        return " ".join(self.random.choices(ALL_WORDS, cum_weights=WEIGHTS, k=number))

    def question(self, number: int) -> str:
        return f"{WORDS[number % 30]} {self.words(4)}"

    def ago(self, seconds: float) -> Any:
        return connection.ops.adapt_datetimefield_value(self.now - timedelta(seconds=seconds))

    def settings(self) -> None:
        self.boss = User.objects.create_superuser("boss", "boss@example.org", "a long password")
        Group.objects.create(name="Editors")
        self.model = EmbeddingModel.objects.create(
            name="sentence-transformers/all-MiniLM-L6-v2",
            revision="1",
            runtime=EmbeddingModel.Runtime.ONNX_INT8,
            dimension=384,
            max_tokens=256,
        )
        self.indexes: list[Index] = []
        for title in COLLECTIONS:
            collection = Collection.objects.create(
                slug=title.lower(), title=title, embedding_model=self.model
            )
            self.indexes.append(collection.open_first_index())
        ApiKey.issue("Chat")
        Worker.objects.create(name="worker-1", host="localhost", pid=1)
        for number in range(min(self.sizes.searches, KEPT)):
            text = f'{{"schema_version": "v{number}"}}'
            source = f"notes {number // KEPT_OF_SOURCE}"
            history.keep(Kept(examine(text), (), None), Check.Kind.TEXT, source, self.boss)

    def evaluations(self) -> None:
        """Two runs for every ten judgments, each of which asks about all of them."""
        index, number = self.indexes[0], self.sizes.judgments
        interval = {"mean": 0.5, "low": 0.4, "high": 0.6}
        runs = EvaluationRun.objects.bulk_create(
            EvaluationRun(
                collection=index.collection,
                index=index,
                name=f"run {run}",
                mode="hybrid",
                questions_source="golden set",
                question_count=number,
                metrics=dict.fromkeys(METRICS, interval),
            )
            for run in range(2 + number // 5)
        )
        EvaluationAnswer.objects.bulk_create(
            EvaluationAnswer(
                run=run,
                order=order,
                question=f"question {order}",
                question_hash=f"{order:032x}",
                relevant=["a.md"],
                found=["b.md", "a.md"],
                ranks=[1 + (order + run.pk) % 3],
                confidence="low",
            )
            for run in runs[-2:]
            for order in range(number)
        )

    def collection_of(self, document: int) -> Index:
        """The first holds four fifths, the last one in a hundred."""
        place = document % 100
        if place == 2:
            return self.indexes[4]
        return self.indexes[1 + (place - 81) // 6 if 81 <= place < 99 else 0]

    def is_failed(self, document: int) -> bool:
        return document % self.failed_every == 0

    def is_deleted(self, document: int) -> bool:
        return document % 97 == 96

    def is_live(self, document: int) -> bool:
        return not self.is_failed(document) and not self.is_deleted(document)

    def documents(self) -> None:
        numbers = range(1, self.sizes.documents + 1)
        insert(
            Document,
            "id collection_id external_id origin title latest_revision_id "
            "live_revision_id created_at updated_at deleted_at",
            map(self.document, numbers),
        )
        insert(
            Revision,
            "id document_id number filename original size content_hash title text "
            "metadata state state_at failure_code failure_message created_at finished_at "
            "retired_at cleaned_at",
            map(self.revision, numbers),
        )
        insert(
            Attribute,
            "document_id key string",
            (
                (number, key, value)
                for number in numbers
                if self.is_live(number)
                for key, value in (
                    ("lang", ("en", "zh")[number % 2]),
                    ("tags", WORDS[(number - 1) % 30]),
                )
            ),
        )

    def document(self, number: int) -> Sequence[Any]:
        # The newest ones have the highest numbers, as in real life.
        at = self.ago((self.sizes.documents - number) * 60)
        name = (
            "long/invoice-1.md" if number == 1 else f"notes/{WORDS[(number - 1) % 30]}-{number}.md"
        )
        return (
            number,
            self.collection_of(number).collection_id,
            name,
            ("path", "upload", "api")[number % 3],
            self.words(4).capitalize(),
            number,
            number if self.is_live(number) else None,
            at,
            at,
            at if self.is_deleted(number) else None,
        )

    def revision(self, number: int) -> Sequence[Any]:
        at = self.ago((self.sizes.documents - number) * 60)
        failed, deleted = self.is_failed(number), self.is_deleted(number)
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        text = "\n\n".join(self.texts(number)) if not failed else ""
        return (
            *(number, number, 1, f"{number}.md", f"originals/{digest[:2]}/{digest}"),
            *(len(text), digest, "", text),
            json.dumps({"lang": ("en", "zh")[number % 2], "tags": [WORDS[(number - 1) % 30]]}),
            *("failed" if failed else "indexed", at),
            *(("no_text", "No text could be read from this file.") if failed else ("", "")),
            *(at, at, at if deleted else None, None),
        )

    def chunk_count(self, document: int) -> int:
        return self.sizes.long if document == 1 else self.sizes.chunks_each

    def texts(self, document: int) -> list[str]:
        """The chunks' texts: made from the number, so that rows can be written as a stream."""
        own = random.Random(document)
        return [
            f"{' '.join(own.choices(ALL_WORDS, cum_weights=WEIGHTS, k=12))} "
            f"{WORDS[(document - 1) % 30] if order == 0 else order}."
            for order in range(self.chunk_count(document))
        ]

    def chunks(self) -> None:
        insert(
            Chunk,
            "id document_id revision_id chunking order start end heading_path text "
            "token_count text_hash enabled",
            self.each_chunk(),
        )
        vectors = (self.random.randbytes(4 * 384) for _ in range(self.sizes.embeddings))
        insert(
            Embedding,
            "embedding_model_id text_hash vector created_at",
            (
                (self.model.pk, f"{pk:032x}", vector, self.ago(0))
                for pk, vector in enumerate(vectors, 1)
            ),
        )

    def each_chunk(self) -> Iterator[Sequence[Any]]:
        pk = 0
        for document in range(1, self.sizes.documents + 1):
            if self.is_failed(document):
                continue
            start = 0
            chunking = self.collection_of(document).chunking
            headings = json.dumps([WORDS[(document - 1) % 30].capitalize()], ensure_ascii=False)
            for order, text in enumerate(self.texts(document)):
                pk += 1
                end = start + len(text)
                yield (
                    *(pk, document, document, chunking, order, start, end, headings, text),
                    *(16, f"{pk:032x}", pk % self.sizes.disabled_every != 0),
                )
                start = end + 2

    def lexical(self) -> None:
        """The word index, of words that are cut already."""
        with connection.cursor() as cursor:
            # No model: emptying the tables of all models leaves it.
            cursor.execute("DELETE FROM retrieval_lexical")
            cursor.executemany(
                "INSERT INTO retrieval_lexical (rowid, scope, title, headings, body) "
                "VALUES (%s, %s, %s, %s, %s)",
                (  # type: ignore[arg-type]  # drivers take any iterable
                    (
                        row[0],
                        self.collection_of(row[1]).scope,
                        "",
                        WORDS[(row[1] - 1) % 30],
                        row[8],
                    )
                    for row in self.each_chunk()
                ),
            )

    def use(self) -> None:
        searches = [uuid.UUID(int=self.random.getrandbits(128)) for _ in range(self.sizes.searches)]
        insert(
            Search,
            "id collection_id query channel top_k results result_count top_score "
            "confidence total_ms timings created_at",
            (self.search(number, pk) for number, pk in enumerate(searches)),
        )
        insert(
            Feedback,
            "search_id collection_id question rating comment channel voter state "
            "created_at updated_at",
            (
                (
                    *(
                        searches[number].hex,
                        self.indexes[number % 5].collection_id,
                        self.question(number),
                    ),
                    *((1, -1)[number % 2], self.words(8), CHANNELS[number % 3], f"u{number}"),
                    *(STATES[number % 3], self.ago(number * 300), self.ago(number * 300)),
                )
                for number in range(self.sizes.feedback)
            ),
        )
        self.reviews(searches)
        insert(
            Judgment,
            "collection_id question document_id created_at",
            (
                (self.indexes[0].collection_id, self.words(5), 1 + number, self.ago(number))
                for number in range(self.sizes.judgments)
            ),
        )
        self.evaluations()
        ContentType.objects.clear_cache()
        kind = ContentType.objects.get_for_model(Document)
        insert(
            LogEntry,
            "action_time user_id content_type_id object_id object_repr action_flag change_message",
            (
                (
                    *(
                        self.ago(number * 120),
                        self.boss.pk,
                        kind.pk,
                        str(1 + number % self.sizes.documents),
                    ),
                    *(self.words(3), CHANGE, json.dumps([{"changed": {"fields": ["title"]}}])),
                )
                for number in range(self.sizes.entries)
            ),
        )

    def reviews(self, searches: Sequence[uuid.UUID]) -> None:
        """The queue: each question of it has two wordings, which three people asked."""
        number_of_items = self.sizes.feedback
        insert(
            ReviewItem,
            "id collection_id question asked askers low_count down_count harm first_asked_at "
            "last_asked_at",
            (
                (
                    *(1 + number, self.indexes[number % 5].collection_id, self.question(number)),
                    *(1 + number % 9, 3, number % 3, number % 2, number % 97 / 2),
                    *(self.ago(number * 300), self.ago(number * 300)),
                )
                for number in range(number_of_items)
            ),
        )
        wording = "id item_id collection_id key text asked low_count last_asked_at last_search"
        insert(
            ReviewQuestion,
            wording,
            (
                (
                    *(1 + number, 1 + number // 2, self.indexes[number // 2 % 5].collection_id),
                    *(f"q{number}", self.question(number), 1 + number % 4, number % 3),
                    *(self.ago(number * 150), searches[number % len(searches)].hex),
                )
                for number in range(2 * number_of_items)
            ),
        )
        insert(
            ReviewSighting,
            "item_id question_id day asker times",
            (
                (
                    *(1 + number // 3, 1 + number // 3 * 2),
                    (self.now - timedelta(seconds=number * 100)).date().isoformat(),
                    *(f"kb_bench:{number % 50}", 1 + number % 3),
                )
                for number in range(3 * number_of_items)
            ),
        )
        # The newest wordings and votes are of the worst question: the one that is looked at.
        worst = ReviewItem.objects.by_harm().values_list("pk", flat=True).first()
        begin = 1 + 2 * number_of_items
        insert(
            ReviewQuestion,
            wording,
            (
                (
                    *(begin + number, worst, self.indexes[0].collection_id, f"k{number}"),
                    *(self.question(number), 1, 1, self.ago(number * 300), searches[number].hex),
                )
                for number in range(min(number_of_items, 60))
            ),
        )
        shown = Feedback.objects.order_by("-pk").values_list("pk", flat=True)[:60]
        Feedback.objects.filter(pk__in=list(shown)).update(item=worst, correction=self.words(40))

    def search(self, number: int, pk: uuid.UUID) -> Sequence[Any]:
        live = number % 10 != 9
        results = [
            {
                "chunk_id": 1 + (number * 7 + rank) % self.sizes.documents,
                "document_id": 1 + (number * 3 + rank) % self.sizes.documents,
                "rank": rank,
                "score": round(0.9 - rank / 10, 3),
            }
            for rank in range(1, 5)
        ]
        return (
            *(pk.hex, self.indexes[0 if number % 5 else 4].collection_id, self.question(number)),
            *(CHANNELS[number % 3], 4, json.dumps(results if live else []), 4 * live),
            *(0.8 if live else None, "high" if number % 4 else "low" if live else "none"),
            *(20 + number % 60, json.dumps({"embed": 4, "dense": 8, "lexical": 6, "read": 2})),
            # About three months' worth, the newest of today.
            self.ago(number * 40),
        )
