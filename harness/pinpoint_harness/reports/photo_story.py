"""What a run holds of one photo: truth, answer, probabilities, and every candidate with its distances."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import unknown_name
from ..geo import geodesic_km
from ..running import candidates_of, most_probable_first
from ..running.predictions import to_frame, within_of
from ..types import RADII_KM, Candidates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..running import Run
    from .support import Support

Place = tuple[float, float]


@dataclass(frozen=True)
class CandidateFacts:
    """One candidate: `rank` in the list as shown, `given_rank` in the method's own order, both from 1.

    `score` is the method's own, and `found_by` the searches that found it, where the method says so.
    `support` counts the photos within 25 km of it by gallery, for the galleries that are on this machine.
    """

    rank: int
    given_rank: int
    latitude: float
    longitude: float
    to_truth_km: float
    to_answer_km: float | None
    probability: float | None
    score: float | None
    found_by: str | None
    source: str | None
    photo_id: str | None
    support: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class PhotoStory:
    """One photo of a run. `row` is its place in the run; `standing` the share of photos with less error.

    `within` are the probabilities that the method stated, by radius in km. `support` counts the photos within
    25 km of the truth by gallery: what the method could have found. Candidates are ordered by
    probability where they have one, else as the method gave them.
    """

    row: int
    photo: str
    author: str | None
    status: str
    truth: Place
    answer: Place | None
    error_km: float | None
    standing: float | None
    confidence: float | None
    within: dict[float, float] | None
    candidates: tuple[CandidateFacts, ...]
    support: dict[str, int]

    def nearest(self) -> CandidateFacts | None:
        """The candidate nearest to the truth: how good the list was, whatever was chosen from it."""
        return min(self.candidates, key=lambda one: one.to_truth_km, default=None)

    def to_dict(self) -> dict[str, Any]:
        stated = None if self.within is None else {f"{km:g}": share for km, share in self.within.items()}
        return {**asdict(self), "within": stated}


def tell(run: Run, photo: str, support: Support | None = None) -> PhotoStory:
    """The story of a photo by its id; UsageError where the run has no such photo.

    With `support` the gallery photos near each candidate, and near the truth, are counted.
    """
    table = run.table()
    ids = table.column("id").to_pylist()
    if photo not in ids:
        near = [one for one in ids if photo in one][:10] or ids[:10]
        rest = f"; it was asked about {len(ids):,} photos, the ids are in `pinpoint runs export`"
        fix = f"give one of these{rest}" if len(ids) > len(near) else ""
        raise unknown_name(f"'{run.title}' was asked about no photo '{photo}'", photo, near, fix=fix)
    row = ids.index(photo)
    mine = table.take([row])
    (facts,) = to_frame(mine).to_dict("records")
    errors = table.column("error_km").to_numpy()
    answered = facts["status"] == "ok"
    truth = (float(facts["latitude"]), float(facts["longitude"]))
    answer = (float(facts["predicted_latitude"]), float(facts["predicted_longitude"])) if answered else None
    stated = within_of(mine)
    return PhotoStory(
        row=row,
        photo=photo,
        author=facts["author"] if isinstance(facts["author"], str) else None,
        status=facts["status"],
        truth=truth,
        answer=answer,
        error_km=float(facts["error_km"]) if answered else None,
        standing=float((errors < facts["error_km"]).mean()) if answered else None,
        confidence=_number(facts["confidence"]),
        within=None
        if stated is None or np.isnan(stated[0]).any()
        else dict(zip(RADII_KM, stated[0].tolist(), strict=True)),
        candidates=_candidates(candidates_of(mine), truth, answer, support),
        support={} if support is None else support.near(np.array([truth]))[0],
    )


def _candidates(
    given: Candidates | None, truth: Place, answer: Place | None, support: Support | None
) -> tuple[CandidateFacts, ...]:
    if given is None:
        return ()
    found, order = most_probable_first(given)
    places = found.coordinates[0]
    count = int((~np.isnan(places[:, 0])).sum())
    to_truth = geodesic_km(np.array([truth] * count).reshape(-1, 2), places[:count])
    to_answer = geodesic_km(np.array([answer or truth] * count).reshape(-1, 2), places[:count])
    near = [{}] * count if support is None else support.near(places[:count])
    return tuple(
        CandidateFacts(
            rank=slot + 1,
            given_rank=int(order[0, slot]) + 1,
            latitude=float(places[slot, 0]),
            longitude=float(places[slot, 1]),
            to_truth_km=float(to_truth[slot]),
            to_answer_km=float(to_answer[slot]) if answer else None,
            probability=None if found.probability is None else _number(found.probability[0, slot]),
            score=None if found.score is None else _number(found.score[0, slot]),
            found_by=_word(found.found_by, slot),
            source=_word(found.source, slot),
            photo_id=_word(found.photo_id, slot),
            support=near[slot],
        )
        for slot in range(count)
    )


def _word(words: NDArray[np.str_] | None, slot: int) -> str | None:
    return None if words is None else str(words[0, slot]) or None


def _number(value: Any) -> float | None:
    return None if value is None or np.isnan(value) else float(value)
