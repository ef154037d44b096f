"""A real corpus: 1,250 pages of commands, English and Chinese, from a folder to answers."""

import json
import shutil
import time

import httpx
import pytest

from tests.conftest import SHARED_DATA
from tests.retrieval.installation import installed

pytestmark = [pytest.mark.shared, pytest.mark.timeout(900)]

KEY = "kb_test_of_the_notes_corpus"
ISSUE = f"from retrieval.models import ApiKey; ApiKey.issue('notes', '{KEY}')"

#: Question → pages of which one has to be among the first three: chosen by reading the notes.
QUESTIONS = {
    "list docker containers": ["pages/common/docker.md"],
    "change the owner of a file": ["pages/common/chown.md"],
    "how much disk space is free on each filesystem": [
        "pages/common/df.md", "pages/osx/df.md", "pages/openbsd/df.md",
    ],
    "back up a mysql database": ["pages/common/mysqldump.md"],
    "discard my changes to a file in git": ["pages/common/git-restore.md"],
    "解压 tar 归档": ["pages.zh/linux/ark.md", "pages.zh/osx/gtar.md"],
    "怎么解压 zip 文件": ["pages.zh/common/unzip.md"],
    "清空终端屏幕": ["pages.zh/common/clear.md"],
    "列出所有 PCI 设备": ["pages.zh/linux/lspci.md"],
    "如何终止一个进程": ["pages.zh/common/kill.md"],
    "docker 容器 列表": ["pages.zh/common/docker-container-run.md", "pages.zh/common/docker-ps.md"],
    "tar 解压 --strip-components": ["pages.zh/osx/gtar.md"],
}  # fmt: skip


class Corpus:
    """The notes in a folder that may be changed, their installation and its web process."""

    first: dict[str, int]  #: report of the first run

    def __init__(self, installation, notes):
        self.installation = installation
        self.notes = notes
        self.url = ""

    def ingest(self, *arguments):
        """Report of `manage.py ingest`, and the seconds that it took."""
        began = time.monotonic()
        out = self.installation.run(
            "ingest", str(self.notes), "--collection", "docs", "--wait", "--json", *arguments
        )
        return json.loads(out), time.monotonic() - began

    def ask(self, query, top_k=3):
        self.url = self.url or self.installation.serve()
        with httpx.Client(trust_env=False, timeout=30) as client:
            response = client.post(
                f"{self.url}/search",
                json={"query": query, "top_k": top_k},
                headers={"Authorization": f"Bearer {KEY}"},
            )
        assert response.status_code == 200, response.text
        answer = response.json()
        assert not answer["degraded"], answer
        return answer

    def pages(self, query, top_k=3):
        return [result["external_id"] for result in self.ask(query, top_k)["results"]]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, bundle):
    folder = tmp_path_factory.mktemp("notes")
    notes = folder / "notes"
    shutil.copytree(SHARED_DATA / "notes", notes)
    with installed(folder / "data", bundle) as installation:
        installation.run("shell", "-v", "0", "-c", ISSUE)
        corpus = Corpus(installation, notes)
        corpus.first, _ = corpus.ingest()
        yield corpus


def test_every_page_is_indexed(corpus):
    report = corpus.first
    assert report["failed"] == 0
    assert report["added"] + report.get("duplicate", 0) == 1250
    ((unfinished,),) = corpus.installation.rows(
        "SELECT count(*) FROM retrieval_revision WHERE state NOT IN ('indexed', 'skipped')"
    )
    assert unfinished == 0
    chunks = [str(pk) for (pk,) in corpus.installation.rows("SELECT id FROM retrieval_chunk")]
    assert sorted(corpus.installation.in_chroma()) == sorted(chunks)


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_right_page_is_among_the_first_three(corpus, question):
    found = corpus.pages(question)
    assert set(found) & set(QUESTIONS[question]), found


def test_an_answer_takes_a_fraction_of_a_second(corpus):
    corpus.ask("warm up")
    began = time.monotonic()
    for question in QUESTIONS:
        corpus.ask(question)
    assert (time.monotonic() - began) / len(QUESTIONS) < 1


def test_nonsense_is_not_answered_with_confidence(corpus):
    assert corpus.ask("xyzzy plugh qwrtz")["confidence"] == "none"


def test_a_second_run_finds_everything_unchanged_and_is_quick(corpus):
    report, seconds = corpus.ingest("--prune")
    same = report["unchanged"] + report.get("duplicate", 0)
    assert same == 1250
    for kind in ("added", "updated", "removed", "failed", "retried"):
        assert report[kind] == 0, kind
    assert seconds < 15, f"{seconds:.1f} s"


def test_a_run_with_prune_reports_exactly_what_changed(corpus):
    """The last: it changes the corpus."""
    changed = ["cron", "df", "fzf", "jq", "nano"]
    gone = ["chown", "mysqldump", "exiftool", "ccache", "lilypond"]
    common = corpus.notes / "pages" / "common"
    for name in changed:
        page = common / f"{name}.md"
        page.write_text(page.read_text() + "\n- Greet the quokka named Bartholomew:\n\n`hello`\n")
    for name in gone:
        (common / f"{name}.md").unlink()
    for number in range(5):
        (common / f"new{number}.md").write_text(f"# new{number}\n\n> Feeds the axolotl {number}.\n")
    report, _ = corpus.ingest("--prune")
    documents = report["documents"]
    assert documents["updated"] == [f"pages/common/{name}.md" for name in changed]
    assert documents["removed"] == sorted(f"pages/common/{name}.md" for name in gone)
    assert documents["added"] == [f"pages/common/new{number}.md" for number in range(5)]
    assert report["failed"] == 0
    for question in ("change the owner of a file", "back up a mysql database", "exiftool"):
        assert not set(corpus.pages(question, 50)) & set(documents["removed"])
    assert set(corpus.pages("feeds the axolotl", 5)) == set(documents["added"])
    assert set(corpus.pages("greet the quokka Bartholomew", 5)) == set(documents["updated"])
