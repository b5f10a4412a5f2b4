from __future__ import annotations

import pytest
import torch
from skimage.metrics import structural_similarity

from lipsync_cli.losses import movement
from lipsync_cli.losses.lip_shape import CORNERS, INNER_LIPS, lip_shape_losses


def test_the_mouth_window_of_a_96_pixel_face_is_48_by_72():
    rows, columns = movement.mouth_window(96)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (48, 96, 12, 84)


def test_where_nothing_moves_only_the_mouth_weighs_more():
    still = torch.rand(2, 3, 96, 96)
    weight = movement.movement_weight(still, still)
    assert weight.shape == (2, 1, 96, 96)
    assert weight[:, :, 48:, 12:84].eq(2).all()
    assert weight[:, :, :48].eq(1).all()
    assert weight[:, :, :, :12].eq(1).all()


def test_what_moves_weighs_up_to_four_more():
    still = torch.zeros(1, 3, 96, 96)
    target = still.clone()
    target[:, :, 10, 10] = 1.0  # spread over 5 x 5 by the blur: 5 / 25 of the way
    weight = movement.movement_weight(target, still)
    assert weight[0, 0, 10, 10].item() == pytest.approx(1 + 4 * 5 / 25)
    assert weight[0, 0, 12, 12].item() == pytest.approx(1 + 4 * 5 / 25)
    assert weight[0, 0, 13, 10].item() == 1
    assert movement.movement_weight(still + 1, still).max().item() == pytest.approx(1 + 4 + 1)


def test_the_structure_loss_is_one_less_the_ssim_of_an_independent_library():
    torch.manual_seed(0)
    real = torch.rand(1, 3, 48, 96)
    generated = (real + 0.1 * torch.randn_like(real)).clamp(0, 1)
    _, everywhere = structural_similarity(
        real[0].numpy(),
        generated[0].numpy(),
        channel_axis=0,
        data_range=1,
        win_size=7,
        use_sample_covariance=False,
        full=True,
    )
    inside = everywhere[:, 3:-3, 3:-3].mean()
    assert float(movement.structure_loss(generated, real)) == pytest.approx(1 - inside, abs=1e-5)


def test_the_structure_loss_of_a_picture_with_itself_is_zero_and_a_blur_costs():
    real = torch.rand(1, 3, 48, 96, generator=torch.Generator().manual_seed(1))
    blurred = torch.nn.functional.avg_pool2d(real, 3, 1, 1, count_include_pad=False).requires_grad_()
    assert float(movement.structure_loss(real, real)) == pytest.approx(0, abs=1e-6)
    loss = movement.structure_loss(blurred, real)
    loss.backward()
    assert float(loss.detach()) > 0.1
    assert blurred.grad is not None
    assert blurred.grad.isfinite().all()


def test_weighted_l1_by_hand():
    generated, target = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2), torch.zeros(1, 1, 1, 2)
    weight = torch.tensor([1.0, 6.0]).view(1, 1, 1, 2)
    assert movement.weighted_l1(generated, target, weight).item() == pytest.approx(3)


def test_gradient_l1_sees_edges_and_no_shift_of_brightness():
    target = torch.rand(1, 3, 8, 8)
    weight = torch.ones(1, 1, 8, 8)
    assert movement.weighted_gradient_l1(target + 0.3, target, weight, 0).item() == pytest.approx(0, abs=1e-6)
    ramp = 0.1 * torch.arange(8.0).expand(1, 3, 8, 8)  # a step of 0.1 across, none down
    assert movement.weighted_gradient_l1(ramp, torch.zeros_like(ramp), weight, 0).item() == pytest.approx(0.1)
    assert movement.weighted_gradient_l1(ramp, ramp * 0, 3 * weight, 0).item() == pytest.approx(0.3)


def test_gradient_l1_begins_at_its_first_row():
    generated, target = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    weight = torch.ones(1, 1, 8, 8)
    changed = generated.clone()
    changed[:, :, :4] = 0
    first, second = (movement.weighted_gradient_l1(g, target, weight, 4) for g in (generated, changed))
    assert first.item() == second.item() > 0


def test_flow_variation_is_that_of_a_ramp():
    ramp = 0.5 * torch.arange(4.0).expand(1, 2, 2, 4, 4)
    assert movement.flow_variation(ramp).item() == pytest.approx(0.5)
    assert movement.flow_variation(torch.ones(1, 2, 2, 4, 4)).item() == 0


