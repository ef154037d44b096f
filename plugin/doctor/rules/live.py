"""What the servers answer; `plugin.doctor.probes` asks them."""

from plugin.doctor.registry import describe
from plugin.doctor.rules.levels import (
    ADVICE,
    CHATGPT,
    ERROR,
    GPT_ACTIONS,
    LANGCHAIN,
    MCP,
    NEXTCHAT,
    WARNING,
    callers,
    everybody,
)
from plugin.doctor.types import Document
from retrieval.sentences import Sentence as _

M, O = Document.MANIFEST, Document.OPENAPI  # noqa: E741 - the two documents

describe(
    "KB701",
    "address-unreachable",
    M,
    {CHATGPT: ERROR},
    what=_(
        "The logo or the legal page is not there: an error status, no answer, redirects "
        "without an end, an invalid certificate."
    ),
    why=_(
        "A logo that is not found makes some clients hide the whole plugin, without a "
        "word in the console; stores refuse a plugin whose legal page is missing."
    ),
    fix=_("Make the address answer with 200, or name one that does."),
)
describe(
    "KB702",
    "logo-unreadable",
    M,
    {CHATGPT: ERROR},
    what=_("What the logo's address answers is no picture that can be decoded."),
    why=_(
        "The client shows an empty place, or hides the plugin. Many servers answer a page "
        "of theirs, with status 200, where a file is missing."
    ),
    fix=_("Serve a PNG at the address, and open it in a browser to see."),
)
describe(
    "KB703",
    "logo-content-type",
    M,
    {CHATGPT: WARNING},
    what=_("The logo is served under a content type that is not its own."),
    why=_(
        'With "X-Content-Type-Options: nosniff", and for SVG always, browsers show no '
        "picture whose type is wrong."
    ),
    fix=_("Serve it with the content type of its format, such as image/png."),
)
describe(
    "KB704",
    "logo-size",
    M,
    {CHATGPT: ADVICE},
    what=_("The logo is small, not square, large in bytes, or of a format that few clients show."),
    why=_(
        "Clients show it in a square of their own size: what is small is blurred, what is "
        "not square is distorted or cut off."
    ),
    fix=_("Serve a PNG of 512 × 512 pixels and less than 500 kB."),
)
describe(
    "KB705",
    "redirected",
    M,
    {CHATGPT: ADVICE},
    what=_("An address leads on to another one."),
    why=_("Browsers demand permission (CORS) at every step, and some clients follow no redirects."),
    fix=_("Name the address at the end of the way."),
)
describe(
    "KB706",
    "document-content-type",
    M,
    {CHATGPT: ADVICE},
    what=_("A document is served under a content type of something else."),
    why=_(
        "Browsers and proxies treat it by its type: a page of the web is shown instead of "
        "read, and a download is kept in a file."
    ),
    fix=_("Serve JSON as application/json and YAML as application/yaml or text/yaml."),
)
describe(
    "KB707",
    "slow",
    M,
    {CHATGPT: WARNING},
    what=_("A document took longer than five seconds."),
    why=_("ChatGPT gave up after 15 seconds, and others sooner."),
    fix=_("Serve it as a file, or from a cache."),
)
describe(
    "KB708",
    "cached-copy",
    M,
    {CHATGPT: ADVICE, LANGCHAIN: ADVICE},
    what=_(
        "Clients, proxies or browsers are told to keep a document for long, or not told anything."
    ),
    why=_(
        "Whoever has an old copy goes on using it after you have mended the document. "
        "Without a word in Cache-Control, browsers guess from its age."
    ),
    fix=_('Send "Cache-Control: no-cache" with an ETag: copies are then asked about each time.'),
)
describe(
    "KB709",
    "cors-document",
    O,
    {NEXTCHAT: WARNING},
    what=_("A page of the configured origin may not read the document (CORS)."),
    why=_(
        "NextChat fetches it in the browser. An import by hand tries again through "
        "NextChat's server; a plugin in plugins.json does not appear at all."
    ),
    fix=_('Answer with "Access-Control-Allow-Origin" and that origin, or *, also for errors.'),
)
describe(
    "KB710",
    "cors-preflight",
    O,
    {CHATGPT: ADVICE, NEXTCHAT: ADVICE},
    what=_("A page of the configured origin may not POST JSON to an operation (CORS preflight)."),
    why=_(
        "What calls from the browser, such as feedback buttons or a plugin on this "
        "machine, is stopped before it is sent. Calls that a server makes are not "
        "concerned."
    ),
    fix=_(
        "Answer OPTIONS with 204 and the headers Access-Control-Allow-Origin, -Methods "
        "and -Headers: authorization, content-type."
    ),
)
describe(
    "KB711",
    "legal-page",
    M,
    {CHATGPT: ADVICE},
    what=_("The legal page is empty, or no text that a browser shows."),
    why=_("People are led there to read whom they trust with their questions."),
    fix=_("Serve a page of text: who runs the plugin, and what is kept of questions."),
)
describe(
    "KB712",
    "certificate-expires",
    M,
    everybody(WARNING),
    what=_("The certificate of a server expires within 14 days."),
    why=_("From that day on every program refuses the connection, and the plugin is dark."),
    fix=_("Renew it now, and have that done by a program from then on."),
)
describe(
    "KB713",
    "server-unreachable",
    O,
    callers(ERROR),
    what=_("Nobody answers where the operations are: no connection, no secure one, no such host."),
    why=_("Every call of a model fails, though the plugin was installed without a word."),
    fix=_(
        "Start the server, or name in servers the address at which it can be reached from outside."
    ),
)
describe(
    "KB714",
    "call-refused",
    O,
    callers(ERROR),
    what=_("A real call of the search, signed as the documents say, was refused (401, 403)."),
    why=_("The model is told of an error, and answers without the knowledge."),
    fix=_(
        "Give the key that the server knows, or mend auth in the manifest: it says how "
        "the key is sent."
    ),
)
describe(
    "KB715",
    "call-failed",
    O,
    callers(ERROR),
    what=_("A real call of the search was answered with an error, or led on to somewhere else."),
    why=_(
        "Of the answer, the model sees at most that there was an error. Where a call is "
        "led on, its body is lost."
    ),
    fix=_(
        "Look into the server's log at this time, and at what was sent: it is in the raw exchange."
    ),
)
describe(
    "KB716",
    "call-not-json",
    O,
    callers(WARNING),
    what=_("A real call of the search was answered with something other than JSON."),
    why=_(
        "The tools of models are described as JSON; of a page of the web, a model reads "
        "little but its markup."
    ),
    fix=_("Answer with JSON and the content type application/json."),
)
describe(
    "KB717",
    "call-slow",
    O,
    callers(WARNING),
    what=_("A real call of the search took longer than 10 seconds, or was not answered in 45."),
    why=_("Somebody waits for the answer; after 45 seconds ChatGPT gave up."),
    fix=_("Make the search faster, or let it answer with less."),
)
describe(
    "KB718",
    "call-too-long",
    O,
    {CHATGPT: ERROR, GPT_ACTIONS: ERROR, NEXTCHAT: WARNING, MCP: WARNING},
    what=_("A real call of the search was answered with more than 100,000 characters."),
    why=_(
        "GPT Actions refuse such an answer, and it leaves no room for anything else in a "
        "model's context."
    ),
    fix=_("Answer with fewer or shorter passages."),
)
describe(
    "KB719",
    "key-not-sent",
    O,
    callers(ADVICE),
    what=_("The search was not called, because the key would have gone to somebody else."),
    why=_("A document can name any server; a key is only for the one that it was made for."),
    fix=_(
        "Check a document that is served by the same domain over https, or call the "
        "server yourself."
    ),
)
