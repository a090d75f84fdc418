"""The floor: constant answers and chance, the same in any company."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

import pinpoint_methods
from pinpoint_harness import params
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.geo import unit_xyz
from pinpoint_harness.plugins import Origin, Registry
from pinpoint_harness.running import check_predictions, statuses
from pinpoint_harness.types import Context, Method, Queries
from pinpoint_methods.simple import Constant, RandomPrior, splitmix64, uniform_draws

MASK = 2**64 - 1


def queries_of(keys: Any) -> Queries:
    key = np.asarray(keys, dtype=np.uint64)
    return Queries(key=key, author_token=np.zeros_like(key), source=["photos"] * len(key))


def built(method: type[Any], seed: int = 0, **settings: Any) -> Method:
    result: Method = method(params.build(method.Params, settings, "test"), Context(seed=seed))
    return result


def coordinates_of(method: Method, keys: Any) -> NDArray[np.float64]:
    queries = queries_of(keys)
    answer = method.predict(queries)
    check_predictions(answer, len(queries))
    assert set(statuses(answer)) <= {"ok"}
    return answer.coordinates


def test_constant_answers_every_query_alike() -> None:
    method = built(Constant, latitude="51.5074", longitude="-0.1278")
    np.testing.assert_array_equal(coordinates_of(method, range(3)), [(51.5074, -0.1278)] * 3)
    assert coordinates_of(method, []).shape == (0, 2)


@pytest.mark.parametrize(
    "settings",
    [
        {"latitude": 1},
        {"latitude": 91, "longitude": 0},
        {"latitude": 0, "longitude": -181},
        {"latitude": "nan"},
    ],
)
def test_constant_needs_a_place_on_earth(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"latitude|longitude"):
        built(Constant, **settings)


def test_splitmix64_gives_the_published_sequence() -> None:
    """The first outputs for seed 1234567, as the reference implementation in C prints them."""
    states = [(1234567 + step * 0x9E3779B97F4A7C15) & MASK for step in range(5)]
    assert splitmix64(np.array(states, dtype=np.uint64)).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@pytest.mark.parametrize("keys", [range(20_000), [(7 << 50) + (row << 20) for row in range(20_000)]])
def test_random_places_are_uniform_on_the_sphere_even_for_keys_in_a_row(keys: Any) -> None:
    places = coordinates_of(built(RandomPrior), keys)
    # A mean of n unit vectors has a length of about sqrt(1/n) = 0.007.
    assert np.linalg.norm(unit_xyz(places).mean(axis=0)) < 0.02
    height = np.sin(np.radians(places[:, 0]))
    assert stats.kstest(height, stats.uniform(-1, 2).cdf).pvalue > 0.001
    assert stats.kstest(places[:, 1], stats.uniform(-180, 360).cdf).pvalue > 0.001
    assert abs(stats.pearsonr(height, places[:, 1]).statistic) < 0.03


@settings(max_examples=50, deadline=None)
@given(keys=st.lists(st.integers(0, MASK), min_size=1, max_size=20), seed=st.integers(-5, 2**70))
def test_a_random_place_depends_on_its_key_and_the_seed_alone(keys: list[int], seed: int) -> None:
    method = built(RandomPrior, seed=seed)
    together = coordinates_of(method, keys)
    alone = np.concatenate([coordinates_of(method, [key]) for key in keys])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(coordinates_of(built(RandomPrior, seed=seed), keys[::-1]), together[::-1])


def test_another_seed_gives_places_that_have_nothing_to_do_with_the_first() -> None:
    first = coordinates_of(built(RandomPrior, seed=1), range(2000))
    second = coordinates_of(built(RandomPrior, seed=2), range(2000))
    assert (first != second).all()
    assert np.abs(np.corrcoef(first.T, second.T)[:2, 2:]).max() < 0.1


def test_draws_lie_in_the_half_open_unit_interval_and_differ() -> None:
    draws = np.array(uniform_draws(np.arange(1000, dtype=np.uint64), 0, 3))
    assert draws.shape == (3, 1000)
    assert ((draws >= 0) & (draws < 1)).all()
    assert len(np.unique(draws)) == 3000


def test_a_prior_draws_every_row_of_its_table_about_equally_often(tmp_path: Path) -> None:
    path = tmp_path / "gallery.csv"
    rows = "".join(f"{row}.jpg,{row},{-row}\n" for row in range(10))
    path.write_text(f"IMG_ID,LAT,LON\n{rows}")
    places = coordinates_of(built(RandomPrior, table=path), range(5000))
    np.testing.assert_array_equal(places[:, 0], -places[:, 1])
    drawn, counts = np.unique(places[:, 0], return_counts=True)
    assert drawn.tolist() == list(range(10))
    assert stats.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("text", ["id,city\na,Paris\n", "id,latitude,longitude\n"])
def test_a_table_without_a_place_to_draw_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "names.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=r"names\.csv"):
        built(RandomPrior, table=path)


def test_registering_the_methods_imports_nothing_heavy() -> None:
    script = (
        "import sys, pinpoint_methods;"
        "heavy = {'numpy', 'pandas', 'pyarrow', 'torch', 'scipy', 'pyproj'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_every_registered_method_loads_and_meets_the_protocol() -> None:
    registry = Registry()
    registry.add_plugin(pinpoint_methods, Origin("pinpoint_methods", "built-in"))
    for name in ("constant", "random-prior", "stored-predictions"):
        method = registry.method(name).load()
        assert params.specs(method.Params)
        assert isinstance(method.answer_version, int)
        assert method.input == ("id" if name == "stored-predictions" else "none")
