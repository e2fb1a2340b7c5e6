"""One photograph of an album: read, decoded, sent through the models, encoded, saved. It ends in a Record always."""

import asyncio
import errno
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from models.task import Task
from serving import photo
from serving.albums.files import format_of
from serving.albums.record import Outcome, Record
from serving.job import Job
from serving.refusal import Refusal

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FILES_FAULT = (400, 413, 415, 422)  # of the refusals; what else there is, such as a version that is gone, is ours


class Verb(StrEnum):
    """What is done to the photographs of an album."""

    REVIVE = "revive"
    RESTORE = "restore"
    COLORIZE = "colorize"

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The models' tasks in their order."""
        return {
            Verb.REVIVE: (Task.RESTORE, Task.COLORIZE),
            Verb.RESTORE: (Task.RESTORE,),
            Verb.COLORIZE: (Task.COLORIZE,),
        }[self]


class Models(Protocol):
    """What does the work: `serving.job.Models`, as far as albums need it."""

    async def run(self, tasks: Sequence[Task], job: Job, versions: Mapping[Task, str]) -> Job:
        """The job after the tasks in order, with the version that did each, such as `restorer/3`.

        `versions` are those that must do it; a task without one is done by what serves now. Raises Refusal.
        """


@dataclass(frozen=True)
class Order:
    """What is asked for, the same for every photograph of an album."""

    verb: Verb
    format: photo.Format | None  # None: the photograph's own
    keep_metadata: bool
    most_pixels: int

    def key(self, versions: Mapping[Task, str]) -> str:
        """What a picture depends on beside the photograph; a picture of another key must be made again."""
        asked = {"verb": self.verb, "format": self.format, "keep_metadata": self.keep_metadata}
        return json.dumps(asked | {"versions": [versions.get(task, "") for task in self.verb.tasks]})


@dataclass(frozen=True)
class Photograph:
    """One file of an album, and where its picture goes."""

    name: str
    output: str  # its picture's name
    read: Callable[[], Awaitable[bytes]]
    save: Callable[[bytes], Awaitable[None]]


async def work(photograph: Photograph, order: Order, models: Models, versions: Mapping[Task, str]) -> Record:
    """The photograph's record: whatever goes wrong with it is in the record, and not raised."""
    started = time.monotonic()
    name = photograph.name
    try:
        record = await _done(photograph, order, models, versions)
    except Refusal as refusal:
        outcome = Outcome.REFUSED if refusal.status in _FILES_FAULT else Outcome.FAILED
        record = Record(name, outcome, refusal.message)
    except OSError as error:
        record = Record(name, Outcome.FAILED, said(error))
    # One photograph never stops the others, whatever it leads the models to raise.
    except Exception as error:
        record = Record(name, Outcome.FAILED, f"{type(error).__name__}: {_one_line(error)}")
    return record.taking(time.monotonic() - started)


def said(error: OSError) -> str:
    """The system's own words; of a full disk nothing but these."""
    words = error.strerror or _one_line(error)
    return words if error.errno in _FULL or not error.filename else f"{words}: {error.filename}"


async def _done(photograph: Photograph, order: Order, models: Models, versions: Mapping[Task, str]) -> Record:
    name = photograph.name
    data = await photograph.read()
    sha256 = hashlib.sha256(data).hexdigest()
    given = await asyncio.to_thread(photo.decode, data, order.most_pixels, name)
    del data
    done = await models.run(order.verb.tasks, Job(given.pixels), versions)
    made = tuple(done.made_by.values())
    picture, form = given.with_pixels(done.pixels), format_of(name, order.format)
    body = await asyncio.to_thread(photo.encode, picture, form, made, keep_metadata=order.keep_metadata)
    await photograph.save(body)
    return Record(
        name,
        Outcome.DONE,
        "; ".join(given.notes),
        output=photograph.output,
        versions=made,
        sha256=sha256,
        output_sha256=hashlib.sha256(body).hexdigest(),
        order=order.key(done.made_by),
    )


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else "no words"
