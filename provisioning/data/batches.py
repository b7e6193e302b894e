"""Makes training batches ahead, in threads. They depend only on seed, epoch and position in the epoch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from edged.core.types import Floats, Pixels
from edged.cpu.preprocess import letterbox_image
from provisioning.data.augment import Affine, Labelled, affine, flip, mixup, mosaic, shift_colours
from provisioning.data.cache import PictureCache

_AHEAD = 3  # batches in work or ready, besides one for each thread
Order = npt.NDArray[np.int64]
Relabel = Callable[[Pixels, Floats], Floats]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How pictures are changed in training. Probabilities are 0..1, ranges are plus or minus.

    Attributes:
        mosaic: probability of joining four pictures.
        mixup: probability that a mosaic is blended with a second one.
        affine: ranges of the affine map.
        hue, saturation, value: ranges of the colour gains, 1 plus or minus.
        flip_lr, flip_ud: probabilities of mirroring left-right and upside-down.
    """

    mosaic: float = 1.0
    mixup: float = 0.0
    affine: Affine = field(default_factory=Affine)
    hue: float = 0.015
    saturation: float = 0.7
    value: float = 0.4
    flip_lr: float = 0.5
    flip_ud: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The input of a training step.

    Attributes:
        pixels: (B, S, S, 3) uint8, BGR.
        targets: (N, 7) float32: index in the batch, class id, centre-x, centre-y, width, height as fractions of S, and
            how sure it is that the object is there, 0..1.
    """

    pixels: Pixels
    targets: Floats


@dataclass(frozen=True, slots=True)
class Share:
    """The part of every batch that one of several processes makes.

    Attributes:
        rank: of this process, 0 to `world` - 1.
        world: number of processes that train together.
    """

    rank: int = 0
    world: int = 1


class BatchMaker:
    """Makes the batches of an epoch, in order, with threads that work ahead.

    Args:
        pictures: of the training split.
        augmentation: how pictures are changed.
        batch_size: pictures in a batch of this process; the last batch of an epoch may be smaller.
        side: of the network's square input, pixels.
        seed: of the run.
        workers: threads; 0 makes each batch when it is needed.
        share: of this process, of every batch of the whole training.
        relabel: makes the targets anew, from the pixels and targets of a batch; called in the threads.
    """

    def __init__(
        self,
        pictures: PictureCache,
        augmentation: Augmentation,
        *,
        batch_size: int,
        side: int,
        seed: int,
        workers: int = 0,
        share: Share = Share(),
        relabel: Relabel | None = None,
    ) -> None:
        self._pictures = pictures
        self._augmentation = augmentation
        self._batch_size = batch_size
        self._side = side
        self._seed = seed
        self._workers = workers
        self._share = share
        self._relabel = relabel
        self.waited_s = 0.0

    @property
    def steps(self) -> int:
        """Batches in an epoch. A rest of fewer pictures than processes is left out."""
        whole, rest = divmod(len(self._pictures), self._batch_size * self._share.world)
        return whole + (1 if rest >= self._share.world else 0)

    def epoch(self, number: int, *, use_mosaic: bool = True, first_step: int = 0) -> Iterator[Batch]:
        """The batches of epoch `number` from `first_step` on. The time spent waiting for them is added to `waited_s`.

        Raises:
            DataError: a picture cannot be read.
        """
        order = np.random.default_rng([self._seed, number]).permutation(len(self._pictures))
        if not self._workers:
            for step in range(first_step, self.steps):
                yield self._awaited(partial(self._make, number, order, step, with_mosaic=use_mosaic))
            return
        with ThreadPoolExecutor(self._workers, thread_name_prefix="batches") as pool:
            waiting: deque[Future[Batch]] = deque()
            try:
                for step in range(first_step, self.steps):
                    while len(waiting) < _AHEAD + self._workers and step + len(waiting) < self.steps:
                        waiting.append(
                            pool.submit(self._make, number, order, step + len(waiting), with_mosaic=use_mosaic)
                        )
                    yield self._awaited(waiting.popleft().result)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _awaited(self, take: Callable[[], Batch]) -> Batch:
        started = time.monotonic()
        batch = take()
        self.waited_s += time.monotonic() - started
        return batch

    def _make(self, epoch: int, order: Order, step: int, *, with_mosaic: bool) -> Batch:
        start = step * self._batch_size * self._share.world
        share = min(self._batch_size, (len(order) - start) // self._share.world)
        first = start + self._share.rank * share
        made = [
            self._augmented(
                int(order[place]), np.random.default_rng([self._seed, epoch, place]), with_mosaic=with_mosaic
            )
            for place in range(first, first + share)
        ]
        pixels = np.stack([picture.pixels for picture in made])
        targets = np.concatenate([_targets(place, picture) for place, picture in enumerate(made)])
        return Batch(pixels, self._relabel(pixels, targets) if self._relabel else targets)

    def _augmented(self, index: int, rng: np.random.Generator, *, with_mosaic: bool) -> Labelled:
        options = self._augmentation
        if with_mosaic and rng.random() < options.mosaic:
            picture = self._mosaic(index, rng)
            if rng.random() < options.mixup:
                picture = mixup(picture, self._mosaic(int(rng.integers(len(self._pictures))), rng), rng=rng)
        else:
            picture = affine(
                letterboxed(self._pictures[index], self._side), options.affine, output_wh=(self._side,) * 2, rng=rng
            )
        pixels = shift_colours(
            picture.pixels, hue=options.hue, saturation=options.saturation, value=options.value, rng=rng
        )
        picture = Labelled(pixels, picture.xyxy, picture.class_id)
        if rng.random() < options.flip_ud:
            picture = flip(picture, horizontally=False)
        return flip(picture, horizontally=True) if rng.random() < options.flip_lr else picture

    def _mosaic(self, index: int, rng: np.random.Generator) -> Labelled:
        others = rng.integers(len(self._pictures), size=3)
        parts = [self._pictures[int(place)] for place in (index, *others)]
        ordered = [parts[place] for place in rng.permutation(len(parts))]
        whole = mosaic(ordered, side=self._side, rng=rng)
        return affine(whole, self._augmentation.affine, output_wh=(self._side,) * 2, rng=rng)


def letterboxed(picture: Labelled, side: int) -> Labelled:
    """The picture, letterboxed as in the daemon to (`side`, `side`, 3), and its boxes there."""
    pixels, box = letterbox_image(picture.pixels, (side, side))
    return Labelled(pixels, box.to_network(picture.xyxy), picture.class_id)


def _targets(place: int, picture: Labelled) -> Floats:
    """(N, 7) float32 as in `Batch.targets`, all certain; `place` is the picture's index in the batch."""
    side = np.float32(picture.pixels.shape[0])
    corner, size = picture.xyxy[:, :2], picture.xyxy[:, 2:] - picture.xyxy[:, :2]
    number, sure = np.full((len(size), 1), place), np.ones((len(size), 1))
    columns = (number, picture.class_id[:, None], (corner + size / 2) / side, size / side, sure)
    return np.concatenate(columns, axis=1).astype(np.float32)
