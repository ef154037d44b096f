"""Run FastChat: controller, one model worker and the OpenAI-compatible API server.

    python serve.py --model lmsys/vicuna-7b-v1.5          a name on the hub, or a folder
    python serve.py --check http://127.0.0.1:8000         fails unless a model is served there

The three end together: when one of them dies, the others are stopped, and what started this
may start it again. Controller and worker listen on this machine alone. It takes the standard
library and an environment with requirements.txt; docker-compose.yml sets it up by variables.
"""

import argparse
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

LOCAL = "127.0.0.1"
#: Seconds until the worker must have loaded its model, a download included.
LOADED_WITHIN = 3600.0
STOP_WAIT = 15.0


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    environment = os.environ
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=environment.get("FASTCHAT_MODEL"))
    parser.add_argument("--name", help="what clients call the model (default: its last part)")
    parser.add_argument("--device", default=environment.get("FASTCHAT_DEVICE") or "cpu")
    parser.add_argument("--host", default=environment.get("FASTCHAT_HOST") or LOCAL)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--api-key", default=environment.get("FASTCHAT_API_KEY"))
    parser.add_argument("--check", metavar="URL", help="start nothing; is a model served there?")
    parser.add_argument("worker", nargs="*", help="after --: more options of the model worker")
    options = parser.parse_args(given)
    if not (options.model or options.check):
        parser.error("name a model: --model or FASTCHAT_MODEL")
    return options


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOCAL, 0))
        return int(probe.getsockname()[1])


def models_at(url: str, key: str | None = None, seconds: float = 5.0) -> list[str]:
    """Names of the models that an API server offers.

    Raises OSError or ValueError if it does not answer.
    """
    request = urllib.request.Request(f"{url}/v1/models")  # noqa: S310 - http to our own server
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    # The environment may name a proxy, which would look for 127.0.0.1 on itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=seconds) as answer:
        return [model["id"] for model in json.load(answer)["data"]]


def commands(options: argparse.Namespace) -> dict[str, list[str]]:
    """What to run, by name, in this order."""
    controller, worker = (f"http://{LOCAL}:{free_port()}" for _ in range(2))

    def module(name: str, address: str, *more: str) -> list[str]:
        host, port = address.removeprefix("http://").rsplit(":", 1)
        run = [sys.executable, "-m", f"fastchat.serve.{name}", "--host", host, "--port", port]
        return [*run, *more]

    name = options.name or options.model.rstrip("/").rsplit("/", 1)[-1]
    found = ["--controller-address", controller]
    model = ["--model-path", options.model, "--model-names", name, "--device", options.device]
    keys = ["--api-keys", options.api_key] if options.api_key else []
    return {
        "controller": module("controller", controller),
        "worker": module(
            "model_worker", worker, "--worker-address", worker, *found, *model, *options.worker
        ),
        "api": module("openai_api_server", f"http://{options.host}:{options.port}", *found, *keys),
    }


class Stopped(Exception):
    """Somebody asked for the end."""


#: Set by the signals, and looked at: an exception out of a handler could cut the ending short.
stopping = threading.Event()


def stop(number: int, frame: FrameType | None) -> None:
    stopping.set()


def end_with_this_process() -> None:
    """For the children: killed with -9, this must not leave a model in memory (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG


def run(options: argparse.Namespace) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    started: dict[str, subprocess.Popen[bytes]] = {}
    # Without it, each program also writes a log into the folder that it is started in.
    environment = {"LOGDIR": "", **os.environ}
    try:
        for name, command in commands(options).items():
            started[name] = subprocess.Popen(  # noqa: S603 - FastChat's own programs
                command, env=environment, preexec_fn=end_with_this_process
            )
            if name == "controller":
                # The worker registers once, when it starts.
                wait_for_port(started[name], int(command[command.index("--port") + 1]))
        local = LOCAL if options.host == "0.0.0.0" else options.host  # noqa: S104  # compared, not bound to
        announce(started, f"http://{local}:{options.port}", options.api_key)
        while True:
            check(started)
            stopping.wait(0.2)
    except Stopped:
        return 0
    except RuntimeError as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    finally:
        for process in started.values():
            process.terminate()
        deadline = time.monotonic() + STOP_WAIT
        for process in started.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            process.kill()
            process.wait()


def check(started: dict[str, "subprocess.Popen[bytes]"]) -> None:
    """Raise Stopped if somebody asked for the end, RuntimeError if one of them has ended."""
    if stopping.is_set():
        raise Stopped
    for name, process in started.items():
        if process.poll() is not None:
            raise RuntimeError(f"FastChat's {name} ended with code {process.returncode}.")


def wait_for_port(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        check({"controller": process})
        with suppress(OSError), socket.create_connection((LOCAL, port), timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError("FastChat's controller does not answer.")


def announce(started: dict[str, "subprocess.Popen[bytes]"], url: str, key: str | None) -> None:
    """Wait until a model is served, and say so."""
    deadline = time.monotonic() + LOADED_WITHIN
    while time.monotonic() < deadline:
        check(started)
        with suppress(OSError, ValueError):
            if names := models_at(url, key):
                pids = ", ".join(f"{name} {process.pid}" for name, process in started.items())
                print(f"FastChat serves {', '.join(names)} at {url}/v1 ({pids})", flush=True)
                return
        time.sleep(0.5)
    raise RuntimeError("No model was loaded within an hour.")


def main() -> int:
    options = arguments()
    if not options.check:
        return run(options)
    try:
        names = models_at(options.check.rstrip("/"), options.api_key)
    except (OSError, ValueError) as error:
        print(f"{options.check}: {error}", file=sys.stderr)
        return 1
    return 0 if names else 1


if __name__ == "__main__":
    sys.exit(main())
