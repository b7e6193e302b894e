"""The decode kernel's own source, run on the processor, against the node's reference and the CPU's decode."""

from __future__ import annotations

import ctypes
import itertools
import math

import numpy as np
import pytest

from plugins.yolo_layer.kernel import DecodeArgs, cell_count
from tests.gpu.ground import GROUNDS, Ground, ground_named
from tests.gpu.host_kernels import args_bytes
from tests.plugins.decoding import (
    ANCHORS,
    POISON,
    Array,
    layer,
    random_heads,
    require_equal_to_reference,
    run_decode,
    sizes_of,
)
from tests.provisioning.node_reference import yolo_layer


@pytest.fixture(params=GROUNDS)
def on(request: pytest.FixtureRequest) -> Ground:
    return ground_named(request.param)


def test_decode_args_have_the_layout_of_the_source() -> None:
    assert ctypes.sizeof(DecodeArgs) == args_bytes("decode_scores_f32") == args_bytes("decode_write_f16")


@pytest.mark.parametrize("classes", [1, 3, 80])
@pytest.mark.parametrize("input_wh", [(32, 32), (96, 64), (64, 160), (320, 320)])
def test_decode_equals_the_cpu_bit_by_bit(on: Ground, classes: int, input_wh: tuple[int, int]) -> None:
    node = layer(classes=classes)
    heads = random_heads(node, sizes_of(input_wh), batch=2, seed=classes)
    got = run_decode(node, heads, on=on)
    assert 0 < got.count[0] < cell_count(node, sizes_of(input_wh))
    require_equal_to_reference(node, heads, got)


def test_decode_equals_the_node_reference(on: Ground) -> None:
    node = layer(classes=2, threshold=0.4)
    heads = random_heads(node, sizes_of((96, 64)), batch=3, seed=7)
    count, boxes, scores, classes = yolo_layer(
        heads, max_stride=32, num_classes=2, anchors=list(ANCHORS), prenms_score_threshold=0.4
    )
    got = run_decode(node, heads, on=on)
    np.testing.assert_array_equal(got.count, count[:, 0])
    for image, kept in enumerate(got.count):
        np.testing.assert_array_equal(got.boxes[image, :kept], boxes[image, :kept])
        np.testing.assert_array_equal(got.scores[image, :kept], scores[image, :kept])
        np.testing.assert_array_equal(got.classes[image, :kept], classes[image, :kept])


@pytest.mark.parametrize("anchors_per_head", [1, 2, 8])
def test_decode_takes_any_number_of_anchors(on: Ground, anchors_per_head: int) -> None:
    node = layer(anchors=[float(8 + k) for k in range(3 * anchors_per_head * 2)])
    heads = random_heads(node, sizes_of((96, 96)), batch=1, seed=3)
    require_equal_to_reference(node, heads, run_decode(node, heads, on=on))


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_decode_takes_other_numbers_of_heads(on: Ground, heads: int) -> None:
    """416 pixels are six and a half cells of stride 64: the last cells reach over the edge."""
    node, sizes = layer(heads=heads, anchors=[float(8 + k) for k in range(heads * 4)]), sizes_of((416, 96), heads)
    assert sizes[-1] == {1: (12, 52), 2: (6, 26), 4: (2, 7)}[heads]
    maps = random_heads(node, sizes, batch=2, seed=heads)
    require_equal_to_reference(node, maps, run_decode(node, maps, on=on))


def test_decode_half_maps_equal_the_same_maps_as_float(on: Ground) -> None:
    node = layer(threshold=0.1)
    heads = [head.astype(np.float16) for head in random_heads(node, sizes_of((96, 96)), batch=2, seed=5)]
    require_equal_to_reference(node, heads, run_decode(node, heads, on=on))


def test_decode_reads_every_half_value_as_numpy_does(on: Ground) -> None:
    """All 65,536 bit patterns, subnormal, infinite and NaN ones among them, as a box coordinate."""
    node = layer(classes=1, threshold=0.0, anchors=(1.0, 1.0) * 3)
    head = np.ones((1, 6, 256, 256), np.float16)
    head[0, 0] = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(256, 256)
    heads = [head, np.zeros((1, 6, 1, 1), np.float16), np.zeros((1, 6, 1, 1), np.float16)]
    got = run_decode(node, heads, on=on)
    assert got.count[0] == 1 << 16
    with np.errstate(all="ignore"):
        columns = np.tile(np.arange(256, dtype=np.float32), 256)
        centre = (head[0, 0].ravel().astype(np.float32) * np.float32(2) - np.float32(0.5) + columns) * np.float32(8)
        np.testing.assert_array_equal(got.boxes[0, : 1 << 16, 0], centre - np.float32(2))


def test_decode_empty_maps_count_zero_and_write_nothing(on: Ground) -> None:
    node = layer()
    heads = [np.zeros_like(head) for head in random_heads(node, sizes_of((64, 64)), batch=2, seed=0)]
    got = run_decode(node, heads, on=on)
    assert got.count.tolist() == [0, 0]
    assert (got.scores == POISON).all() and (got.boxes == POISON).all() and (got.classes == POISON).all()


def test_decode_all_above_the_threshold_fill_the_buffers_exactly(on: Ground) -> None:
    node = layer(threshold=0.0)
    sizes = sizes_of((160, 96))
    heads = [np.maximum(head, np.float32(0.01)) for head in random_heads(node, sizes, batch=2, seed=1)]
    got = run_decode(node, heads, on=on)
    assert got.count.tolist() == [cell_count(node, sizes)] * 2
    require_equal_to_reference(node, heads, got)


