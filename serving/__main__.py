"""The service on this machine: `python -m serving`, or with arguments of `serving.app`, or with a config file.

It is `serve run`, but for its end: SIGTERM, which is how process managers stop what they started, ends `serve run` at
once and every request with it, and Ctrl-C takes the models from under the gateway. Here both let everyone finish who
is being answered. A second one does not wait.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

import ray
from ray import serve
from ray.serve.exceptions import RayServeException
from ray.serve.scripts import run

NAME = "autochrome"  # of the application, as in config.yaml
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    words = sys.argv[1:]
    if not any(Path(word).is_file() for word in words):
        words = ["--name", NAME, "serving.app:build", *words]
    # By the time a gateway is stopped it has been drained: 30 s more are for load balancers, of which there is none.
    os.environ.setdefault("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", "1")
    # A Ray of its own, which ends with it. It takes SIGTERM for itself: ours must be set after it.
    ray.init(address=os.environ.get("RAY_ADDRESS", "local"), namespace="serve")
    for number in _SIGNALS:
        signal.signal(number, _leave)
    run.main(words, prog_name="python -m serving")


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    for other in _SIGNALS:
        signal.signal(other, signal.default_int_handler)
    print("finishing what is being worked on; once more to stop at once", file=sys.stderr)
    try:
        print(f"{ray.get(_drained.remote())} requests are not finished", file=sys.stderr)
    except RayServeException as error:
        print(f"nothing to finish: {error}", file=sys.stderr)
    raise KeyboardInterrupt


@ray.remote(num_cpus=0)
def _drained() -> int:
    """How many requests all gateways together still have after the time they had.

    In a process of its own: this one's handles would outlive the event loop that they need.
    """

    async def left() -> int:
        return sum(await serve.get_app_handle(NAME).broadcast("drain").results_async())

    return asyncio.run(left())


if __name__ == "__main__":
    main()
