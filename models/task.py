"""The two things Autochrome does to a photograph."""

from enum import StrEnum


class Task(StrEnum):
    """What a network is for. `model` is the name under which its versions are registered."""

    RESTORE = "restore"
    COLORIZE = "colorize"

    @property
    def model(self) -> str:
        """The registered model's name: `restorer` or `colorizer`."""
        return {Task.RESTORE: "restorer", Task.COLORIZE: "colorizer"}[self]
