"""The gateway's routes in this process, without Ray, over models that a test brings; its albums never start."""

from pathlib import Path

from fastapi import FastAPI

from serving.albums.keeper import Keeper
from serving.albums.state import AlbumLimits
from serving.gateway import api
from serving.job import Models
from serving.limits import Limits
from serving.routing import Trial

ALBUMS = AlbumLimits(
    photographs=1,
    zip_bytes=1,
    unpacked_bytes=1,
    photo_bytes=1,
    pixels=1,
    unfinished=1,
    disk_bytes=1,
    keep_hours=1,
    upload_seconds=1,
)


def gateway(models: Models, limits: Limits, trial: Trial) -> FastAPI:
    """Every route; those of albums answer 503."""
    return api(models, limits, trial, Keeper(Path("nowhere"), ALBUMS, models), ALBUMS)
