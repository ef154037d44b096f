"""What people say of answers, and what becomes of it.

`votes` takes what is said; `grouping` puts it, and questions that were answered badly, into a
queue of similar questions; `queue` is what reviewers read and change; `acceptance` makes a
correction part of the knowledge base; `proof` shows what that changed, and `rollback` undoes it.
"""

from retrieval.feedback.votes import Vote, record

__all__ = ["Vote", "record"]