def test_high_pass_keeps_detail_alone():
    flat = torch.full((1, 3, 9, 9), 0.4)
    torch.testing.assert_close(movement.high_pass(flat), torch.zeros_like(flat), rtol=0, atol=1e-5)
    flat[:, :, 4, 4] += 1.0
    assert movement.high_pass(flat)[0, 0, 4, 4].item() == pytest.approx(8 * 24 / 25, rel=1e-4)


def test_hinge_is_zero_beyond_the_margins():
    assert movement.discriminator_hinge(torch.tensor([1.5]), torch.tensor([-1.5])).item() == 0
    assert movement.discriminator_hinge(torch.tensor([0.0]), torch.tensor([0.5])).item() == pytest.approx(2.5)


def test_feature_matching_is_the_mean_over_layers_and_leaves_the_real_ones_alone():
    real = [torch.zeros(1, 2, requires_grad=True), torch.zeros(1, 4, requires_grad=True)]
    fake = [torch.ones(1, 2, requires_grad=True), torch.full((1, 4), 3.0, requires_grad=True)]
    loss = movement.feature_matching(real, fake)
    loss.backward()
    assert loss.item() == pytest.approx(2)
    assert real[0].grad is None
    assert fake[0].grad is not None


def test_gradients_of_the_weighted_losses_are_those_of_finite_differences():
    rng = torch.Generator().manual_seed(0)
    generated = torch.rand(1, 3, 4, 4, dtype=torch.float64, generator=rng, requires_grad=True)
    target = torch.rand(1, 3, 4, 4, dtype=torch.float64, generator=rng)
    weight = torch.rand(1, 1, 4, 4, dtype=torch.float64, generator=rng)
    assert torch.autograd.gradcheck(lambda g: movement.weighted_l1(g, target, weight), generated)
    assert torch.autograd.gradcheck(lambda g: movement.weighted_gradient_l1(g, target, weight, 1), generated)


def reader(lips: torch.Tensor) -> torch.Tensor:
    """40 points: all lie at the brightness of red, but the lower inner lip is lower by that of green."""
    points = lips[:, 0].mean(dim=(1, 2))[:, None, None].expand(-1, 40, 2)
    is_lower = torch.zeros(40, 2)
    is_lower[INNER_LIPS[1], 1] = 1
    return points + lips[:, 1].mean(dim=(1, 2))[:, None, None] * is_lower


def test_lip_shape_is_measured_in_units_of_12_pixels_of_96():
    generated, target = torch.zeros(2, 3, 48, 96), torch.zeros(2, 3, 48, 96)
    generated[:, 0] = 12 / 96  # all points lie 12 pixels further to the right and down
    losses = lip_shape_losses(reader, generated, target, 2)
    assert losses.points.item() == pytest.approx(1)
    assert losses.spread.item() == pytest.approx(0, abs=1e-6)


def test_spread_compares_how_far_the_openings_of_each_clip_vary():
    """Two clips of two frames: openings 0 and 24 pixels (deviation 1 unit) against 12 and 12; equal ones."""
    generated, target = torch.zeros(4, 3, 48, 96), torch.zeros(4, 3, 48, 96)
    target[:, 1] = torch.tensor([0, 24 / 96, 0, 24 / 96])[:, None, None]
    generated[:, 1] = torch.tensor([12 / 96, 12 / 96, 0, 24 / 96])[:, None, None]
    losses = lip_shape_losses(reader, generated, target, 2)
    assert losses.spread.item() == pytest.approx((1 + 0) / 2, abs=2e-3)


def test_width_is_the_distance_between_the_corners_of_the_mouth():
    """12 pixels wider than the real one: one unit; where all points move alike, none."""

    def corners(lips: torch.Tensor) -> torch.Tensor:
        points = lips[:, 1].mean(dim=(1, 2))[:, None, None].expand(-1, 40, 2).clone()
        points[:, CORNERS[1], 0] += 0.25 + lips[:, 0].mean(dim=(1, 2))
        return points

    generated, target = torch.zeros(2, 3, 48, 96), torch.zeros(2, 3, 48, 96)
    generated[0, 0] = 12 / 96
    generated[1, 1] = 12 / 96
    assert lip_shape_losses(corners, generated, target, 2).width.item() == pytest.approx(0.5, abs=1e-4)


def test_lip_shape_gives_a_gradient_to_the_generated_lips_only():
    generated, target = (torch.rand(4, 3, 48, 96, requires_grad=True) for _ in range(2))
    losses = lip_shape_losses(reader, generated, target, 2)
    (losses.points + losses.spread + losses.width).backward()
    assert target.grad is None
    assert generated.grad is not None
    assert generated.grad.isfinite().all()
    assert generated.grad.abs().sum() > 0
