from datetime import timedelta

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

#: A worker reports every HEARTBEAT; it counts as gone after ALIVE_FOR without a word.
HEARTBEAT = timedelta(seconds=2)
ALIVE_FOR = timedelta(seconds=10)


class WorkerQuerySet(models.QuerySet["Worker"]):
    def alive(self) -> "WorkerQuerySet":
        return self.filter(stopped_at=None, seen_at__gte=timezone.now() - ALIVE_FOR)


class Worker(models.Model):
    """A running (or formerly running) worker process and what it is doing."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    host = models.CharField(_("host"), max_length=200)
    pid = models.PositiveIntegerField(_("process"))
    doing = models.CharField(_("doing"), max_length=200, blank=True)
    done_count = models.PositiveIntegerField(_("documents done"), default=0)
    started_at = models.DateTimeField(_("started at"), auto_now_add=True)
    seen_at = models.DateTimeField(_("last seen"), default=timezone.now)
    stopped_at = models.DateTimeField(_("stopped at"), null=True, blank=True)

    objects = WorkerQuerySet.as_manager()

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")

    def __str__(self) -> str:
        return self.name

    @property
    def is_alive(self) -> bool:
        return self.stopped_at is None and timezone.now() - self.seen_at < ALIVE_FOR
