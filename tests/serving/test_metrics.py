import asyncio
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families

from serving import metrics

PAGE = """\
# HELP ray_autochrome_answers_total Pictures answered
# TYPE ray_autochrome_answers_total counter
ray_autochrome_answers_total{{WorkerId="{worker}",version="restorer/3"}} {count}
# HELP ray_node_cpu_count Cores
# TYPE ray_node_cpu_count gauge
ray_node_cpu_count 2.0
# HELP ray_autochrome_queue_waiting Photographs that wait
# TYPE ray_autochrome_queue_waiting gauge
ray_autochrome_queue_waiting{{WorkerId="{worker}",task="restore"}} 1.0
# HELP ray_serve_num_http_requests_total Requests
# TYPE ray_serve_num_http_requests_total counter
ray_serve_num_http_requests_total{{WorkerId="{worker}",route="/ray_autochrome_"}} 9.0
"""
PAGES = [PAGE.format(worker=worker, count=count) for worker, count in (("a", 2.0), ("b", 3.0))]


def values(page: str) -> dict[str, list[float]]:
    """Values by the metric's name; raises for a page that is not in Prometheus' format."""
    return {family.name: [sample.value for sample in family.samples] for family in text_string_to_metric_families(page)}


def test_the_nodes_pages_are_one() -> None:
    page = metrics.merged(PAGES)
    assert values(page) == {
        "ray_autochrome_answers": [2.0, 3.0],
        "ray_autochrome_queue_waiting": [1.0, 1.0],
        "ray_serve_num_http_requests": [9.0, 9.0],
    }
    assert page.count("# TYPE ray_autochrome_answers_total counter") == 1
    lines = [line for line in page.splitlines() if "answers" in line]
    assert lines == page.splitlines()[: len(lines)]  # a metric's lines stand together


@pytest.fixture
def agent() -> Iterator[httpx.URL]:
    class Agent(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PAGES[0].encode())

        def log_message(self, *arguments: object) -> None:
            """Tests are quiet."""

    with HTTPServer(("127.0.0.1", 0), Agent) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield httpx.URL(f"http://127.0.0.1:{server.server_port}/metrics")
        server.shutdown()
        thread.join()


def test_a_node_that_does_not_answer_is_counted(agent: httpx.URL) -> None:
    nobody = httpx.URL("http://127.0.0.1:9/metrics")
    found = values(asyncio.run(metrics.gathered([agent, nobody])))
    assert found["ray_autochrome_answers"] == [2.0]
    assert found["ray_autochrome_silent_nodes"] == [1.0]


def test_without_ray_there_is_nothing_to_gather() -> None:
    assert not ray.is_initialized()
    assert asyncio.run(metrics.page()) == ""


def test_recording_needs_no_ray() -> None:
    metrics.observe_stage("decode", 0.1)
    metrics.observe_batch("restore", 3)
    metrics.observe_answer("restorer/3")
    metrics.observe_refusal("deadline", 504)
    metrics.observe_request("/v1/revive", 200)
    metrics.observe_shadow("restore", math.inf, -1.5, 0.2, 0.1)
    metrics.set_queue("restore", 4)
    metrics.observe_swap("restorer", "restorer/3", "served")
