"""Indexes on Django's own log, which has none for what we ask it: the history of one object,
a period, an action, and who or what it was of. Entries grow with every upload."""

from django.db import migrations

INDEXES = {
    "audit_by_object": "(content_type_id, object_id, id)",
    "audit_by_time": "(action_time, id)",
    "audit_by_action": "(action_flag, id)",
    "audit_by_user_action": "(user_id, action_flag, id)",
    "audit_by_kind_action": "(content_type_id, action_flag, id)",
}


class Migration(migrations.Migration):
    dependencies = [
        ("retrieval", "0012_index_reports"),
        ("admin", "0003_logentry_add_action_flag_choices"),
    ]
    operations = [
        migrations.RunSQL(
            f"CREATE INDEX IF NOT EXISTS {name} ON django_admin_log {columns}",
            f"DROP INDEX IF EXISTS {name}",
        )
        for name, columns in INDEXES.items()
    ]