def test_decode_ties_take_the_lowest_class_and_keep_the_order_of_the_cells(on: Ground) -> None:
    node = layer(classes=4)
    heads = [np.full_like(head, 0.75) for head in random_heads(node, sizes_of((64, 64)), batch=1, seed=0)]
    got = run_decode(node, heads, on=on)
    assert set(got.classes[0].tolist()) == {0}
    require_equal_to_reference(node, heads, got)


# The classes are read in eights: fewer, exactly, and one more than one and ten of them.
CLASS_COUNTS = [1, 7, 8, 9, 80, 81]
MAP_TYPES = ["float32", "float16"]


def heads_of_cases(classes: int, cases: int, dtype: str) -> tuple[list[Array], Array]:
    """Heads for one anchor, and a view (cases, classes) into the class values of the first `cases` cells of p3."""
    side = math.isqrt(cases - 1) + 1
    values = np.random.default_rng(classes).uniform(0.3, 0.6, (1, 5 + classes, side, side)).astype(dtype)
    values[:, 4] = 1
    nothing = np.zeros((1, 5 + classes, 1, 1), dtype)
    view = values[0, 5:].reshape(classes, -1).T[:cases]
    assert np.shares_memory(view, values)
    return [values, nothing, nothing.copy()], view


@pytest.mark.parametrize("classes", CLASS_COUNTS)
@pytest.mark.parametrize("dtype", MAP_TYPES)
@pytest.mark.parametrize("value", [0.75, 1.0, np.inf], ids=str)
def test_decode_finds_the_best_class_at_every_place_and_the_first_of_equals(
    on: Ground, classes: int, dtype: str, value: float
) -> None:
    node = layer(classes=classes, anchors=(8.0, 8.0) * 3)
    pairs = list(itertools.combinations_with_replacement(range(classes), 2))
    heads, cases = heads_of_cases(classes, len(pairs), dtype)
    for case, (first, other) in zip(cases, pairs, strict=True):
        case[[first, other]] = value
    got = run_decode(node, heads, on=on)
    assert got.count[0] >= len(pairs)
    assert got.classes[0, : len(pairs)].tolist() == [first for first, _ in pairs]
    require_equal_to_reference(node, heads, got)


@pytest.mark.parametrize("classes", CLASS_COUNTS)
@pytest.mark.parametrize("dtype", MAP_TYPES)
def test_decode_drops_a_cell_with_nan_at_any_place_before_and_after_the_best(
    on: Ground, classes: int, dtype: str
) -> None:
    node = layer(classes=classes, anchors=(8.0, 8.0) * 3)
    pairs = list(itertools.product(range(classes), repeat=2))
    heads, cases = heads_of_cases(classes, 2 * len(pairs), dtype)
    for case, sound, (broken, best) in zip(cases[::2], cases[1::2], pairs, strict=True):
        case[best] = sound[best] = 0.75
        case[broken] = np.nan
    got = run_decode(node, heads, on=on)
    assert got.count[0] == heads[0][0, 0].size - len(pairs)
    assert got.classes[0, : len(pairs)].tolist() == [best for _, best in pairs]
    require_equal_to_reference(node, heads, got)


def test_decode_a_score_at_the_threshold_does_not_pass(on: Ground) -> None:
    node = layer(classes=1, threshold=0.25)
    heads = [np.full_like(head, 0.5) for head in random_heads(node, sizes_of((64, 64)), batch=1, seed=0)]
    assert run_decode(node, heads, on=on).count.tolist() == [0]  # 0.5 * 0.5 == 0.25


@pytest.mark.parametrize("channel", range(8))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.5, -1.0], ids=str)
def test_decode_broken_values_are_kept_or_dropped_as_on_the_cpu(on: Ground, channel: int, value: float) -> None:
    node = layer(classes=3)
    heads = random_heads(node, sizes_of((64, 64)), batch=1, seed=channel)
    for head in heads:
        head[:, channel::8, ::2, ::3] = value
    got = run_decode(node, heads, on=on)
    assert not np.isnan(got.scores[0, : got.count[0]]).any()
    require_equal_to_reference(node, heads, got)


@pytest.mark.parametrize("seed", range(4))
def test_decode_does_not_depend_on_the_order_of_blocks_and_threads(on: Ground, seed: int) -> None:
    node = layer()
    heads = random_heads(node, sizes_of((160, 160)), batch=2, seed=9)
    first, other = run_decode(node, heads, seed=0, on=on), run_decode(node, heads, seed=seed + 1, on=on)
    for a, b in zip((first.count, first.boxes, first.scores), (other.count, other.boxes, other.scores), strict=True):
        np.testing.assert_array_equal(a, b)


def test_decode_a_batch_equals_its_images_one_by_one(on: Ground) -> None:
    node = layer()
    heads = random_heads(node, sizes_of((96, 96)), batch=3, seed=2)
    together = run_decode(node, heads, on=on)
    for image in range(3):
        alone = run_decode(node, [head[image : image + 1] for head in heads], on=on)
        assert alone.count[0] == together.count[image]
        np.testing.assert_array_equal(alone.boxes[0], together.boxes[image])


def test_decode_live_threshold_replaces_the_baked_one(on: Ground) -> None:
    heads = random_heads(layer(), sizes_of((96, 96)), batch=1, seed=4)
    got = run_decode(layer(threshold=0.001), heads, live=0.6, on=on)
    require_equal_to_reference(layer(threshold=0.6), heads, got)
