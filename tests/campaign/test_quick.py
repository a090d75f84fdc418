"""A few trials of every kind of the campaign."""

from __future__ import annotations

import os

import pytest
from tests.campaign import QUICK, WHOLE, kind_of
from tests.campaign.trials import run_trials


def test_every_kind_has_a_quick_part() -> None:
    assert QUICK.keys() == WHOLE.keys()


@pytest.mark.parametrize("kind", QUICK)
def test_a_few_trials_of_each_kind(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PINPOINT_")]:
        monkeypatch.delenv(name)
    tally = run_trials(kind, kind_of(kind), range(QUICK[kind]))
    assert not tally.wrong, tally.wrong[0]
    assert tally.ended["answered"] + tally.ended["refused"] == QUICK[kind]
