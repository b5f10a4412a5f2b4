from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from lipsync_cli.errors import WeightsError
from lipsync_cli.models.inception import FidInception
from lipsync_cli.registry.public import load_public


def test_inception_is_torchvisions_but_for_its_two_known_differences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An independent implementation with the same weights; the user's file is found by its parameters."""
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    public = torchvision.models.Inception3(num_classes=1008, aux_logits=False, init_weights=False).eval()
    for norm in (module for module in public.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.1)
    torch.save(public.state_dict(), tmp_path / "pt_inception.pth")
    ours = load_public(tmp_path / "pt_inception.pth", "fid_inception")
    images = torch.rand(2, 3, 299, 299)
    features = {}
    public.avgpool.register_forward_hook(lambda _, __, output: features.update(theirs=output.flatten(1)))
    average = F.avg_pool2d

    def without_the_outside(x: torch.Tensor, *, kernel_size: int, stride: int, padding: int) -> torch.Tensor:
        return average(x, kernel_size, stride, padding, count_include_pad=False)

    monkeypatch.setattr(F, "avg_pool2d", without_the_outside)
    last = public.Mixed_7c

    def with_the_maximum(x: torch.Tensor) -> torch.Tensor:
        with monkeypatch.context() as inner:
            inner.setattr(F, "avg_pool2d", lambda x, **sizes: F.max_pool2d(x, **sizes))
            return type(last).forward(last, x)

    public.Mixed_7c.forward = with_the_maximum
    with torch.inference_mode():
        public(images * 2 - 1)
        monkeypatch.undo()
        assert ours(images) == pytest.approx(features["theirs"], abs=1e-4)


def test_weights_of_something_else_are_no_inception(tmp_path: Path) -> None:
    state = FidInception().state_dict()
    del state["Mixed_5b.branch1x1.conv.weight"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(WeightsError, match=r"Mixed_5b.branch1x1.conv.weight"):
        load_public(tmp_path / "cut.pth", "fid_inception")
