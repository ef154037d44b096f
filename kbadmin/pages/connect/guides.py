"""What to copy into each client, filled with this installation's addresses, key and collection."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from plugin.rehearsal import Facts

#: Stands for the key until one is made: it is shown only once.
NO_KEY = "YOUR_API_KEY"
#: The release that this was tried with.
NEXTCHAT_IMAGE = "yidadaa/chatgpt-next-web:v2.16.1"
BRIDGE = "deploy/mcp/kbadmin_mcp.py"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One thing to do, and the text to copy for it."""

    text: str
    code: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Guide:
    name: str | Promise
    about: str | Promise  #: when this is the way to take
    write: Callable[[Facts], list[Instruction]]
    are_steps: bool = True  #: or ways to choose from


def key_of(facts: Facts) -> str:
    if settings.PLUGIN_AUTH == "none":
        # Clients that insist on a key take any text.
        return "none"
    return facts.key or NO_KEY


def nextchat(facts: Facts) -> list[Instruction]:
    return [
        Instruction(
            _("Start NextChat with this installation as its language model:"),
            _shell(
                "docker run -p 3000:3000",
                f"-e BASE_URL={facts.server}",
                f"-e OPENAI_API_KEY={key_of(facts)}",
                f"-e CUSTOM_MODELS=-all,+{facts.collection}@OpenAI",
                f"-e DEFAULT_MODEL={facts.collection}@OpenAI",
                NEXTCHAT_IMAGE,
            ),
            _local_note(facts),
        ),
        Instruction(
            _(
                "Or, in a NextChat that runs already: Settings → Model → Custom Endpoint, with "
                "this endpoint, the key, and the collection as custom model."
            ),
            "\n".join([facts.base, key_of(facts), f"{facts.collection}@OpenAI"]),
            _("The browser then asks this server itself, so its origin has to be allowed (CORS)."),
        ),
        Instruction(
            _(
                "Open a new chat and ask. Every answer ends with its sources and with links to "
                "vote on it. Any model will do, also one without tools; without any model the "
                "answer is made of the best passages."
            ),
            f"{settings.NEXTCHAT_URL}/#/new-chat",
        ),
    ]


def nextchat_plugin(facts: Facts) -> list[Instruction]:
    return [
        Instruction(
            _(
                "Without any configuration in the browser: write NextChat's three files, and "
                "mount them over its own."
            ),
            "\n".join(
                [
                    "python manage.py nextchat_files nextchat",
                    _shell(
                        "docker run -p 3000:3000",
                        *(
                            f"-v ./nextchat/{name}:/app/public/{name}:ro"
                            for name in ("plugins.json", "masks.json", "serviceWorkerRegister.js")
                        ),
                        NEXTCHAT_IMAGE,
                    ),
                ]
            ),
            _("The Docker Compose file of kbadmin does this by itself."),
        ),
        Instruction(
            _("Open a chat in which the plugin is switched on:"),
            f"{settings.NEXTCHAT_URL}/#/new-chat?mask=100000",
        ),
        Instruction(
            _(
                "Or by hand: Discovery → Plugin → Create, load this address, and choose Bearer "
                "with the key as token."
            ),
            "\n".join([f"{facts.base}/nextchat/openapi.json", key_of(facts)]),
            _("The model has to support tools; for others take the gateway."),
        ),
    ]


def fastchat(facts: Facts) -> list[Instruction]:
    return [
        Instruction(
            _(
                "FastChat ignores tools, so kbadmin stands in front of it: it searches, adds the "
                "passages, and hands the answer through. Start FastChat as deploy/fastchat "
                "describes, then kbadmin with its address:"
            ),
            f"KBADMIN_UPSTREAM_URL={settings.UPSTREAM_URL or 'http://127.0.0.1:8000/v1'} make run",
            _("The same goes for vLLM, Ollama and hosted models; KBADMIN_UPSTREAM_KEY is theirs."),
        ),
        Instruction(
            _("Then use kbadmin in every program as an OpenAI-compatible server:"),
            "\n".join(
                [
                    f"OPENAI_BASE_URL={facts.base}/v1",
                    f"OPENAI_API_KEY={key_of(facts)}",
                    f"OPENAI_MODEL={facts.collection}",
                ]
            ),
            _("FastChat's own models are there as well, by their names and without a search."),
        ),
    ]


def gpt_actions(facts: Facts) -> list[Instruction]:
    return [
        Instruction(
            _("In the GPT's editor: Configure → Create new action → Import from URL:"),
            f"{facts.base}/openapi.json?for=actions",
            ""
            if facts.base.startswith("https://")
            else _(
                "OpenAI's servers must reach this address: it needs https and a public name "
                "(KBADMIN_PUBLIC_URL)."
            ),
        ),
        Instruction(_("Authentication: API key, of the type Bearer."), key_of(facts)),
        Instruction(_("Privacy policy:"), f"{facts.base}/legal"),
        Instruction(
            _("Instructions for the GPT:"),
            _(
                "Before you answer, call search with the user's question in the user's language. "
                "Answer from the returned passages alone and name their titles. If confidence is "
                "none, say that the knowledge base does not know."
            ),
        ),
    ]


