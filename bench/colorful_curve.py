"""`colorful`'s loss beside the seed project's log: `python -m bench.colorful_curve losses.csv picture.png`.

The seed's log on ImageNet-mini is known by its two ends, 5.79 at the start and 3.99 after 700 iterations; a straight
line joins them. `losses.csv` is what training leaves in build/curves/colorful. An untrained network's loss is ln 313.
"""

import argparse
import math
from pathlib import Path

import matplotlib as mpl
import pandas as pd

mpl.use("Agg")
from matplotlib import pyplot as plt

SEED = ((0, 5.79), (700, 3.99))
SMOOTH = 10  # lines of losses.csv in one point of the thick curve


def draw(losses: pd.DataFrame, path: Path) -> None:
    """Writes the picture: both losses, their running means, and the seed's ends."""
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for column, name, colour in (
        ("classes/classes", "rebalanced loss, ours", "tab:blue"),
        ("classes/classes_plain", "plain loss, ours", "tab:orange"),
    ):
        axes.plot(losses["step"], losses[column], color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(losses["step"], losses[column].rolling(SMOOTH, min_periods=1).mean(), color=colour, label=name)
    axes.plot(*zip(*SEED, strict=True), "k--o", label="the seed's log, its two ends")
    axes.axhline(math.log(313), color="grey", linewidth=0.8, label="ln 313")
    axes.set(xlabel="updates", ylabel="cross entropy over 313 colours, nats", ylim=(3, 7))
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main() -> None:
    """Draw what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m bench.colorful_curve", description=__doc__)
    parser.add_argument("losses", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    losses = pd.read_csv(arguments.losses)
    draw(losses, arguments.picture)
    for column in ("classes/classes", "classes/classes_plain"):
        first, last = losses[column].iloc[0], losses[column].iloc[-SMOOTH:].mean()
        print(f"{column}: {first:.2f} at the first line, {last:.2f} over the last {SMOOTH}")


if __name__ == "__main__":
    main()
