#!/usr/bin/env node
// kbadmin's MCP server for clients that can only start a program and talk to it by stdio, where
// there is Node 18 or newer and no Python: in the container of NextChat, for example.
//
//     node kbadmin_mcp.mjs --url http://127.0.0.1:8001 --key YOUR-KEY
//     node kbadmin_mcp.mjs --check        # whether the server answers and takes the key
//
// Does what kbadmin_mcp.py does, line by line: see there. KBADMIN_URL and KBADMIN_API_KEY stand
// for --url and --key. No packages.

import { parseArgs } from "node:util";

const PARSE_ERROR = -32700;
const INVALID_REQUEST = -32600;
// Ours: the server is away, or refuses.
const UNAVAILABLE = -32000;
const META_VERSION = "io.modelcontextprotocol/protocolVersion";
// Methods whose header Mcp-Name repeats a parameter.
const NAMED = { "tools/call": "name", "prompts/get": "name", "resources/read": "uri" };

const say = (text) => process.stderr.write(`kbadmin-mcp: ${text}\n`);
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isRequest = (one) => "id" in one && !("result" in one) && !("error" in one);

/** Why there is no answer; the message is for the person who set this up. */
class Trouble extends Error {}

class Server {
  constructor(url, key, seconds) {
    const address = url.trim().replace(/\/+$/, "");
    if (!/^https?:\/\/[^/]/.test(address) || !URL.canParse(address)) {
      throw new Trouble(`'${url}' is no address; give one such as http://127.0.0.1:8001`);
    }
    this.url = address.endsWith("/mcp") ? address : `${address}/mcp`;
    this.key = key.trim();
    this.seconds = seconds;
  }

  /** The message that the server answers with; null where it owes none. */
  async post(message, headers, signal) {
    const limits = [AbortSignal.timeout(this.seconds * 1000), signal].filter(Boolean);
    const stop = new AbortController();
    for (const limit of limits) {
      limit.addEventListener("abort", () => stop.abort(limit.reason), { once: true });
    }
    let response;
    let body;
    try {
      response = await fetch(this.url, {
        method: "POST",
        // A redirect would lose the body, and might carry the key elsewhere.
        redirect: "manual",
        signal: stop.signal,
        headers: {
          "Content-Type": "application/json",
          Accept: "application/json, text/event-stream",
          ...(this.key ? { Authorization: `Bearer ${this.key}` } : {}),
          ...headers,
        },
        body: JSON.stringify(message),
      });
      body = await response.text();
    } catch (error) {
      const why = error.cause?.code ?? error.cause?.message ?? error.message;
      throw new Trouble(`kbadmin does not answer at ${this.url}: ${why}. Is it running?`);
    }
    if (response.status >= 300 && response.status < 400) {
      const target = response.headers.get("location") ?? "elsewhere";
      throw new Trouble(`${this.url} leads to ${target}; give that address.`);
    }
    if (response.status === 401) {
      const hint = this.key ? "is not valid" : "is missing";
      throw new Trouble(`The API key ${hint}: give one with --key or KBADMIN_API_KEY.`);
    }
    if (!body.trim()) return null;
    let answer = null;
    try {
      answer = JSON.parse(body);
    } catch {
      // Told below.
    }
    if (!Array.isArray(answer) && !(isObject(answer) && "jsonrpc" in answer)) {
      throw new Trouble(
        `${this.url} answered with status ${response.status} and no message of MCP.`,
      );
    }
    return answer;
  }
}

class Bridge {
  constructor(server) {
    this.server = server;
    this.revision = ""; // what `initialize` was answered with
    this.underWay = new Map(); // what stops a request, by its id as JSON: 1 is not "1"
    this.unfinished = new Set();
  }