def mcp(facts: Facts) -> list[Instruction]:
    address, key = f"{facts.base}/mcp", key_of(facts)
    headers = {"Authorization": f"Bearer {key}"}
    bridge = {
        "command": "python3",
        "args": [str(settings.BASE_DIR / BRIDGE)],
        "env": {"KBADMIN_URL": facts.base, "KBADMIN_API_KEY": key},
    }
    return [
        Instruction(_("The address, for clients that ask for one:"), address),
        Instruction(
            _("Claude Code:"),
            _shell(
                f"claude mcp add --transport http kbadmin {address}",
                f'--header "Authorization: Bearer {key}"',
            ),
        ),
        Instruction(
            _("Cursor, in ~/.cursor/mcp.json:"),
            _json({"mcpServers": {"kbadmin": {"url": address, "headers": headers}}}),
        ),
        Instruction(
            _("VS Code, in .vscode/mcp.json:"),
            _json({"servers": {"kbadmin": {"type": "http", "url": address, "headers": headers}}}),
        ),
        Instruction(
            _(
                "Claude Desktop, NextChat and others that only start programs: by the bridge that "
                "comes with kbadmin, one file without further packages."
            ),
            _json({"mcpServers": {"kbadmin": bridge}}),
            _("On another machine, copy %(file)s there and name its path.") % {"file": BRIDGE},
        ),
    ]


def code(facts: Facts) -> list[Instruction]:
    key = key_of(facts)
    body = json.dumps({"query": facts.question, "collection": facts.collection}, ensure_ascii=False)
    escaped = body.replace("'", "'\\''")
    return [
        Instruction(
            "curl",
            _shell(
                f"curl {facts.base}/search",
                f"-H 'Authorization: Bearer {key}'",
                "-H 'Content-Type: application/json'",
                f"-d '{escaped}'",
            ),
        ),
        Instruction(
            "Python",
            "\n".join(
                [
                    "from openai import OpenAI",
                    "",
                    f'client = OpenAI(base_url="{facts.base}/v1", api_key="{key}")',
                    "answer = client.chat.completions.create(",
                    f'    model="{facts.collection}",',
                    f'    messages=[{{"role": "user", "content": {_quoted(facts.question)}}}],',
                    ")",
                    "print(answer.choices[0].message.content)",
                ]
            ),
        ),
        Instruction(
            "JavaScript",
            "\n".join(
                [
                    f'const response = await fetch("{facts.base}/search", {{',
                    '  method: "POST",',
                    "  headers: {",
                    f'    "Authorization": "Bearer {key}",',
                    '    "Content-Type": "application/json",',
                    "  },",
                    f"  body: JSON.stringify({body}),",
                    "});",
                    "const { results, confidence, query_id } = await response.json();",
                ]
            ),
            _("A key in a public web page is public: ask from a server there."),
        ),
        Instruction(
            _("Buttons for feedback on a web page, by the query_id of the search:"),
            f'<script src="{facts.base}/static/feedback.js" data-query-id="…" defer></script>',
        ),
    ]


def _shell(*parts: str) -> str:
    return " \\\n  ".join(parts)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _local_note(facts: Facts) -> str:
    if "//127.0.0.1" not in facts.server and "//localhost" not in facts.server:
        return ""
    return _(
        "Inside a container %(address)s is the container itself. Set KBADMIN_PLUGIN_SERVER_URL "
        "to an address that it can reach, such as http://host.docker.internal:%(port)s."
    ) % {"address": facts.server, "port": settings.PORT}


GUIDES: Mapping[str, Guide] = {
    "nextchat": Guide(
        gettext_lazy("NextChat"),
        gettext_lazy("Works with every model, and without any: kbadmin is the model."),
        nextchat,
    ),
    "nextchat-plugin": Guide(
        gettext_lazy("NextChat plugin"),
        gettext_lazy("The model decides when to search. It has to support tools."),
        nextchat_plugin,
    ),
    "fastchat": Guide(
        gettext_lazy("FastChat and others"),
        gettext_lazy("Your own language model, with the knowledge base in front of it."),
        fastchat,
    ),
    "gpt-actions": Guide(
        gettext_lazy("GPT Actions"),
        gettext_lazy("A GPT of your own in ChatGPT that searches here."),
        gpt_actions,
    ),
    "mcp": Guide(
        gettext_lazy("MCP"),
        gettext_lazy("Agents and desktop programs: Claude, Cursor, VS Code, ChatGPT connectors."),
        mcp,
        are_steps=False,
    ),
    "code": Guide(
        gettext_lazy("Code"),
        gettext_lazy("curl, Python and JavaScript, and buttons for feedback."),
        code,
        are_steps=False,
    ),
}
