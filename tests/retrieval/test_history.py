import pytest

from retrieval.exceptions import InvalidRequest
from retrieval.history import Change, diff, restore
from retrieval.models import Revision
from retrieval.search import search
from retrieval.types import SearchRequest
from tests.conftest import index_everything


def ask(question):
    return search(SearchRequest(question, "docs")).hits


class TestDiff:
    def test_it_shows_what_came_and_what_went_with_line_numbers(self):
        lines = list(diff("a\nb\nc", "a\nB\nc"))
        assert [(line.change, line.old_number, line.new_number, line.text) for line in lines] == [
            (Change.SAME, 1, 1, "a"),
            (Change.REMOVED, 2, None, "b"),
            (Change.ADDED, None, 2, "B"),
            (Change.SAME, 3, 3, "c"),
        ]

    def test_it_leaves_out_what_is_far_from_any_change(self):
        old = "\n".join(str(number) for number in range(100))
        new = old.replace("\n50\n", "\nfifty\n")
        lines = list(diff(old, new))
        assert lines[0].change == Change.GAP
        assert len(lines) < 12

    def test_equal_texts_have_none(self):
        assert list(diff("same\ntext", "same\ntext")) == []


@pytest.mark.django_db
class TestRestore:
    def test_an_earlier_version_answers_again_and_embeds_nothing(self, add, embedded):
        add("a.md", "# A\n\nThe walrus is here.")
        document = add("a.md", "# A\n\nThe pelican is here.")
        assert "pelican" in ask("walrus")[0].text
        embedded.clear()
        revision = restore(document, 1)
        index_everything()
        document.refresh_from_db()
        assert document.live_revision_id == revision.pk
        assert revision.number == 3
        assert "walrus" in ask("walrus")[0].text
        assert embedded == []

    def test_the_newest_serves_until_the_old_one_is_back(self, add):
        add("a.md", "# A\n\nThe walrus is here.")
        document = add("a.md", "# A\n\nThe pelican is here.")
        restore(document, 1)
        assert "pelican" in ask("walrus")[0].text

    @pytest.mark.parametrize("number", [0, 2, 99])
    def test_what_does_not_exist_or_is_the_newest_is_refused(self, add, number):
        add("a.md", "# A\n\none")
        document = add("a.md", "# A\n\ntwo")
        with pytest.raises(InvalidRequest):
            restore(document, number)
        assert Revision.objects.count() == 2
