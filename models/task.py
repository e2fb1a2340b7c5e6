"""The things Autochrome does to a photograph."""

from enum import StrEnum


class Task(StrEnum):
    """What a network is for. `model` is the name under which its versions are registered."""

    RESTORE = "restore"
    COLORIZE = "colorize"
    DETECT = "detect"  # finds what is destroyed: a mask for the restorers
    TRANSLATE = "translate"  # any kind of picture into any other: learnt from pairs

    @property
    def model(self) -> str:
        """The registered model's name: `restorer`, `colorizer`, `detector` or `translator`."""
        return {
            Task.RESTORE: "restorer",
            Task.COLORIZE: "colorizer",
            Task.DETECT: "detector",
            Task.TRANSLATE: "translator",
        }[self]
