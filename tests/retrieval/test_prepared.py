"""Queries whose SQL is built once: they answer what their queryset would."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from retrieval.models import ApiKey
from retrieval.prepared import Prepared, instance, padded

pytestmark = pytest.mark.django_db


@pytest.fixture
def keys():
    return [ApiKey.issue(f"key {number}")[0] for number in range(9)]


@pytest.fixture
def built():
    """How many values each SQL was built for."""
    return []


@pytest.fixture
def by_name(built):
    def build(values):
        built.append(len(values))
        return (
            ApiKey.objects.filter(revoked_at=None, name=values[0], pk__in=values[1:])
            .order_by()
            .values_list("pk", "name")
        )

    return Prepared(build)


def test_it_answers_with_the_values_of_the_call(keys, by_name, built):
    pks = [key.pk for key in keys]
    assert by_name.rows(["key 3", *pks[:4]]) == [(pks[3], "key 3")]
    assert by_name.rows(["key 1", *pks[:4]]) == [(pks[1], "key 1")]
    assert by_name.rows(["key 8", *pks[:4]]) == []
    assert built == [5]


def test_another_number_of_values_is_built_once_more(keys, by_name, built):
    pks = [key.pk for key in keys]
    by_name.rows(["key 3", *pks[:2]])
    by_name.rows(["key 3", *pks[:3]])
    by_name.rows(["key 3", *pks[1:3]])
    assert built == [3, 4]


def test_no_value_becomes_sql(keys, by_name):
    text = "key 1' OR '1'='1"
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert by_name.rows([text, keys[0].pk]) == []
    assert len(captured) == 1


def test_a_value_that_nothing_uses_is_an_error(keys):
    query = Prepared(lambda values: ApiKey.objects.filter(name=values[0]).values_list("pk"))
    with pytest.raises(ValueError, match="not among"):
        query.rows(["key 1", 2])


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([7], [7]),
        ([7, 8], [7, 8]),
        ([7, 8, 9], [7, 8, 9, 9]),
        (list(range(5)), [0, 1, 2, 3, 4, 4, 4, 4]),
    ],
)
def test_keys_are_filled_up_to_a_power_of_two(keys, expected):
    assert padded(keys) == expected


def test_an_instance_knows_its_columns_and_reads_the_others(keys):
    row = instance(ApiKey, ("id", "name"), (keys[2].pk, "key 2"))
    assert (row.pk, row.name) == (keys[2].pk, "key 2")
    assert row.prefix == keys[2].prefix
