import json
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.gate import Measured, Rival, interval, judge
from pipelines.params import Register

PARAMS = Register(promote=True, unproven=False, resamples=2000, confidence=0.95, seed=1)
BASE = np.random.default_rng(0).uniform(0.2, 0.6, 32)


def measured(name: str, distances: NDArray[np.float64], frechet: float | None = 1.0) -> Measured:
    return Measured(name, distances, frechet)


def test_the_interval_is_that_of_the_normal_distribution_where_the_sample_is_large() -> None:
    values = np.random.default_rng(3).normal(0.5, 2.0, 4000)
    low, high = interval(values, 2000, 0.95, seed=1)
    error = values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_the_interval_holds_the_true_mean_as_often_as_it_says() -> None:
    stream = np.random.default_rng(5)
    held = [low <= 1 <= high for low, high in (interval(stream.normal(1, 1, 60), 300, 0.8, 2) for _ in range(200))]
    assert np.mean(held) == pytest.approx(0.8, abs=0.08)


def test_the_interval_widens_with_confidence_and_shrinks_with_photographs() -> None:
    values = np.random.default_rng(4).normal(0, 1, 400)
    widths = [high - low for low, high in (interval(values, 500, one, 1) for one in (0.5, 0.8, 0.99))]
    assert all(narrow < wide for narrow, wide in pairwise(widths))
    low, high = interval(values[:25], 500, 0.8, 1)
    assert high - low > 2 * widths[1]


def test_the_interval_is_a_function_of_its_arguments() -> None:
    assert interval(BASE, 100, 0.9, 7) == interval(BASE, 100, 0.9, 7) != interval(BASE, 100, 0.9, 8)


def test_one_photograph_has_an_interval_without_width() -> None:
    assert interval(np.array([0.25]), 10, 0.95, 1) == (0.25, 0.25)


def test_who_is_nearer_on_every_photograph_passes() -> None:
    verdict = judge(measured("x/2", BASE - 0.01, 0.5), [Rival("nothing", measured("grey", BASE))], PARAMS)
    assert verdict.passed
    [one] = verdict.against
    assert (one.difference, one.low, one.high) == pytest.approx((-0.01, -0.01, -0.01))


def test_a_mean_that_chance_may_have_made_is_not_better() -> None:
    noise = np.random.default_rng(1).normal(0, 0.2, 32)
    noise += -0.01 - noise.mean()
    verdict = judge(measured("x/2", BASE + noise, 0.5), [Rival("champion", measured("x/1", BASE))], PARAMS)
    assert verdict.against[0].difference == pytest.approx(-0.01)
    assert verdict.against[0].high > 0
    assert not verdict.passed


def test_pairing_sees_a_small_gain_on_very_different_photographs() -> None:
    spread = np.linspace(0, 10, 32)
    gain = np.random.default_rng(2).uniform(0.005, 0.015, 32)
    assert judge(measured("x/2", spread - gain), [Rival("champion", measured("x/1", spread))], PARAMS).passed


def test_equals_are_not_better() -> None:
    assert not judge(measured("x/2", BASE), [Rival("champion", measured("x/1", BASE))], PARAMS).passed


@pytest.mark.parametrize("kind", ["nothing", "classical"])
def test_baselines_must_also_be_beaten_as_a_set(kind: str) -> None:
    rival = Rival(kind, measured("telea", BASE, 1.0))  # type: ignore[arg-type]
    assert judge(measured("x/2", BASE - 0.1, 0.9), [rival], PARAMS).passed
    assert not judge(measured("x/2", BASE - 0.1, 1.0), [rival], PARAMS).passed


def test_the_champion_is_beaten_by_distances_alone() -> None:
    assert judge(measured("x/2", BASE - 0.1, 1.1), [Rival("champion", measured("x/1", BASE, 1.0))], PARAMS).passed


def test_where_no_set_is_measured_distances_decide() -> None:
    assert judge(measured("x/2", BASE - 0.1, None), [Rival("nothing", measured("nothing", BASE, None))], PARAMS).passed


def test_every_rival_must_be_beaten() -> None:
    rivals = [
        Rival("nothing", measured("damaged", BASE + 0.1)),
        Rival("classical", measured("telea", BASE - 0.1)),
        Rival("champion", measured("x/1", BASE + 0.2)),
    ]
    verdict = judge(measured("x/2", BASE, 0.5), rivals, PARAMS)
    assert [one.better for one in verdict.against] == [True, False, True]
    assert not verdict.passed
    assert verdict.sentence() == (
        "better than damaged (-0.1000, 95 % from -0.1000 to -0.1000, Fréchet 0.5 against 1),"
        " not better than telea (+0.1000, 95 % from +0.1000 to +0.1000, Fréchet 0.5 against 1),"
        " better than x/1 (-0.2000, 95 % from -0.2000 to -0.2000)"
    )


def test_the_numbers_are_all_there_and_fit_into_a_tag() -> None:
    names = ("damaged", "telea", "navier_stokes", "champion restorer/1234")
    rivals = [Rival("classical", measured(name, BASE + 1 / 3, 1 / 3)) for name in names]
    verdict = judge(measured("restorer/1235", BASE, 2 / 3), rivals, PARAMS)
    written = json.dumps({"verdict": verdict.sentence(), **verdict.numbers()})
    assert len(written) < 3000
    numbers = json.loads(written)
    assert numbers["distance"] == pytest.approx(BASE.mean(), abs=1e-6)
    assert (numbers["photographs"], numbers["confidence"], numbers["resamples"], numbers["seed"]) == (32, 0.95, 2000, 1)
    assert numbers["against"][3] == {
        "name": "champion restorer/1234",
        "kind": "classical",
        "distance": pytest.approx(BASE.mean() + 1 / 3, abs=1e-6),
        "difference": -0.333333,
        "low": -0.333333,
        "high": -0.333333,
        "frechet": 0.333333,
        "better": False,
    }


def test_other_photographs_are_refused() -> None:
    with pytest.raises(ValueError, match="x/2 was measured on 31 photographs and grey on 32; they must be the same"):
        judge(measured("x/2", BASE[1:]), [Rival("nothing", measured("grey", BASE))], PARAMS)
