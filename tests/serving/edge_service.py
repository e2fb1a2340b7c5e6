"""Tries to serve without keys where a Serve answers every address, and says how each try ended; for test_edge.py.

First the whole application is built, then a gateway that was built elsewhere starts.
"""

import json
import sys

import ray
from fastapi import FastAPI
from ray import serve

from serving import edge
from serving.app import AppArgs, build

NAME = "strangers"


@serve.ingress()
class Gateway:
    def __serve_build_asgi_app__(self) -> FastAPI:
        app = FastAPI()
        edge.guard(app, edge.Settings())
        return app


def built() -> str | None:
    try:
        build(AppArgs())
    except edge.Exposed as error:
        return str(error)
    return None


def started() -> str | None:
    once = serve.deployment(name="gateway", ray_actor_options={"num_cpus": 0}, max_constructor_retry_count=1)
    try:
        serve.run(once(Gateway).bind(), name=NAME, route_prefix=f"/{NAME}")
    except RuntimeError:
        return serve.status().applications[NAME].deployments["gateway"].message
    finally:
        serve.delete(NAME)
    return None


def main(address: str) -> None:
    ray.init(address=address, namespace="serve", log_to_driver=False)
    refused = {"built": built(), "started": started()}
    sys.stdout.write(json.dumps(refused) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
