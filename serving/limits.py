"""What a request may cost."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Of one request; the models' memory has its limit where the models are."""

    upload_bytes: int
    pixels: int  # of a photograph, as its header has it
    seconds: float  # from the first byte read to the answer, and
    seconds_per_megapixel: float  # so many more for each million pixels
    large_pixels: int  # of a photograph that is worked on alone: every model is asked before, and no shadow repeats it

    def more_seconds(self, pixels: int) -> float:
        """What a photograph of this many pixels adds to `seconds`."""
        return self.seconds_per_megapixel * pixels / 1e6
