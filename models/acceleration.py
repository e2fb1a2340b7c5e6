"""The fastest way to run a bundle's network on this machine whose answers stay what float32 answers.

Which one that is depends on the processor, its instructions and its neighbours, so it is measured when a model is
loaded: plain PyTorch, channels last, bfloat16 autocast, and machine code compiled for the network's own shapes. A shape
that was not compiled is run by the best of the others: nothing is ever compiled while it serves.
"""

import copy
import statistics
import time
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from models.bundle import Config
from models.compilation import CompilationError, Run, compiled, compiler, workshop
from models.joining import working_shape
from models.predictor import Predictor
from models.task import Task

Choice = Literal["auto", "eager", "channels_last", "bfloat16", "compile"]
Way = Literal["eager", "channels_last", "bfloat16", "compile"]
Shapes = tuple[tuple[int, int, int], ...]  # (C, H, W) of the network's first tensor, and of its second where it has one

SIDES = ((1, 1), (3, 4), (4, 3), (2, 3), (3, 2))  # photographs, high and wide, that colorizers are compiled for
ROUNDS = 5  # how often each way is timed, in turn with the others
MEASURING = 30.0  # seconds after which no further round begins
# How far an answer may be from float32's, on average and anywhere. Colours in Lab units: 2.3 is the difference that
# people just notice (Mahy 1994). Pictures and probabilities in [0, 1]: half a step and four steps of 8 bits.
COLOR_LIMITS = (0.3, 2.3)
PICTURE_LIMITS = (0.5 / 255, 4 / 255)


@dataclass(frozen=True)
class Trial:
    """One way that was tried, or why it was not."""

    way: Way
    seconds: dict[int, float] = field(default_factory=dict)  # median of one call at the working size, by batch
    mean_error: float | None = None  # off float32: of [0, 1] sRGB, or Lab units from a colorizer
    largest_error: float | None = None
    compiled: tuple[Shapes, ...] = ()
    compile_seconds: float = 0.0
    refused: str | None = None


@dataclass(frozen=True)
class Report:
    """What was chosen and all that was tried."""

    chosen: Way
    trials: tuple[Trial, ...]

    @property
    def speedup(self) -> float:
        """How many times faster than plain PyTorch the chosen way is on a full batch."""
        seconds = {trial.way: trial.seconds for trial in self.trials}
        largest = max(seconds["eager"], default=0)
        return seconds["eager"][largest] / seconds[self.chosen][largest] if largest else 1.0


class Accelerated(nn.Module):
    """`network`, run compiled where its tensors have a compiled shape, else as `otherwise` does."""

    def __init__(self, network: nn.Module, otherwise: Run, compiled: dict[Shapes, Run], batch: int) -> None:
        super().__init__()
        self.otherwise = otherwise
        self.compiled = compiled
        self.batch = batch
        for name in ("multiple", "masked", "hinted"):
            if hasattr(network, name):
                setattr(self, name, getattr(network, name))

    def forward(self, *tensors: Tensor) -> Tensor:
        """What the network answers, within the limits."""
        run = self.compiled.get(tuple(_shape(tensor) for tensor in tensors))
        if run is None or len(tensors[0]) > self.batch:
            return self.otherwise(*tensors)
        return run(*tensors)


def accelerate(predictor: Predictor, choice: Choice = "auto", seconds: float = 180.0) -> tuple[Predictor, Report]:
    """A predictor of the same bundle that is as fast as this machine can, and how that was found.

    A `choice` other than auto is taken unless it is refused; then it is eager, or channels last where that is faster
    and bfloat16 was asked for. Compiling takes at most `seconds`, in a process of its own. The given predictor is not
    changed and may serve meanwhile from another thread. The number of torch's threads is this thread's: set it before.
    """
    with torch.inference_mode():
        return _Search(predictor, choice, seconds).result()


