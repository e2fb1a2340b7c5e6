"""A small guarded application in a real Ray Serve that binds all interfaces; run by test_edge.py.

First without keys: the first line of JSON says how that ended. Then with keys: the second says where everything is.
"""

import json
import sys
from pathlib import Path
from typing import Any

import ray
from fastapi import FastAPI, Request, Response
from ray import serve
from ray.serve import Application

from serving import edge, errors, logs


@serve.ingress()
class Gateway:
    def __init__(self, settings: edge.Settings) -> None:
        self._settings = settings

    def __serve_build_asgi_app__(self) -> FastAPI:
        app = FastAPI()
        errors.answer_in_json(app)

        @app.get("/healthz")
        async def healthz() -> dict[str, str]:
            return {"status": "ok"}

        @app.post("/v1/things/{name}")
        async def thing(name: str, request: Request) -> Response:
            return Response(await request.body(), headers={"X-Restorer": "restorer/3"})

        edge.guard(app, self._settings)
        return app


def application(settings: edge.Settings) -> Application:
    options: dict[str, Any] = {"name": "gateway", "ray_actor_options": {"num_cpus": 0}, "logging_config": logs.CONFIG}
    return serve.deployment(**options)(Gateway).bind(settings)


def say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main(port: int, keys: Path) -> None:
    context = ray.init(address="local", num_cpus=1, namespace="serve", log_to_driver=False)
    serve.start(http_options={"host": "0.0.0.0", "port": port})  # noqa: S104 - what is tested
    try:
        serve.run(application(edge.Settings()))
    except RuntimeError:
        say(refused=serve.status().applications["default"].deployments["gateway"].message)
    else:
        say(refused=None)
    serve.run(application(edge.Settings(keys=keys)))
    session = ray._private.worker._global_node.get_session_dir_path()  # type: ignore[attr-defined]
    say(dashboard=context.dashboard_url, logs=f"{session}/logs/serve")
    sys.stdin.read()  # until the test is done
    ray.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
