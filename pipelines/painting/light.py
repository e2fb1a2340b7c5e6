"""The hour of the day: what the sky looks like and what its light does to everything under it."""

from dataclasses import dataclass

import numpy as np

from pipelines.painting.canvas import Canvas, Floats, ink, mix, ramp


@dataclass(frozen=True)
class Light:
    """An hour: the sky from zenith to horizon, clouds, the light's tint and the colour distance fades into."""

    sky: tuple[str, ...]
    cloud: str
    shade: str  # the underside of clouds
    tint: tuple[float, float, float]
    haze: str
    sun: float  # height of the sun's disc, 0 horizon to 1 zenith; negative: out of the picture
    side: float  # the light comes from the left (-1) or the right (1)

    def on(self, code: str, depth: float = 0.0, bright: float = 1.0) -> Floats:
        """A thing's colour in this light, faded into the haze by `depth` in [0, 1]."""
        return self.far(ink(code), depth, bright)

    def far(self, colour: Floats, depth: float = 0.0, bright: float = 1.0) -> Floats:
        """The same for a colour mixed already."""
        lit = np.clip(colour * np.array(self.tint, np.float32) * bright, 0, 1)
        return mix(np.asarray(lit, np.float32), ink(self.haze), depth)


HOURS: dict[str, tuple[tuple[str, ...], str, str, tuple[float, float, float], str, float]] = {
    "noon": (("2f6fb8", "5b9ad6", "9cc8ea", "d6e9f4"), "ffffff", "b9c8da", (1.0, 1.0, 1.0), "b9d3e8", -1),
    "clear": (("2360ad", "4a8ed2", "8abfe8", "c9e3f3"), "ffffff", "c3d0e0", (1.02, 1.0, 0.97), "aecbe4", -1),
    "morning": (("5d8fc7", "93b9de", "d5dde0", "f6e3c8"), "fff6e6", "b6bdd0", (1.05, 1.0, 0.9), "d9dbdc", -1),
    "golden": (("5c84b4", "a0b3c6", "eccf9f", "f8bf70"), "ffe8bd", "b09aa6", (1.1, 0.96, 0.76), "e6c9a0", 0.16),
    "sunset": (("3a4a80", "875f92", "dd7659", "fbb04c"), "ff9f64", "74507a", (0.78, 0.58, 0.52), "d9805a", 0.06),
    "dusk": (("27335f", "4d5388", "93789f", "dfa49a"), "c490a0", "4b4a78", (0.52, 0.5, 0.64), "8c7fa2", -1),
    "overcast": (("8d9db0", "a4b2c1", "bcc7d0", "d3dade"), "e6eaee", "8e9bab", (0.9, 0.92, 0.94), "bcc6ce", -1),
    "night": (("080e24", "101b3c", "1f3158", "38507a"), "3c4c74", "131c38", (0.26, 0.33, 0.5), "2b3f68", 0.6),
}


def light(canvas: Canvas, *hours: str) -> Light:
    """One of the hours given, with the sun on either side."""
    sky, cloud, shade, tint, haze, sun = HOURS[canvas.pick(hours)]
    return Light(sky, cloud, shade, tint, haze, sun, -1.0 if canvas.chance(0.5) else 1.0)


def sky(canvas: Canvas, hour: Light, horizon: float, cloudy: float | None = None) -> None:
    """Fill the canvas with sky down to the horizon: gradient, sun or moon, clouds (`cloudy` 0 none .. 1 covered)."""
    fall = np.clip(canvas.y / horizon, 0, 1) ** 1.15
    canvas.rgb[:] = ramp([ink(code) for code in hour.sky], fall)
    if hour.sun >= 0:
        _sun(canvas, hour, horizon)
    share = canvas.between(0.1, 0.75) if cloudy is None else cloudy
    if share > 0:
        _clouds(canvas, hour, horizon, share)


def _sun(canvas: Canvas, hour: Light, horizon: float) -> None:
    night = hour.sun > 0.5
    x = canvas.aspect * (0.5 + hour.side * canvas.between(0.08, 0.34))
    y = horizon * (1 - hour.sun * canvas.between(0.7, 1.25))
    radius = canvas.between(0.035, 0.05)
    warm = ink("c7d3ee") if night else mix(ink(hour.sky[-1]), ink("fff3c4"), 0.55)
    canvas.glow((x, y), 0.75, 0.5, warm, 0.35 if night else 0.65)
    canvas.glow((x, y), radius * 3.2, radius * 3.2, warm, 0.5)
    canvas.oval((x, y), radius, radius, ink("f4f1dc") if night else ink("fffbe2"))
    if night:
        canvas.oval((x - radius * 0.25, y - radius * 0.1), radius * 0.28, radius * 0.2, ink("dcd9c6"), alpha=0.7)
        canvas.oval((x + radius * 0.3, y + radius * 0.35), radius * 0.2, radius * 0.2, ink("dcd9c6"), alpha=0.7)
        count = 60
        places = canvas.rng.random((count, 2)) * [canvas.aspect, horizon * 0.8]
        canvas.dabs(places, canvas.rng.uniform(0.0008, 0.0026, count), np.tile(ink("e9eeff"), (count, 1)))


def _clouds(canvas: Canvas, hour: Light, horizon: float, share: float) -> None:
    rows = max(8, int(horizon * canvas.h))
    # clouds near the horizon are far away: flatter and closer together
    body = canvas.noise(canvas.between(0.22, 0.4), 5, canvas.between(1.6, 3.2), 0.5, rows)
    high = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    body += 0.35 * np.sin(high * np.pi) - 0.25
    step = max(2, int(0.025 * canvas.h))
    lit = np.clip(0.62 - 0.9 * canvas.relief(body, step, -hour.side), 0, 1)
    dense = np.clip((body - (0.75 - 1.35 * share)) * 1.5, 0, 1)
    dense = dense * dense * (3 - 2 * dense) * np.clip((1.02 - high) * 6, 0, 1) * 0.92
    colour = mix(ink(hour.shade), ink(hour.cloud), lit)
    colour = mix(colour, np.broadcast_to(ramp([ink(c) for c in hour.sky], high), colour.shape), 0.12 + 0.3 * high)
    canvas.cover(np.asarray(dense, np.float32), colour)
