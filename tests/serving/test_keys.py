import json
import subprocess
import sys
from pathlib import Path

import pytest

import serving
from serving import keys
from serving.keys import Keys, KeysError
from serving.rates import Rates

ROOT = Path(serving.__file__).parents[1]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "serving.keys", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_key_is_printed_once_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    made = run("add", "museum", "--file", file, "--rate", "30")
    secret = made.stdout.strip()
    assert (made.returncode, made.stderr) == (0, "")
    assert len(secret) > 43  # 256 bits in base64
    assert secret.removeprefix("autochrome_") not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    listed = run("list", "--file", file)
    assert "museum\t30 a minute" in listed.stdout
    assert secret not in listed.stdout
    found = Keys(file).find(secret)
    assert found is not None
    assert (found.name, found.rate) == ("museum", 30)


def test_only_the_key_itself_is_found(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    secrets = {name: keys.add(file, name, 60) for name in ("a", "b", "c")}
    assert len(set(secrets.values())) == 3
    ring = Keys(file)
    for name, secret in secrets.items():
        found = ring.find(secret)
        assert found is not None
        assert found.name == name
    wrong = secrets["a"]
    hashes = [entry["sha256"] for entry in json.loads(file.read_text())]
    for presented in ("", "a", wrong[:-1], wrong + "x", wrong.upper(), f" {wrong}", "é", *hashes):
        assert ring.find(presented) is None


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    old = keys.add(file, "old", 60)
    ring = Keys(file)
    new = keys.add(file, "new", 60)
    assert ring.find(new) is not None
    assert ring.find(old) is not None
    keys.remove(file, "old")
    assert ring.find(old) is None
    assert ring.find(new) is not None


@pytest.mark.parametrize("broken", ["", "{", '[{"name": "x"}]'])
def test_a_broken_change_keeps_what_was_read(tmp_path: Path, broken: str) -> None:
    file = tmp_path / "keys.json"
    secret = keys.add(file, "museum", 60)
    ring = Keys(file)
    good = file.read_text()
    file.write_text(broken)
    assert ring.find(secret) is not None
    file.unlink()
    assert ring.find(secret) is not None
    file.write_text(good)
    keys.remove(file, "museum")
    assert ring.find(secret) is None  # an empty list is no broken file


def test_a_file_that_nobody_could_use_is_refused_at_start(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    with pytest.raises(KeysError, match=r"keys\.json cannot be read"):
        Keys(file)
    file.write_text("[]")
    with pytest.raises(KeysError, match=r"has no key; `python -m serving\.keys add"):
        Keys(file)


GOOD = {"name": "a", "sha256": "0" * 64, "rate": 1, "made": "2026-01-01"}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([GOOD | {"rate": 0}], "the rate of a is 0"),
        ([GOOD | {"rate": "many"}], "0.rate"),
        ([GOOD | {"sha256": "secret"}], "the sha256 of a has 6 characters"),
        ([GOOD | {"name": "a b"}], "the name is 'a b'"),
        ([GOOD, GOOD], "2 keys named a"),
        ([{"name": "a"}], "0.sha256"),
        ({"a": GOOD}, "the file"),
    ],
)
def test_what_is_wrong_is_named_and_no_content_shown(tmp_path: Path, entries: object, message: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(entries))
    with pytest.raises(KeysError) as caught:
        keys.load(file)
    assert message in str(caught.value)
    assert "0" * 64 not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "museum"], "has a key named museum already"),
        (["add", "no/name"], "the name is 'no/name'"),
        (["add", "b", "--rate", "0"], "the rate of b is 0"),
        (["remove", "nobody"], "has no key named nobody; it has museum"),
    ],
)
def test_a_wrong_command_changes_nothing(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys.json"
    keys.add(file, "museum", 60)
    before = file.read_text()
    assert keys.main([*arguments, "--file", str(file)]) == 1
    assert message in capsys.readouterr().err
    assert file.read_text() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_bucket_holds_a_minute_and_fills_steadily() -> None:
    now = 100.0
    rates = Rates(lambda: now)
    assert [rates.take("a", 3) for _ in range(4)] == [0, 0, 0, 20]
    assert rates.take("b", 3) == 0  # its own bucket
    now += 19.5
    assert rates.take("a", 3) == 1
    now += 0.5
    assert [rates.take("a", 3) for _ in range(2)] == [0, 20]
    now += 3600
    assert [rates.take("a", 3) for _ in range(4)] == [0, 0, 0, 20]  # never more than a minute's


def test_a_new_rate_holds_at_once() -> None:
    rates = Rates(lambda: 0.0)
    assert rates.take("a", 100) == 0
    assert [rates.take("a", 1) for _ in range(2)] == [0, 60]
