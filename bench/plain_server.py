"""What most tutorials serve a model with: FastAPI and uvicorn, the models in float32, one photograph at a time.

`python -m bench.plain_server PORT FOLDER...`: the folders are the bundles that a photograph goes through, in order.
"""

import sys
import threading
from pathlib import Path
from typing import Annotated

import torch
import uvicorn
from fastapi import FastAPI, File, Response

from models.predictor import Predictor
from serving import photo

MOST_PIXELS = 25_000_000


def application(predictors: list[Predictor]) -> FastAPI:
    """POST / with the form file `photo` answers with a JPEG."""
    app = FastAPI()
    one_at_a_time = threading.Lock()

    @app.post("/")
    def revive(photo: Annotated[bytes, File()]) -> Response:
        with one_at_a_time:
            return Response(revived(predictors, photo), media_type="image/jpeg")

    return app


def revived(predictors: list[Predictor], data: bytes) -> bytes:
    """The photograph of these bytes through every model, as JPEG bytes."""
    given = photo.decode(data, MOST_PIXELS)
    pixels = given.pixels
    for predictor in predictors:
        (pixels,) = predictor.predict([pixels], [None])
    return photo.encode(given.with_pixels(pixels), photo.Format.JPEG, [])


def main() -> None:
    """Serve until ended."""
    port, *folders = sys.argv[1:]
    torch.set_num_threads(2)
    app = application([Predictor.from_bundle(Path(folder)) for folder in folders])
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
