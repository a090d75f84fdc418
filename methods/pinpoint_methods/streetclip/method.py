"""StreetCLIP's zero-shot answer: the likeliest country by its caption, then a city of that country."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pinpoint_harness.artifacts import file_sha256
from pinpoint_harness.errors import UsageError
from pinpoint_harness.features.backbones.weights import fetch_weights, weights_sha256
from pinpoint_harness.params import param
from pinpoint_harness.types import Candidates, Context, Predictions, Queries

from ..common.gazetteer import City, coordinates_of, open_gazetteer
from .text_tower import TOKENIZER_FILES, TextTower, tokenizer_folder

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats

BACKBONE = "streetclip"


@dataclass(frozen=True)
class StreetCLIPParams:
    gazetteer: Path | None = param(
        None,
        "table with the columns city, country, latitude, longitude and perhaps population [default: GeoNames "
        "cities of 15,000 inhabitants and more]",
    )
    cities: int = param(30, "most populous cities of each country to choose from", minimum=1)
    country_prompt: str = param("A Street View photo in {country}.", "caption of a country")
    city_prompt: str = param("A Street View photo from {city}.", "caption of a city; may name its {country}")
    backbone: str = param(BACKBONE, "registered name, Hugging Face id or folder of a CLIP")
    candidates: int = param(10, "cities of the likeliest country to report", minimum=1, maximum=1000)


class StreetCLIP:
    """Two steps: the country whose caption fits best, then the best of its most populous cities.

    Image features come from the backbone's store, which all methods share; of the checkpoint only the
    text tower is loaded here. A city's probability is its country's times its own among the cities of
    that country.

    The paper's list of cities is not public, and the answer hangs on it: prompts and the 30 cities a
    country are those of the open reproduction (github.com/zilunzhang/StreetCLIP-Repoduce), the cities
    themselves are the parameter `gazetteer`, which a note of every run names.
    """

    Params: ClassVar[type[StreetCLIPParams]] = StreetCLIPParams
    answer_version: ClassVar[int] = 1

    def __init__(self, params: StreetCLIPParams, context: Context) -> None:
        self.input = params.backbone
        self.params, self._device = params, context.device
        _check_prompt("country_prompt", params.country_prompt, needed="country", allowed=("country",))
        _check_prompt("city_prompt", params.city_prompt, needed="city", allowed=("city", "country"))
        self._gazetteer = open_gazetteer(params.gazetteer)
        by_country = self._gazetteer.by_country
        self._countries = [self._gazetteer.countries[key] for key in by_country]
        self._cities = [tuple(cities[: params.cities]) for cities in by_country.values()]
        source = _weights_source(params.backbone, context)
        self._weights = fetch_weights(source)
        self._tokenizer = tokenizer_folder(source, self._weights)
        self._embedded: dict[int, Tensor] = {}

    def content(self) -> Mapping[str, Any]:
        """The gazetteer and the text side by what they hold; the image side is in the features' key."""
        small = [self._weights / "config.json", *(self._tokenizer / name for name in TOKENIZER_FILES)]
        text = {
            "weights_sha256": weights_sha256(self._weights),
            **{path.name: file_sha256(path) for path in small if path.is_file()},
        }
        return {"gazetteer": dict(self._gazetteer.content), "backbone": None, "text": text}

    def predict(self, queries: Queries) -> Predictions:
        exact = queries.input.double()
        norms = exact.norm(dim=1, keepdim=True)
        features = exact / norms.where(norms > 0, norms.new_ones(()))  # (n, width)
        kept = self.params.candidates
        places = np.full((len(queries), kept, 2), np.nan)
        probability = np.full((len(queries), kept), np.nan)
        countries = self._shares(self._country_captions, features)
        likeliest = countries.argmax(axis=1)  # the first of equals
        for country in np.unique(likeliest).tolist():
            (mine,) = np.nonzero(likeliest == country)
            cities = self._shares(self._city_captions(country), features[mine])
            best = np.argsort(-cities, axis=1, kind="stable")[:, :kept]
            shares = countries[mine, country, None] * np.take_along_axis(cities, best, axis=1)
            places[mine, : best.shape[1]] = coordinates_of(self._cities[country])[best]
            probability[mine, : best.shape[1]] = shares
        return Predictions(
            places[:, 0],
            confidence=probability[:, 0],
            candidates=Candidates(places, probability=probability),
            notes=(self._note,),
        )

    def _shares(self, captions: Tensor, features: Tensor) -> Floats:
        """Softmax over captions for each feature, `(n, captions)` float64."""
        # One query at a time: the last digits of a product hang on its shape.
        products = torch.stack([captions @ feature for feature in features])
        shares: Floats = (self._tower.logit_scale * products).softmax(dim=1).cpu().numpy()
        return shares

    @cached_property
    def _tower(self) -> TextTower:
        return TextTower(self._weights, self._tokenizer, self._device)

    @cached_property
    def _country_captions(self) -> Tensor:
        return self._tower.embed(
            [self.params.country_prompt.format(country=name) for name in self._countries]
        )

    def _city_captions(self, country: int) -> Tensor:
        """Embedded when a country is first answered with: most countries never are."""
        if country not in self._embedded:
            captions = [self._caption(city, country) for city in self._cities[country]]
            self._embedded[country] = self._tower.embed(captions)
        return self._embedded[country]

    def _caption(self, city: City, country: int) -> str:
        return self.params.city_prompt.format(city=city.name, country=self._countries[country])

    @property
    def _note(self) -> str:
        count = sum(map(len, self._cities))
        return (
            f"gazetteer: {self._gazetteer.title}, {count:,} cities of {len(self._countries)} countries, "
            f"at most {self.params.cities} each"
        )


def _weights_source(name: str, context: Context) -> str:
    """The hub id or folder that the features of the run's backbone come from, `--weights` included."""
    if context.stores is None:
        raise UsageError("a text tower can be opened in a run only", fix="use `pinpoint run` or `evaluate`")
    source = context.stores.weights_of(name)
    if not source:
        raise UsageError(
            f"the backbone '{name}' reads no captions",
            found="a backbone that carries its own weights",
            fix=f"take a CLIP, such as backbone={BACKBONE}",
        )
    return source


def _check_prompt(parameter: str, prompt: str, *, needed: str, allowed: Sequence[str]) -> None:
    """UsageError for a caption that leaves its place out or cannot be filled in."""
    names = ", ".join(f"{{{name}}}" for name in allowed)
    try:
        filled = prompt.format(**dict.fromkeys(allowed, "Cairo"))
    except (KeyError, ValueError, IndexError) as error:
        raise UsageError(
            f"{parameter}={prompt!r} cannot be filled in",
            found=f"{type(error).__name__}: {error}",
            fix=f"braces stand around names only: {names}",
        ) from error
    if f"{{{needed}}}" not in prompt:
        raise UsageError(
            f"{parameter}={filled!r} is the same caption for all", fix=f"write {{{needed}}} in it"
        )
