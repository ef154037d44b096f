"""Checks are kept, so that one can be opened again and compared with another of its source."""

import hashlib
import json
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db import transaction

from plugin.doctor.kept import Kept, clean, from_data, to_data
from plugin.doctor.types import Consumer, Document, Finding, Severity, Verdict
from plugin.models import Check

#: How many are kept, how many of one source, and how many characters all of them may have.
KEPT, KEPT_OF_SOURCE, KEPT_CHARACTERS = 200, 30, 100_000_000


@dataclass(frozen=True, slots=True)
class Difference:
    """What is otherwise in a newer check than in an older one."""

    new: list[Finding]
    gone: list[Finding]
    unchanged: list[Finding]  #: as the newer one tells them
    verdicts: list[tuple[Consumer, Verdict | None, Verdict | None]]  #: those that changed


def keep(kept: Kept, kind: str, source: str, user: User | AnonymousUser | None) -> Check:
    """Keep a check and let go of the oldest ones."""
    report = kept.report
    texts = {name: clean(report.texts.get(name, "")) for name in Document}
    data = to_data(kept)
    size = sum(map(len, texts.values())) + len(json.dumps(data, ensure_ascii=False))
    check = Check(
        kind=kind,
        source=clean(source)[:2000],
        is_live=bool(kept.exchanges),
        made_by=user if isinstance(user, User) else None,
        errors=len(report.of(Severity.ERROR)),
        warnings=len(report.of(Severity.WARNING)),
        advice=len(report.of(Severity.ADVICE)),
        verdicts={str(name): str(verdict) for name, verdict in report.consumers.items()},
        documents_hash=hash_of(texts.values()),
        manifest=texts[Document.MANIFEST],
        openapi=texts[Document.OPENAPI],
        data=data,
        size=size,
    )
    with transaction.atomic():
        previous = Check.objects.of(check.kind, check.source).first()
        if previous is not None:
            difference = compare(previous, check)
            check.previous = previous
            check.appeared, check.gone = len(difference.new), len(difference.gone)
        check.save()
        prune()
    return check


def hash_of(texts: Iterable[str]) -> str:
    """SHA-256 over the documents, in their order."""
    together = hashlib.sha256()
    for text in texts:
        together.update(hashlib.sha256(text.encode("utf-8", "replace")).digest())
    return together.hexdigest()


def prune() -> int:
    """Delete what is beyond the bounds, the oldest first; returns how many."""
    of_source: dict[tuple[str, str], int] = {}
    characters, count, old = 0, 0, []
    rows = Check.objects.newest_first().values_list("pk", "kind", "source", "size")
    for pk, kind, source, size in rows:
        number = of_source[kind, source] = of_source.get((kind, source), 0) + 1
        characters += size
        # The newest one stays, however large it is.
        full = count >= KEPT or characters > KEPT_CHARACTERS or number > KEPT_OF_SOURCE
        if full and count:
            old.append(pk)
            characters -= size
        else:
            count += 1
    if old:
        Check.objects.filter(pk__in=old).delete()
    return len(old)


def opened(check: Check) -> Kept:
    """The report of a check, as it was."""
    texts = {Document.MANIFEST: check.manifest, Document.OPENAPI: check.openapi}
    given = {name: text for name, text in texts.items() if text}
    return from_data(check.data, check.source or check.kind, given)


def compare(old: Check, new: Check) -> Difference:
    """What is new, gone and unchanged; a finding that only moved is the same one."""
    before, after = opened(old).report, opened(new).report
    left = list(before.findings)
    unmatched = list(after.findings)
    same: set[int] = set()
    for key_of in SAME:
        waiting: dict[Hashable, list[Finding]] = {}
        for found in left:
            waiting.setdefault(key_of(found), []).append(found)
        rest = []
        for found in unmatched:
            if twins := waiting.get(key_of(found)):
                twin = twins.pop(0)
                left = [one for one in left if one is not twin]
                same.add(id(found))
            else:
                rest.append(found)
        unmatched = rest
    verdicts = []
    for consumer in Consumer:
        pair = before.consumers.get(consumer), after.consumers.get(consumer)
        if pair[0] is not pair[1]:
            verdicts.append((consumer, *pair))
    return Difference(
        new=unmatched,
        gone=left,
        unchanged=[found for found in after.findings if id(found) in same],
        verdicts=verdicts,
    )


def _place(found: Finding) -> tuple[Any, ...]:
    return found.rule, found.document, found.pointer


#: When two findings are the same fault, the surest first: one moves where something is put
#: before it, and its sentence changes with what it quotes.
SAME: tuple[Callable[[Finding], Hashable], ...] = (
    lambda found: (*_place(found), found.message),
    _place,
    lambda found: (found.rule, found.document, found.message),
)
