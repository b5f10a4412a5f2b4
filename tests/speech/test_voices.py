from __future__ import annotations

import torch
from torch import Tensor

from lipsync_cli.speech.voices import heard_as


def itself(log_mel: Tensor) -> Tensor:
    return log_mel


def test_one_voice_as_it_is_changes_nothing() -> None:
    log_mel = torch.rand(2, 50, 32)
    assert torch.equal(heard_as(itself, 32, [0.0])(log_mel), log_mel)


def test_a_stretched_voice_is_read_at_higher_bins() -> None:
    ramp = torch.arange(32.0).expand(1, 3, 32)
    heard = heard_as(itself, 32, [0.25])(ramp)
    assert torch.allclose(heard[0, 0], torch.clamp(1.25 * torch.arange(32.0), max=31), atol=1e-5)


def test_the_answer_is_the_mean_over_the_voices_and_keeps_the_type() -> None:
    ramp = torch.arange(32.0).expand(1, 1, 32)
    heard = heard_as(lambda mel: mel.square(), 32, [-0.5, 0.0])(ramp)
    b = torch.arange(32.0)
    assert torch.allclose(heard[0, 0], ((0.5 * b) ** 2 + b**2) / 2, atol=1e-3)
    assert heard.dtype == torch.float32


def test_silence_stays_silence_in_every_voice() -> None:
    silence = torch.full((1, 40, 32), 1.6)
    assert torch.allclose(heard_as(itself, 32)(silence), silence, atol=1e-6)
