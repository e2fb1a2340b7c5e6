import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import ray
import yaml
from ray.serve.schema import ServeDeploySchema
from ray.util.metrics import Counter, Histogram

import serving
from serving import metrics
from serving.app import AppArgs

ROOT = Path(serving.__file__).parents[1]
DEPLOY = ROOT / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "autochrome.json").read_text())


def document(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


TARGETS = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]


def exported() -> dict[str, set[str]]:
    """The labels of each name on Prometheus' page."""
    names: dict[str, set[str]] = {metrics.SILENT: set()}
    for metric in metrics.METRICS:
        labels = set(metric.info["tag_keys"])
        name = metrics.PREFIX + metric.info["name"]
        match metric:
            case Counter():
                names[f"{name}_total"] = labels
            case Histogram():
                names |= {f"{name}_sum": labels, f"{name}_count": labels, f"{name}_bucket": labels | {"le"}}
            case _:
                names[name] = labels
    return names


def used(expression: str) -> set[str]:
    return set(re.findall(r"ray_autochrome_\w+", expression))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target["expr"][:60])
def test_the_dashboard_shows_what_is_recorded(target: dict[str, str]) -> None:
    expression, known = target["expr"], exported()
    assert used(expression) <= known.keys()
    grouped = [label for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(", ")]
    labels = {*grouped, *re.findall(r"(\w+)!?=\"", expression), *re.findall(r"{{(\w+)}}", target["legendFormat"])}
    for name in used(expression):
        assert labels <= known[name]
    for left, right in ("()", "[]", "{}"):
        assert expression.count(left) == expression.count(right)


def test_everything_that_is_recorded_is_shown() -> None:
    shown = " ".join(target["expr"] for target in TARGETS)
    for metric in metrics.METRICS:
        assert metric.info["name"] in shown


def test_everything_that_is_recorded_is_on_the_operators_page() -> None:
    page = (ROOT / "docs" / "operating.md").read_text()
    rows = dict(re.findall(r"^\| `(ray_autochrome_\w+)` \|([\w, ]*)\|", page, re.MULTILINE))
    histograms = {name.removesuffix("_count"): labels for name, labels in exported().items() if name.endswith("_count")}
    others = {name: labels for name, labels in exported().items() if not name.startswith(tuple(histograms))}
    assert {name: set(labels.replace(",", "").split()) for name, labels in rows.items()} == histograms | others
    stages = next(line for line in page.splitlines() if line.startswith("| `ray_autochrome_stage_seconds`"))
    assert set(stages.split("|")[3].strip().split(", ")) == set(get_args(metrics.Stage))


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_compose_opens_nothing_beyond_this_machine() -> None:
    services = document("compose.yaml")["services"]
    ports = [port for service in services.values() for port in service["ports"]]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_mounts_what_is_there() -> None:
    compose = document("compose.yaml")
    for name, service in compose["services"].items():
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            if not source.startswith("."):
                assert source in compose["volumes"], name
            elif source != "./keys":  # the operator's
                assert (DEPLOY / source).is_file(), f"{name}: {source}"
        tag = service["image"].partition(":")[2]
        assert tag or "autochrome" in service["image"], f"{name} has no version"


def test_the_image_is_made_of_what_is_there() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    assert {"models", "pipelines", "serving", "pyproject.toml", "constraints.txt"} == set(copied)
    assert all((ROOT / name).exists() for name in copied)
    assert any(line == "USER autochrome" for line in lines)


def test_the_images_command_gives_arguments_that_the_application_takes() -> None:
    (command,) = re.findall(r"^CMD (\[.*\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    python, module, name, *arguments = json.loads(command)
    assert (python, module, name) == ("python", "-m", "serving")
    args = AppArgs.model_validate(dict(argument.split("=", 1) for argument in arguments))
    assert args.keys == Path("/keys/keys.json")  # it answers more than this machine


def test_the_image_has_the_makefiles_settings() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    exports = re.findall(r"^export (\w+ = \S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    settings = {line.replace(" = ", "=") for line in exports if line.startswith(("RAY_SERVE", "MLFLOW", "RAY_USAGE"))}
    assert settings
    assert all(setting in dockerfile for setting in settings)


def test_kubernetes_serves_what_serve_takes() -> None:
    spec = document("rayservice.yaml")["spec"]
    config = ServeDeploySchema.model_validate(yaml.safe_load(spec["serveConfigV2"]))
    (application,) = config.applications
    assert application.import_path == "serving.app:build"
    assert config.http_options.host == "0.0.0.0"  # noqa: S104 - the pods' network
    assert AppArgs.model_validate(application.args).keys is not None
    ours = yaml.safe_load((ROOT / "serving" / "config.yaml").read_text())
    deployments = {deployment["name"] for deployment in ours["applications"][0]["deployments"]}
    assert {deployment.name for deployment in application.deployments} <= deployments
    assert config.http_options.request_timeout_s == ours["http_options"]["request_timeout_s"]


def test_kubernetes_runs_our_ray_and_mounts_what_it_names() -> None:
    cluster = document("rayservice.yaml")["spec"]["rayClusterConfig"]
    assert cluster["rayVersion"] == ray.__version__
    assert cluster["authOptions"] == {"mode": "token"}
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        (container,) = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        port = next(port["containerPort"] for port in container["ports"] if port["name"] == "metrics")
        annotations = group["template"]["metadata"]["annotations"]
        assert group["rayStartParams"]["metrics-export-port"] == annotations["prometheus.io/port"] == str(port)


def test_prometheus_brings_a_key_to_the_page() -> None:
    (scrape,) = document("prometheus.yaml")["scrape_configs"]
    assert scrape["metrics_path"] == "/metrics"
    mounts = document("compose.yaml")["services"]["prometheus"]["volumes"]
    folder = str(Path(scrape["authorization"]["credentials_file"]).parent)
    assert any(mount.split(":")[1] == folder for mount in mounts)


def test_grafana_finds_its_dashboard_and_its_figures() -> None:
    (source,) = document("grafana/datasources.yaml")["datasources"]
    assert source["type"] == "prometheus"
    (provider,) = document("grafana/dashboards.yaml")["providers"]
    mounts = document("compose.yaml")["services"]["grafana"]["volumes"]
    assert any(mount.split(":")[1] == f"{provider['options']['path']}/autochrome.json" for mount in mounts)
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {"${datasource}"}
