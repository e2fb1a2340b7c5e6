"""Why a request is not answered with a picture: one exception from the upload to the model replica."""


class Refusal(Exception):  # noqa: N818 - it is an answer, and reads as one where it is raised
    """An HTTP status, a code for programs and a sentence for people.

    Everything is in `args`, so that it survives the pickling between replicas.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(status, code, message, retry_after)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after  # seconds

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"
