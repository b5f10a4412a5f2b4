from __future__ import annotations

import pytest
import torch

from lipsync_cli.errors import SettingsError
from lipsync_cli.losses.total import SILENT_LIP, TALKING_FACE, Coefficients, total_loss

TERMS = {"gan": 0.5, "pixel": 0.25, "perceptual": 2.0, "sync": 1.5, "triplet": 3.0}


def tensors(**changed: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value, requires_grad=True) for name, value in (TERMS | changed).items()}


def test_equation_5_with_the_papers_coefficients():
    result = total_loss(tensors(), TALKING_FACE)
    assert result.total.item() == pytest.approx(0.5 + 10 * 0.25 + 1 * 2 + 2 * 1.5 + 0.5 * 3)
    assert result.terms == pytest.approx(TERMS)


def test_the_silent_lip_generator_has_neither_sync_nor_triplet():
    terms = {name: value for name, value in tensors().items() if name in ("gan", "pixel", "perceptual")}
    result = total_loss(terms, SILENT_LIP)
    assert result.total.item() == pytest.approx(0.5 + 2.5 + 2)
    assert set(result.terms) == {"gan", "pixel", "perceptual"}
    assert SILENT_LIP.needed == {"gan", "pixel", "perceptual"}


def test_each_term_is_weighed_in_the_gradient():
    terms = tensors()
    total_loss(terms).total.backward()
    assert {name: term.grad.item() for name, term in terms.items()} == {
        "gan": 1, "pixel": 10, "perceptual": 1, "sync": 2, "triplet": 0.5
    }  # fmt: skip


def test_a_term_that_does_not_count_cannot_spoil_the_sum():
    result = total_loss(tensors(sync=float("nan"), triplet=float("inf")), SILENT_LIP)
    assert result.total.item() == pytest.approx(5)


def test_a_missing_or_unknown_term_is_a_bug_with_a_name():
    terms = tensors()
    del terms["pixel"]
    with pytest.raises(KeyError, match="pixel"):
        total_loss(terms)
    with pytest.raises(KeyError, match="colour"):
        total_loss(tensors(colour=1.0))


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_coefficient_is_a_number_from_0_on(value):
    with pytest.raises(SettingsError, match="'sync' must be 0 or more"):
        Coefficients(sync=value)
