"""A folder of photographs through the registered models into another: `python -m serving.album IN OUT`.

Ray Data spreads the photographs over the cores or GPUs of this machine, or of the cluster that RAY_ADDRESS names: its
machines must all see both folders. A rerun does what is missing. OUT/report.csv says what became of each file.
"""

import argparse
import fcntl
import secrets
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn, get_args

from tqdm import tqdm

from models.acceleration import Choice
from models.task import Task
from serving.albums import files, record
from serving.albums.files import Found
from serving.albums.photograph import Order, Verb, said
from serving.albums.record import Outcome, Record
from serving.albums.spread import Album, Machine, spread
from serving.photo import Format
from serving.registry import Registry, RegistryError, Version, tracking_uri

REPORT = "report.csv"
_OURS = ".autochrome"  # folder in OUT: records, and files that are not whole yet


class AlbumError(Exception):
    """The album cannot be begun; the message is one line that says what would be right."""


def main() -> None:
    """Does the album; status 0: all done, 1: some not, 2: not begun, 130: stopped by Ctrl-C."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _leave)
    try:
        status = run(arguments)
    except (AlbumError, RegistryError) as error:
        print(f"serving.album: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    sys.exit(status)


def run(arguments: argparse.Namespace) -> int:
    """The exit status of the album that the command line asks for; raises AlbumError or RegistryError."""
    source, target = _folders(arguments.source, arguments.target)
    order = Order(
        Verb(arguments.task),
        None if arguments.format == "same" else Format(arguments.format),
        arguments.metadata == "keep",
        arguments.most_pixels,
    )
    registry = Registry(tracking_uri(), arguments.cache.resolve())
    machine = Machine(arguments.workers, arguments.cores, arguments.engine, arguments.memory_gb << 30)
    versions = _versions(registry, order.verb, arguments.alias)
    try:
        found = files.listed(source)
    except OSError as error:
        raise AlbumError(f"{source} cannot be read: {error.strerror}") from error
    with _only_one(target):
        album = Album(source, target, target / _OURS, order, versions, registry, machine, secrets.token_hex(8))
        ends = _made(album, found)
    return 0 if ends <= {Outcome.DONE, Outcome.SKIPPED} else 1


def _made(album: Album, found: Sequence[Found]) -> set[Outcome]:
    """What became of the files, which the report says of each."""
    names = [file.name for file in found if not file.skipped]
    outputs = dict(zip(names, files.outputs(names, album.order.format), strict=True))
    told = {file.name: Record(file.name, Outcome.SKIPPED, file.skipped) for file in found if file.skipped}
    try:
        with tqdm(total=len(names), unit="photograph", desc=album.order.verb, dynamic_ncols=True) as bar:
            counts = Counter[str]()
            with closing(spread(album, outputs)) as ends:
                for done in ends:
                    told[done.file] = done
                    counts[done.outcome] += 1
                    bar.set_postfix(counts, refresh=False)
                    bar.update()
    finally:
        # Also when it is stopped, and nobody works any more: what was done before has its record on disk.
        records = [told.get(file.name) or _recorded(album, file.name, outputs[file.name]) for file in found]
        _report(album.target, records)
    return {entry.outcome for entry in records}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m serving.album", description=__doc__.partition("\n")[0])
    parser.add_argument("source", metavar="IN", type=Path, help="folder of photographs; its subfolders are kept")
    parser.add_argument("target", metavar="OUT", type=Path, help="folder for the pictures and report.csv")
    parser.add_argument("--task", choices=[*Verb], default=Verb.REVIVE, help="revive is restore, then colorize")
    parser.add_argument("--format", choices=["same", *Format], default="same", help="same: each photograph's own")
    parser.add_argument("--metadata", choices=["safe", "keep"], default="safe", help="keep: GPS and maker notes too")
    parser.add_argument("--alias", default="champion", help="of the models, in the registry at MLFLOW_TRACKING_URI")
    parser.add_argument("--most-pixels", type=_positive, default=100_000_000, help="of a photograph; more are refused")
    parser.add_argument("--workers", type=_positive, help="at once; as many as there are GPUs, or else cores, for them")
    parser.add_argument("--cores", type=_positive, default=1, help="of each worker")
    parser.add_argument("--memory-gb", type=_positive, default=4, help="for one photograph's work; more are refused")
    parser.add_argument("--engine", choices=get_args(Choice), default="bfloat16", help="or eager, where that is faster")
    parser.add_argument("--cache", type=Path, default=Path("build/serving"), help="folder of fetched bundles")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"it is {number}; it must be at least 1")
    return number


def _folders(source: Path, target: Path) -> tuple[Path, Path]:
    """Both, absolute; raises AlbumError where pictures would be written among the photographs."""
    source, target = source.resolve(), target.resolve()
    if not source.is_dir():
        raise AlbumError(f"IN is {source}; it must be a folder")
    if source == target or source in target.parents or target in source.parents:
        raise AlbumError(f"IN is {source} and OUT is {target}; neither may be in the other")
    try:
        (target / _OURS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AlbumError(f"OUT is {target}; it must be a folder that can be written: {error.strerror}") from error
    return source, target


def _versions(registry: Registry, verb: Verb, alias: str) -> Mapping[Task, Version]:
    """Found once, so that the whole album is by the same models, and fetched once to see that they can be."""
    versions = {}
    for task in verb.tasks:
        version = registry.find(task.model, alias)
        if version is None:
            raise AlbumError(f"no version of {task.model} has the alias {alias} in {tracking_uri()}")
        registry.fetch(version)
        versions[task] = version
    return versions


@contextmanager
def _only_one(target: Path) -> Iterator[None]:
    with (target / _OURS / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlbumError(f"another process is making the album {target}") from error
        scratch = target / _OURS / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)  # a killed one's files that are not whole
        scratch.mkdir()
        try:
            yield
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _recorded(album: Album, name: str, output: str) -> Record:
    """What the disk says of a photograph that this run has heard nothing of; no picture is read for it."""
    known = record.read(album.record(name))
    if known is not None and known.output == output and album.wants(known) and (album.target / output).exists():
        return known
    return Record(name, Outcome.MISSING, "not reached: the album was stopped")


def _report(target: Path, records: list[Record]) -> None:
    counts = Counter(entry.outcome for entry in records)
    print(
        f"{target}: {', '.join(f'{counts[end]} {end}' for end in Outcome if counts[end]) or 'no files'}",
        file=sys.stderr,
    )
    try:
        files.write(target / REPORT, record.report(records), target / _OURS / "scratch")
    except OSError as error:
        print(f"serving.album: {target / REPORT} cannot be written: {said(error)}. Not done:", file=sys.stderr)
        sys.stderr.buffer.write(record.report(entry for entry in records if entry.outcome is not Outcome.DONE))


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