  async run(input) {
    let rest = Buffer.alloc(0);
    for await (const piece of input) {
      rest = Buffer.concat([rest, piece]);
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        await this.take(rest.subarray(0, end).toString("utf8"));
        rest = rest.subarray(end + 1);
      }
    }
    await this.take(rest.toString("utf8"));
    await Promise.all(this.unfinished);
  }

  async take(line) {
    if (!line.trim()) return;
    let message;
    try {
      message = JSON.parse(line);
    } catch (error) {
      this.write(failure(null, PARSE_ERROR, `Parse error: ${error.message}`));
      return;
    }
    if (!isObject(message) && !Array.isArray(message)) {
      this.write(failure(null, INVALID_REQUEST, "Invalid request: send an object."));
      return;
    }
    if (message.method === "notifications/cancelled") {
      this.underWay.get(JSON.stringify(message.params?.requestId ?? null))?.abort();
      return;
    }
    const work = this.answer(message);
    if (message.method === "initialize" || !expectsAnswer(message)) {
      // In their order: what follows depends on it.
      await work;
      return;
    }
    this.unfinished.add(work);
    work.finally(() => this.unfinished.delete(work));
  }

  async answer(message) {
    const id = JSON.stringify(message.id ?? null);
    const stop = new AbortController();
    if (expectsAnswer(message)) this.underWay.set(id, stop);
    let answer;
    try {
      answer = await this.server.post(message, this.headers(message), stop.signal);
    } catch (error) {
      if (!stop.signal.aborted) say(error.message);
      answer = failures(message, error.message);
    } finally {
      this.underWay.delete(id);
    }
    if (!expectsAnswer(message) || stop.signal.aborted) return;
    if (isObject(message)) {
      if (!isObject(answer)) answer = failure(null, UNAVAILABLE, "kbadmin answered nothing.");
      answer.id ??= message.id ?? null;
      if (message.method === "initialize" && isObject(answer.result)) {
        this.revision = String(answer.result.protocolVersion ?? "");
      }
    }
    if (answer !== null) this.write(answer);
  }

  /** What HTTP says beside the body; stdio has no such thing. */
  headers(message) {
    if (!isObject(message) || message.method === "initialize") return {};
    const params = isObject(message.params) ? message.params : {};
    const version = isObject(params._meta) ? params._meta[META_VERSION] : undefined;
    if (typeof version !== "string") {
      return this.revision ? { "MCP-Protocol-Version": this.revision } : {};
    }
    const headers = { "MCP-Protocol-Version": version, "Mcp-Method": String(message.method) };
    const name = params[NAMED[message.method]];
    if (typeof name === "string") headers["Mcp-Name"] = name;
    return Object.fromEntries(
      Object.entries(headers).map(([key, value]) => [key, forHeader(value)]),
    );
  }

  write(message) {
    process.stdout.write(`${JSON.stringify(message)}\n`);
  }
}

/** Whether it is a request, or holds one, or is none of what a client may send. */
function expectsAnswer(message) {
  return [message].flat().some((one) => !isObject(one) || isRequest(one));
}

function failure(id, code, message) {
  return { jsonrpc: "2.0", id, error: { code, message } };
}

/** An error for each request in a message. */
function failures(message, text) {
  if (isObject(message)) return failure(message.id ?? null, UNAVAILABLE, text);
  const requests = message.filter((one) => isObject(one) && isRequest(one));
  return requests.map((one) => failure(one.id, UNAVAILABLE, text));
}

/** Text as a header carries it: what is not plain ASCII in base64. */
function forHeader(value) {
  const plain = /^[ -~]*$/.test(value) && value === value.trim();
  if (plain && !value.startsWith("=?base64?")) return value;
  return `=?base64?${Buffer.from(value, "utf8").toString("base64")}?=`;
}

/** Say what the server offers. 0 if it answers and takes the key. */
async function check(server) {
  const asked = { jsonrpc: "2.0", id: 1, method: "tools/list" };
  let answer;
  try {
    answer = await server.post(asked, { "MCP-Protocol-Version": "2025-11-25" });
  } catch (error) {
    say(error.message);
    return 1;
  }
  const tools = answer?.result?.tools;
  if (!Array.isArray(tools)) {
    say(`${server.url} is no MCP server.`);
    return 1;
  }
  const names = tools.map((tool) => tool.name).join(", ");
  say(`${server.url} answers; its tools are ${names}.`);
  return 0;
}

async function main() {
  let server;
  let options;
  try {
    options = parseArgs({
      options: {
        url: { type: "string", default: process.env.KBADMIN_URL || "http://127.0.0.1:8001" },
        key: { type: "string", default: process.env.KBADMIN_API_KEY || "" },
        timeout: { type: "string", default: "60" },
        check: { type: "boolean", default: false },
      },
    }).values;
    server = new Server(options.url, options.key, Number(options.timeout) || 60);
  } catch (error) {
    say(error.message);
    return 2;
  }
  if (options.check) return check(server);
  process.stdout.on("error", () => process.exit(0)); // the client has gone
  say(`passing messages on to ${server.url}`);
  await new Bridge(server).run(process.stdin);
  return 0;
}

process.exitCode = await main();
