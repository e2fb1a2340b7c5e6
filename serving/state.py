"""What a model replica says of itself, as /v1/models shows it."""

from typing import Literal

from pydantic import BaseModel, Field

State = Literal["ready", "missing", "failing"]


class ModelState(BaseModel):
    """What one replica serves."""

    state: State = Field(
        description="ready: serves what the alias names; missing: no version has the alias, or no registry is there; "
        "failing: the last look failed, and what was loaded before (if anything) still serves"
    )
    version: str | None = Field(description="The version that answers, such as restorer/3")
    recipe: str | None = Field(description="The recipe that trained it, such as pix2pix")
    run: str | None = Field(description="The MLflow run it came from")
    bundle_sha256: str | None = Field(description="The sha256 of its verified bundle")
    engine: str | None = Field(description="How it is computed on this machine, such as bfloat16")
    settled: bool | None = Field(description="Whether that way is final; false: a faster one is being looked for")
    hinted: bool | None = Field(description="Whether it takes colour hints")
    error: str | None = Field(description="Why the version that the alias names is not served")
    waiting: int = Field(default=0, description="Photographs that wait in this replica")
    answered: int = Field(default=0, description="Photographs that this replica has answered since it began")
