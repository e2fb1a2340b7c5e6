"""What scenes share: hours to choose from, skylines, ranges, groves and people at the size their place asks for."""

from pipelines.painting import growth, land, people
from pipelines.painting.canvas import Canvas, Floats
from pipelines.painting.light import Light

DAY = ("noon", "noon", "clear", "clear", "clear", "morning", "overcast", "golden")
FAIR = ("noon", "clear", "clear", "morning")


def flat(canvas: Canvas, height: float) -> Floats:
    """A nearly level skyline."""
    return canvas.line(height, 0.012, 0.6, 2)


def across(canvas: Canvas, edge: float = 0.15) -> float:
    """A place across the picture, `edge` away from either side."""
    return canvas.between(edge, canvas.aspect - edge)


def peaks(canvas: Canvas, hour: Light, horizon: float, snow: float, count: int = 2) -> None:
    """Ranges of mountains, the far ones first."""
    for i in range(count):
        near = (i + 1) / count
        height = horizon - canvas.between(0.1, 0.24) * (1.25 - 0.6 * near)
        land.mountains(canvas, hour, height, 0.1, 0.62 - 0.42 * near, snow)


def grove(canvas: Canvas, hour: Light, ground: float, count: int, codes: tuple[str, ...], tall: float) -> None:
    """Trees about the line `ground`, bigger the nearer they stand."""
    for foot in sorted(canvas.between(ground, ground + 0.16) for _ in range(count)):
        grow = tall * (0.7 + 2.2 * (foot - ground)) * canvas.between(0.8, 1.2)
        code, x = canvas.pick(codes), canvas.between(0, canvas.aspect)
        depth = max(0.0, 0.16 - (foot - ground))
        if code == "pine":
            growth.pine(canvas, hour, (x, foot), grow * 1.15, depth)
        else:
            growth.tree(canvas, hour, (x, foot), grow, code, depth)


def crowd(canvas: Canvas, hour: Light, low: float, high: float, count: int, size: float) -> None:
    """People standing between `low` and `high`, bigger the nearer."""
    for foot in sorted(canvas.between(low, high) for _ in range(count)):
        tall = size * canvas.between(0.88, 1.12) * (0.75 + 0.5 * (foot - low) / max(high - low, 1e-3))
        people.person(canvas, hour, (across(canvas, 0.12), foot), tall, canvas.chance(0.4), canvas.chance(0.4))
