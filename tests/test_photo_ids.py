"""How the spellings of a name relate: `pinpoint_harness.photo_ids`."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinpoint_harness.errors import DataError
from pinpoint_harness.photo_ids import flickr_id, flickr_owner, match, rows_sha256, truth_hash

# Every spelling in use, and the digits it stands for.
SPELLINGS = {
    "47/5d/9744915126.jpg": "9744915126",
    "47_5d_9744915126.jpg": "9744915126",
    "9744915126.jpg": "9744915126",
    "9744915126": "9744915126",
    "1000269685_e60e9cdfb4_1125_78841376@N00.jpg": "1000269685",
    "1000269685_e60e9cdfb4_1125_78841376@N00": "1000269685",
    "Guangzhou_00003_986276060_2769109737_1375_70618949@N00.jpg": "986276060",
    "Bosnia_00004_1138531814_e3579a53d8_1067_11515930@N06": "1138531814",
    "New_York_City_00012_1138531814_e3579a53d8_1067_11515930@N06.JPG": "1138531814",
    "mp16/47/5D/9744915126.JPEG": "9744915126",
    "yfcc4k\\images\\9744915126.png": "9744915126",
}


def series(*names: str | None) -> pd.Series[str]:
    return pd.Series(list(names), dtype="str")


def test_flickr_digits_come_out_of_every_spelling() -> None:
    assert flickr_id(series(*SPELLINGS)).tolist() == list(SPELLINGS.values())


@pytest.mark.parametrize(
    "name",
    ["photo.jpg", "", "9744915126.0", "9.7e9", "IMG_1234.jpg", "Paris_00003_123.jpg", "12-34.jpg", None],
)
def test_a_name_without_flickr_digits_has_no_id(name: str | None) -> None:
    assert flickr_id(series(name)).isna().all()


def test_a_flickr_id_keeps_the_index_it_came_with() -> None:
    names = pd.Series(["1.jpg", "x"], index=["a", "b"])
    assert flickr_id(names).index.tolist() == ["a", "b"]
    assert flickr_id(names).to_dict()["a"] == "1"


def test_the_owner_is_the_end_of_a_long_flickr_name() -> None:
    names = series(
        "Ankara_00003_601190107_9f05b2251e_1292_8504005@N07.jpg", "1_ab_2_78841376@N00.jpg", "47/5d/97.jpg"
    )
    assert flickr_owner(names).tolist()[:2] == ["8504005@N07", "78841376@N00"]
    assert flickr_owner(names).isna().tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("wanted", "available"),
    [
        ("a/b.jpg", "a/b.jpg"),
        ("a/b.JPG", "a/b.jpg"),
        ("a\\b.jpg", "a/b.jpg"),
        ("1.jpg", "images/00/1.jpg"),
        ("00/1.jpg", "1.jpg"),
        ("47/5d/97.jpg", "47_5d_97.jpg"),
        ("47_5d_97.jpg", "47/5d/97.jpg"),
        ("47/5d/97.jpg", "all/47_5d_97.jpg"),
        ("all/47_5d_97.jpg", "47/5d/97.jpg"),
        ("1207955469639614", "test/00/1207955469639614.jpg"),
        ("a.jpeg", "a.jpg"),
        ("trip/a", "trip_a.png"),
        ("47/5d/97.jpg", "97"),
        ("Bosnia_00004_97_e3579a53d8_1067_1@N06.jpg", "x/47_5d_97.jpg"),
    ],
)
def test_two_spellings_of_one_name_meet(wanted: str, available: str) -> None:
    assert match(series(wanted), series("other.jpg", available, "more/97531.jpg")).tolist() == [1]


@pytest.mark.parametrize(
    ("wanted", "available"),
    [
        ("a.jpg", "A.jpg"),
        ("1.jpg", "11.jpg"),
        ("x1.jpg", "1.jpg"),
        ("st.louis", "st.jpg"),
        (None, "a"),
        ("", "d/"),
    ],
)
def test_different_names_do_not_meet(wanted: str | None, available: str) -> None:
    assert match(series(wanted), series(available)).tolist() == [-1]


def test_a_stricter_rule_wins_over_a_lenient_one() -> None:
    # By base name alone `a/1.jpg` could be any of the three.
    assert match(series("a/1.jpg"), series("1.jpg", "b/1.jpg", "a/1.jpg")).tolist() == [2]


def test_one_name_that_could_be_two_is_an_error_that_names_both() -> None:
    with pytest.raises(DataError, match=r"'1\.jpg' could be 'a/1\.jpg' or 'b/1\.jpg'") as caught:
        match(series("2.jpg", "1.jpg"), series("a/1.jpg", "b/1.jpg", "2.jpg"))
    assert caught.value.found == "same base name, twice"


def test_two_names_that_could_be_one_are_an_error_that_names_both() -> None:
    with pytest.raises(DataError, match=r"'1\.jpg' could be 'a/1\.jpg' or 'b/1\.jpg'"):
        match(series("a/1.jpg", "b/1.jpg"), series("1.jpg"))


def test_the_same_name_twice_is_an_error_on_either_side() -> None:
    with pytest.raises(DataError, match="could be"):
        match(series("1", "1"), series("1"))
    with pytest.raises(DataError, match="could be"):
        match(series("1"), series("1", "1"))


def test_an_extension_that_was_left_out_is_ambiguous_between_two_images() -> None:
    with pytest.raises(DataError, match=r"'a\.png' or 'a\.jpg'"):
        match(series("a"), series("a.png", "a.jpg"))


def test_a_missing_photo_does_not_take_the_file_of_its_namesake() -> None:
    # `b/1.jpg` is gone; the file of `a/1.jpg` has the same base name and is not used twice.
    assert match(series("a/1.jpg", "b/1.jpg"), series("a/1.jpg", "c/2.jpg")).tolist() == [0, -1]


def test_nothing_matches_nothing() -> None:
    assert match(series(), series("a")).tolist() == []
    assert match(series("a"), series()).tolist() == [-1]


def by_brute_force(wanted: list[str], available: list[str]) -> list[int]:
    """The position of the available name with the same digits."""
    digits = ["".join(filter(str.isdigit, name)) for name in available]
    return [digits.index(d) if (d := "".join(filter(str.isdigit, name))) in digits else -1 for name in wanted]


@given(
    st.lists(st.integers(1, 10**12), unique=True, max_size=12).flatmap(
        lambda ids: st.tuples(
            st.lists(st.sampled_from(ids), unique=True) if ids else st.just([]),
            st.permutations(ids),
            st.sampled_from(["{}.jpg", "{}", "gg/{}.jpg", "{}.JPG"]),
            st.sampled_from(["{}.jpg", "{}", "images/{}.png", "w\\{}.jpg"]),
        )
    )
)
@settings(max_examples=60, deadline=None)
def test_matching_agrees_with_brute_force(case: tuple[list[int], list[int], str, str]) -> None:
    some, all_of_them, one, other = case
    wanted, available = [one.format(i) for i in some], [other.format(i) for i in all_of_them]
    assert match(series(*wanted), series(*available)).tolist() == by_brute_force(wanted, available)


def test_matching_does_not_compare_all_pairs() -> None:
    numbers = np.random.default_rng(0).permutation(100_000)
    wanted = pd.Series([f"{number % 5:02d}/{number}.jpg" for number in numbers])
    available = pd.Series([str(number) for number in range(len(numbers))])
    start = time.process_time()
    found = match(wanted, available)
    assert time.process_time() - start < 20  # a comparison of all pairs would take minutes
    assert np.array_equal(found, numbers)


def frame(ids: list[str], latitude: list[float], longitude: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"id": ids, "latitude": latitude, "longitude": longitude})


def test_the_hash_of_a_truth_can_be_recomputed_by_hand() -> None:
    text = "3 columns\n1:97:10000002:-12:109:-338688009:151209300"
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert truth_hash(frame(["9", "10"], [1.0, -33.8688], [-0.000001, 151.2093])) == expected


def test_no_signs_in_ids_make_two_truths_one() -> None:
    one, other = frame(["a\t0\t0\nb"], [1.0], [1.0]), frame(["a", "b"], [0.0, 1.0], [0.0, 1.0])
    assert truth_hash(one) != truth_hash(other)
    assert rows_sha256(["a\nb"]) != rows_sha256(["a", "b"])
    assert rows_sha256(["a\tb"], ["c"]) != rows_sha256(["a"], ["b\tc"])
    assert rows_sha256(["a"], [None]) != rows_sha256(["a"], [""])
    assert rows_sha256(["a"], ["b"]) != rows_sha256(["ab"])


@given(st.permutations(range(6)))
def test_the_hash_does_not_depend_on_the_order_of_the_rows(order: list[int]) -> None:
    whole = frame([str(i) for i in range(6)], [i / 7 for i in range(6)], [i * 11.3 for i in range(6)])
    assert truth_hash(whole.iloc[order]) == truth_hash(whole)


def test_the_hash_ignores_what_lies_beyond_a_millionth_of_a_degree() -> None:
    assert truth_hash(frame(["a"], [43.6497081], [0.0])) == truth_hash(frame(["a"], [43.6497079], [-0.0]))


@pytest.mark.parametrize(
    "other",
    [
        frame(["b"], [1.0], [2.0]),
        frame(["a"], [1.000001], [2.0]),
        frame(["a"], [2.0], [1.0]),
        frame([], [], []),
    ],
)
def test_the_hash_changes_with_id_and_coordinate(other: pd.DataFrame) -> None:
    assert truth_hash(other) != truth_hash(frame(["a"], [1.0], [2.0]))


def test_a_truth_with_a_hole_has_no_hash() -> None:
    with pytest.raises(DataError, match="missing coordinates"):
        truth_hash(frame(["a"], [float("nan")], [0.0]))


@pytest.mark.realdata
def test_every_im2gps_name_has_its_own_flickr_id_and_owner(real_data: Path) -> None:
    table = pd.read_csv(real_data / "im2gps_places365.csv")
    ids, owners = flickr_id(table["IMG_ID"]), flickr_owner(table["IMG_ID"])
    assert len(ids) == ids.nunique() == 237
    # The author column is `secret_server_owner` in the 177 rows whose name begins with a city.
    assert [a.endswith(o) for a, o in zip(table["AUTHOR"], owners, strict=True)] == [True] * 237
    assert (table["AUTHOR"] != owners).sum() == 177
