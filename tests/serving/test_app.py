import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError
from ray.serve.schema import ServeDeploySchema

import serving
from serving.app import AppArgs

CONFIG = Path(serving.__file__).with_name("config.yaml")


def test_arguments_come_as_text_from_serve_run() -> None:
    args = AppArgs.model_validate(
        {"alias": "challenger", "poll_seconds": "2.5", "max_pixels": "1000", "origins": "https://a.org,https://b.org"}
    )
    assert (args.alias, args.poll_seconds, args.max_pixels) == ("challenger", 2.5, 1000)
    assert args.origins == ("https://a.org", "https://b.org")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("polling", 3),
        ("poll_seconds", 0),
        ("max_pixels", "many"),
        ("alias", ""),
        ("threads", -1),
        ("canary_percent", 101),
        ("shadow_percent", -1),
        ("engine", "steam"),
    ],
)
def test_a_wrong_argument_is_an_error_that_names_it(key: str, value: object) -> None:
    with pytest.raises(ValidationError, match=key):
        AppArgs.model_validate({key: value})


def test_config_is_one_that_serve_takes() -> None:
    config = ServeDeploySchema.model_validate(yaml.safe_load(CONFIG.read_text()))
    application = config.applications[0]
    args = AppArgs.model_validate(application.args)
    assert args == AppArgs()  # what serve run does without arguments
    assert config.http_options.host == "127.0.0.1"
    longest = args.deadline_seconds + args.seconds_per_megapixel * args.max_pixels / 1e6
    assert (config.http_options.request_timeout_s or 0) > longest
    assert {deployment.name for deployment in application.deployments} == {
        "gateway",
        "detector",
        "restorer",
        "colorizer",
        "albums",
    }
    for deployment in application.deployments:
        assert deployment.max_queued_requests > 0
        assert deployment.graceful_shutdown_timeout_s >= args.deadline_seconds


def test_the_gateway_needs_no_torch_and_no_mlflow() -> None:
    code = "import sys, serving.ingress; print(sorted({'torch', 'mlflow', 'cv2'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
