"""What the servers answer; `plugin.doctor.probes` asks them."""

from plugin.doctor.registry import describe
from plugin.doctor.rules.levels import ADVICE, CHATGPT, ERROR, LANGCHAIN, NEXTCHAT, WARNING
from plugin.doctor.types import Document

M, O = Document.MANIFEST, Document.OPENAPI  # noqa: E741 - the two documents

describe(
    "KB701",
    "address-unreachable",
    M,
    {CHATGPT: ERROR},
    """The logo or the legal page is not there: an error status, no answer, redirects without an
    end, an invalid certificate.

    Why: A logo that is not found makes some clients hide the whole plugin, without a word in the
    console; stores refuse a plugin whose legal page is missing.

    Fix: Make the address answer with 200, or name one that does.
    """,
)
describe(
    "KB702",
    "logo-unreadable",
    M,
    {CHATGPT: ERROR},
    """What the logo's address answers is no picture that can be decoded.

    Why: The client shows an empty place, or hides the plugin. Many servers answer a page of
    theirs, with status 200, where a file is missing.

    Fix: Serve a PNG at the address, and open it in a browser to see.
    """,
)
describe(
    "KB703",
    "logo-content-type",
    M,
    {CHATGPT: WARNING},
    """The logo is served under a content type that is not its own.

    Why: With "X-Content-Type-Options: nosniff", and for SVG always, browsers show no picture
    whose type is wrong.

    Fix: Serve it with the content type of its format, such as image/png.
    """,
)
describe(
    "KB704",
    "logo-size",
    M,
    {CHATGPT: ADVICE},
    """The logo is small, not square, large in bytes, or of a format that few clients show.

    Why: Clients show it in a square of their own size: what is small is blurred, what is not
    square is distorted or cut off.

    Fix: Serve a PNG of 512 × 512 pixels and less than 500 kB.
    """,
)
describe(
    "KB705",
    "redirected",
    M,
    {CHATGPT: ADVICE},
    """An address leads on to another one.

    Why: Browsers demand permission (CORS) at every step, and some clients follow no redirects.

    Fix: Name the address at the end of the way.
    """,
)
describe(
    "KB706",
    "document-content-type",
    M,
    {CHATGPT: ADVICE},
    """A document is served under a content type of something else.

    Why: Browsers and proxies treat it by its type: a page of the web is shown instead of read,
    and a download is kept in a file.

    Fix: Serve JSON as application/json and YAML as application/yaml or text/yaml.
    """,
)
describe(
    "KB707",
    "slow",
    M,
    {CHATGPT: WARNING},
    """A document took longer than five seconds.

    Why: ChatGPT gave up after 15 seconds, and others sooner.

    Fix: Serve it as a file, or from a cache.
    """,
)
describe(
    "KB708",
    "cached-copy",
    M,
    {CHATGPT: ADVICE, LANGCHAIN: ADVICE},
    """Clients and proxies are told to keep a document for long.

    Why: Whoever has an old copy goes on using it after you have mended the document.

    Fix: Send "Cache-Control: no-cache" with an ETag: copies are then asked about each time.
    """,
)
describe(
    "KB709",
    "cors-document",
    O,
    {NEXTCHAT: WARNING},
    """A page of the configured origin may not read the document (CORS).

    Why: NextChat fetches it in the browser. An import by hand tries again through NextChat's
    server; a plugin in plugins.json does not appear at all.

    Fix: Answer with "Access-Control-Allow-Origin" and that origin, or *, also for errors.
    """,
)
describe(
    "KB710",
    "cors-preflight",
    O,
    {CHATGPT: ADVICE, NEXTCHAT: ADVICE},
    """A page of the configured origin may not POST JSON to an operation (CORS preflight).

    Why: What calls from the browser, such as feedback buttons or a plugin on this machine, is
    stopped before it is sent. Calls that a server makes are not concerned.

    Fix: Answer OPTIONS with 204 and the headers Access-Control-Allow-Origin, -Methods and
    -Headers: authorization, content-type.
    """,
)
describe(
    "KB711",
    "legal-page",
    M,
    {CHATGPT: ADVICE},
    """The legal page is empty, or no text that a browser shows.

    Why: People are led there to read whom they trust with their questions.

    Fix: Serve a page of text: who runs the plugin, and what is kept of questions.
    """,
)