class _Search:
    """Tries the ways and keeps what each needs to run."""

    def __init__(self, predictor: Predictor, choice: Choice, seconds: float) -> None:
        self.predictor = predictor
        self.choice = choice
        self.seconds = seconds
        self.signatures = signatures(predictor.config, predictor.network)
        self.samples = {
            shapes: _sample(predictor.config.task, shapes, predictor.batch, predictor.device)
            for shapes in self.signatures
        }
        self.runs: dict[Way, Run] = {"eager": predictor.network}
        self.compiled: dict[Shapes, Run] = {}
        self.trials: dict[Way, Trial] = {"eager": Trial("eager", mean_error=0.0, largest_error=0.0)}

    def result(self) -> tuple[Predictor, Report]:
        if next(self.predictor.network.parameters(), None) is None:
            return self.predictor, Report("eager", (self.trials["eager"],))
        self._try_channels_last()
        self._try_bfloat16()
        self._try_compiling()
        self._time()
        order = sorted(self.runs, key=lambda way: self.trials[way].seconds[self.predictor.batch])
        chosen = self.choice if self.choice in self.runs else order[0]
        report = Report(chosen, tuple(self.trials.values()))
        return (self.predictor if chosen == "eager" else self._run_by(chosen, order)), report

    def _run_by(self, chosen: Way, order: list[Way]) -> Predictor:
        old = self.predictor
        if chosen == "compile":
            fallback = next(way for way in order if way != "compile")
            network = Accelerated(old.network, self.runs[fallback], self.compiled, old.batch)
        else:
            network = Accelerated(old.network, self.runs[chosen], {}, old.batch)
        return Predictor(old.config, network, old.device, old.batch)

    def _try_channels_last(self) -> None:
        if self.choice not in ("eager", "compile"):
            network = copy.deepcopy(self.predictor.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._judge("channels_last", _channels_last(network), self.signatures)

    def _try_bfloat16(self) -> None:
        if self.choice not in ("auto", "bfloat16"):
            return
        if self.predictor.device == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            self.trials["bfloat16"] = Trial("bfloat16", refused="this processor has no instructions for it")
        elif "channels_last" in self.runs:
            kind = torch.device(self.predictor.device).type
            self._judge("bfloat16", _autocast(self.runs["channels_last"], kind), self.signatures)

    def _try_compiling(self) -> None:
        if self.choice not in ("auto", "compile"):
            return
        if self.predictor.device != "cpu":
            refused = f"it is for CPUs; the device is {self.predictor.device}"
        elif compiler() is None:
            refused = "there is no C++ compiler: no g++, no clang++, and $CXX names none"
        else:
            self._compile()
            return
        self.trials["compile"] = Trial("compile", refused=refused)

    def _compile(self) -> None:
        """Shape after shape, until the time is over or one fails."""
        self.trials["compile"] = Trial("compile")
        start = time.monotonic()
        with workshop(self.predictor.config, self.predictor.network) as folder:
            for shapes in self.signatures:
                try:
                    run = compiled(folder, shapes, self.predictor.batch, start + self.seconds - time.monotonic())
                except CompilationError as error:
                    self.trials["compile"] = replace(self.trials["compile"], refused=str(error))
                    break
                if not self._judge("compile", run, [shapes]):
                    break
                self.compiled[shapes] = run
        if self.signatures[0] not in self.compiled:
            self.runs.pop("compile", None)
        self.trials["compile"] = replace(
            self.trials["compile"], compiled=tuple(self.compiled), compile_seconds=time.monotonic() - start
        )

    def _judge(self, way: Way, run: Run, shapes: list[Shapes]) -> bool:
        """Notes how far a way's answers are from float32's; whether that is near enough for it to run."""
        trial = self.trials.get(way, Trial(way))
        worst = torch.tensor([trial.mean_error or 0.0, trial.largest_error or 0.0])
        for sample in (self.samples[shape] for shape in shapes):
            off = (run(*sample).float() - self.predictor.network(*sample).float()).abs()
            worst = torch.maximum(worst, torch.stack([off.mean(), off.max()]).cpu())
        mean, largest = float(worst[0]), float(worst[1])
        limits = COLOR_LIMITS if self.predictor.config.task is Task.COLORIZE else PICTURE_LIMITS
        # `maximum` keeps NaN, as Python's max does not, and NaN is not within any limit.
        near = mean <= limits[0] and largest <= limits[1]
        refused = None if near else f"{mean:.2g} off on average and {largest:.2g} at most; the limits are {limits}"
        self.trials[way] = replace(trial, mean_error=mean, largest_error=largest, refused=refused)
        if near:
            self.runs.setdefault(way, run)
        return near

    def _time(self) -> None:
        """Every way in turn, so that what else the machine does strikes all alike."""
        sample = self.samples[self.signatures[0]]
        taken: dict[Way, dict[int, list[float]]] = {way: {} for way in self.runs}
        start = time.monotonic()
        for _ in range(ROUNDS + 1):  # the first is for caches and is not counted, where there is another
            if time.monotonic() - start > MEASURING and taken["eager"]:
                break
            for batch in sorted({1, self.predictor.batch}):
                for way, run in self.runs.items():
                    begun = time.perf_counter()
                    run(*(tensor[:batch] for tensor in sample)).cpu()
                    taken[way].setdefault(batch, []).append(time.perf_counter() - begun)
        for way, by_batch in taken.items():
            medians = {batch: statistics.median(times[1:] or times) for batch, times in by_batch.items()}
            self.trials[way] = replace(self.trials[way], seconds=medians)


def signatures(config: Config, network: nn.Module) -> list[Shapes]:
    """The shapes that a Predictor gives the network, the most frequent first: all of tiles, some of colorizers."""
    if config.task is not Task.COLORIZE:
        tile = (3, config.size, config.size)
        beside = [(tile, (1, config.size, config.size))] if getattr(network, "masked", False) else []
        return [(tile,), *beside]
    multiple = int(getattr(network, "multiple", 1))
    found: dict[Shapes, None] = {}  # in order, once each
    for high, wide in SIDES:
        found[((1, *working_shape(high * config.size, wide * config.size, config.size, multiple)),)] = None
    return list(found)


def _sample(task: Task, shapes: Shapes, batch: int, device: str) -> tuple[Tensor, ...]:
    """Like photographs, edges and gentle light at every scale, (B, C, H, W); beside them masks of a tenth."""
    generator = torch.Generator().manual_seed(1907)
    channels, high, wide = shapes[0]
    pictures = torch.zeros(batch, channels, high, wide)
    for cells in (2, 4, 8, 16, 32, 64):
        noise = torch.randn(batch, channels, cells, cells, generator=generator) / cells**0.5
        for mode in ("nearest", "bilinear"):
            pictures += nn.functional.interpolate(noise, (high, wide), mode=mode)
    pictures = torch.sigmoid(pictures) * (100 if task is Task.COLORIZE else 1)
    marks = [(torch.rand(batch, *shape, generator=generator) < 0.1).float() for shape in shapes[1:]]
    return tuple(tensor.to(device) for tensor in (pictures, *marks))


def _shape(tensor: Tensor) -> tuple[int, int, int]:
    channels, high, wide = tensor.shape[1:]
    return channels, high, wide


def _channels_last(network: nn.Module) -> Run:
    def run(*tensors: Tensor) -> Tensor:
        first, *beside = tensors
        answer: Tensor = network(first.contiguous(memory_format=torch.channels_last), *beside)
        return answer

    return run


def _autocast(run: Run, device: str) -> Run:
    def cast(*tensors: Tensor) -> Tensor:
        with torch.autocast(device, dtype=torch.bfloat16):
            return run(*tensors).float()

    return cast
