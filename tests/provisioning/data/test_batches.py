from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.core.boxes import box_cxcywh_to_xyxy
from edged.core.errors import DataError
from edged.core.letterbox import Letterbox
from edged.core.types import Floats, Pixels
from edged.cpu.preprocess import letterbox_image
from provisioning.data.augment import Affine
from provisioning.data.batches import Augmentation, Batch, BatchMaker, Share, letterboxed
from provisioning.data.cache import PictureCache
from provisioning.data.pictures import read_picture
from provisioning.data.samples import Sample, load_split
from provisioning.data.spec import read_spec
from tests.provisioning.data.pictures import write_dataset, write_picture

SIDE = 64


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    labels = {f"train/p{number}": f"0 .5 .5 .{number + 1} .5\n1 .2 .3 .2 .2" for number in range(9)}
    return load_split(read_spec(write_dataset(tmp_path, labels)), "train")[0]


def cached(samples: list[Sample], *, limit_bytes: int = 0) -> PictureCache:
    return PictureCache(samples, side=SIDE, limit_bytes=limit_bytes)


def maker(samples: list[Sample], *, limit_bytes: int = 1 << 20, **options: Any) -> BatchMaker:
    pictures = cached(samples, limit_bytes=limit_bytes)
    values: dict[str, Any] = {"batch_size": 4, "seed": 5, **options}
    return BatchMaker(pictures, Augmentation(mixup=0.5, flip_ud=0.5), side=SIDE, **values)


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.pixels, b.pixels)
        np.testing.assert_array_equal(a.targets, b.targets)


def test_batches_cover_the_split_once(samples: list[Sample]) -> None:
    batches = list(maker(samples).epoch(0))
    assert [len(batch.pixels) for batch in batches] == [4, 4, 1]
    assert batches[0].pixels.shape == (4, SIDE, SIDE, 3)


def test_batches_are_the_same_however_they_are_made(samples: list[Sample]) -> None:
    plain = list(maker(samples).epoch(3))
    assert_same(plain, list(maker(samples, workers=3).epoch(3)))
    assert_same(plain, list(maker(samples, limit_bytes=0).epoch(3)))
    assert_same(plain[1:], list(maker(samples, workers=2).epoch(3, first_step=1)))


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_tell_the_time_that_a_step_waits_for_them(
    samples: list[Sample], workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = BatchMaker._make

    def slow(self: BatchMaker, *args: object, **options: object) -> Batch:
        time.sleep(0.1)
        return make(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(BatchMaker, "_make", slow)
    batches = maker(samples, workers=workers)
    assert len(list(batches.epoch(0))) == 3
    assert batches.waited_s > 0.29


def test_batches_differ_between_epochs_and_seeds(samples: list[Sample]) -> None:
    first = next(iter(maker(samples).epoch(0)))
    for other in (maker(samples).epoch(1), maker(samples, seed=6).epoch(0)):
        assert not np.array_equal(first.pixels, next(iter(other)).pixels)


def test_batches_of_all_ranks_are_the_whole_batch(samples: list[Sample]) -> None:
    whole = list(maker(samples).epoch(2))
    ranks = [list(maker(samples, batch_size=2, share=Share(rank, 2)).epoch(2)) for rank in (0, 1)]
    assert [len(shares) for shares in ranks] == [2, 2]  # the ninth picture is left out: it cannot be shared
    for step in range(2):
        joined = np.concatenate([shares[step].pixels for shares in ranks])
        np.testing.assert_array_equal(joined, whole[step].pixels)


def test_batch_targets_are_normalised_and_numbered(samples: list[Sample]) -> None:
    for batch in maker(samples).epoch(0):
        assert batch.targets.dtype == np.float32
        assert ((batch.targets[:, 2:] >= 0) & (batch.targets[:, 2:] <= 1)).all()
        assert set(batch.targets[:, 0].astype(int)) <= set(range(len(batch.pixels)))
        assert set(batch.targets[:, 1].astype(int)) <= {0, 1}


@pytest.mark.parametrize("size", [pytest.param((32, 24), id="enlarged"), pytest.param((201, 150), id="shrunk")])
def test_batch_without_augmentation_is_what_the_daemon_sees(samples: list[Sample], size: tuple[int, int]) -> None:
    sample = samples[0]
    write_picture(sample.picture, *size, seed=77)
    still = Augmentation(
        mosaic=0, affine=Affine(translate=0, scale=0), hue=0, saturation=0, value=0, flip_lr=0, flip_ud=0
    )
    batch = next(BatchMaker(cached([sample]), still, batch_size=1, side=SIDE, seed=0).epoch(0))
    expected, box = letterbox_image(read_picture(sample.picture), (SIDE, SIDE))
    assert np.abs(batch.pixels[0].astype(int) - expected).max() <= 8  # rounding of the colour shift by nothing
    truth = box_cxcywh_to_xyxy(sample.labels.cxcywh * np.array(size * 2, np.float32))
    in_network = box.to_network(truth) / SIDE
    found = box_cxcywh_to_xyxy(batch.targets[:, 2:6])
    np.testing.assert_allclose(found, in_network, atol=0.5 / SIDE)  # half a pixel: the cache rounds sizes


def test_letterboxed_uses_the_house_geometry(samples: list[Sample]) -> None:
    picture = PictureCache(samples, side=48, limit_bytes=0)[0]
    fitted = letterboxed(picture, SIDE)
    expected = Letterbox.fit((48, 36), (SIDE, SIDE)).to_network(picture.xyxy)
    np.testing.assert_array_equal(fitted.xyxy, expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_report_an_unreadable_picture(samples: list[Sample], workers: int) -> None:
    samples[4].picture.write_bytes(b"gone")
    with pytest.raises(DataError, match=r"p4\.png cannot be decoded"):
        list(maker(samples, workers=workers).epoch(0))


def test_cache_keeps_to_its_limit(samples: list[Sample]) -> None:
    one = SIDE * 48 * 3
    cache = PictureCache(samples, side=SIDE, limit_bytes=2 * one + 5)
    first = [cache[number].pixels for number in range(4)]
    assert [cache[number].pixels is first[number] for number in range(4)] == [True, True, False, False]


def test_targets_are_made_anew_from_what_is_trained_on(samples: list[Sample]) -> None:
    seen: list[tuple[int, ...]] = []

    def relabel(pixels: Pixels, targets: Floats) -> Floats:
        seen.append(pixels.shape)
        assert (targets[:, 6] == 1).all()
        halved: Floats = targets[:1] * np.float32(0.5)
        return halved

    batches = list(maker(samples, relabel=relabel, workers=2).epoch(0))
    assert sorted(seen) == sorted(batch.pixels.shape for batch in batches)
    assert all(batch.targets.shape == (1, 7) and batch.targets[0, 6] == 0.5 for batch in batches)
