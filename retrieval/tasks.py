"""Background work through the `django.tasks` API.

A task only says that there is something to do. What is to be done, and how far it has come,
stands on our own rows under a lease: a worker that is killed leaves its task marked as
running for ever, and nothing depends on that. Tasks take primary keys.
"""

from django.db import transaction
from django_tasks import task

from retrieval.models import Index


@task()
def index_pending() -> int:
    """Index what waits; returns the documents that were finished."""
    from retrieval.worker import current_worker

    with current_worker() as worker:
        return worker.index_pending()


@task()
def reconcile_index(index_id: int) -> dict[str, int]:
    """Compare an index with its rows and repair what differs; returns the counts."""
    from retrieval import sync

    index = Index.objects.active().select_related("embedding_model").filter(pk=index_id).first()
    return sync.reconcile(index).counts if index else {}


def notify() -> None:
    """Tell a worker, once the running transaction is committed, that documents wait.

    Workers also look by themselves twice a second; this is for those that only run tasks.
    """
    transaction.on_commit(_enqueue_once, robust=True)


def _enqueue_once() -> None:
    from django_tasks_db.models import DBTaskResult

    # One that has not begun yet will see these documents, too.
    if not DBTaskResult.objects.ready().filter(task_path=index_pending.module_path).exists():
        index_pending.enqueue()
