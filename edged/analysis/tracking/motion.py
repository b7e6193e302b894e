"""Where tracked boxes are now: a Kalman filter over centre and size of every box of a camera, with time in seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MotionModel:
    """How objects move. Lengths are in heights of the object, so that near and far ones are treated alike.

    Attributes:
        measured: standard deviation of a measured centre or side, heights.
        speed: standard deviation of the speed of a new object, heights a second.
        restless: standard deviation that speed gains in a second, heights a second.
        keeps_s: an object that is not measured keeps its speed for about so long, seconds.
    """

    measured: float = 0.05
    speed: float = 1.0
    restless: float = 0.4
    keeps_s: float = 4.0


class Motion:
    """Position and velocity of N boxes, each of (cx, cy, w, h) filtered on its own: frame pixels, pixels a second.

    The velocity fades as an Ornstein-Uhlenbeck process does, so that two predictions of half the time are one of the
    whole, and an object that is not seen comes to rest instead of leaving the picture.

    Source: Kalman filter of constant velocity as in SORT (arXiv 1602.00763), noise as a share of the height as in
    DeepSORT (arXiv 1703.07402).
    """

    def __init__(self, model: MotionModel) -> None:
        self._model = model
        self.place = np.empty((0, 4))  # cx, cy, w, h
        self.velocity = np.empty((0, 4))
        self._var_place = np.empty((0, 1))  # one variance for all four: they are measured alike
        self._covar = np.empty((0, 1))
        self._var_velocity = np.empty((0, 1))

    def predict(self, dt_s: float) -> None:
        """Move every box on by `dt_s` seconds, >= 0."""
        if dt_s <= 0 or not len(self.place):
            return
        model = self._model
        fade = float(np.exp(-dt_s / model.keeps_s))
        reach_s = model.keeps_s * (1 - fade)
        gained = (model.restless * self.place[:, 3:4]) ** 2 * dt_s
        self.place += reach_s * self.velocity
        np.maximum(self.place[:, 2:], 1.0, out=self.place[:, 2:])
        self.velocity *= fade
        self._var_place += 2 * reach_s * self._covar + reach_s * reach_s * self._var_velocity + gained * dt_s * dt_s / 3
        self._covar = fade * (self._covar + reach_s * self._var_velocity) + gained * dt_s / 2
        self._var_velocity = fade * fade * self._var_velocity + gained

    def correct(self, rows: npt.NDArray[np.intp], measured: Doubles) -> None:
        """Take the measured boxes (M, 4), cx cy w h, of these rows."""
        noise = (self._model.measured * measured[:, 3:4]) ** 2
        var, covar = self._var_place[rows], self._covar[rows]
        gain, gain_velocity = var / (var + noise), covar / (var + noise)
        off = measured - self.place[rows]
        self.place[rows] += gain * off
        self.velocity[rows] += gain_velocity * off
        self._var_place[rows] = (1 - gain) * var
        self._var_velocity[rows] -= gain_velocity * covar
        self._covar[rows] = (1 - gain) * covar

    def add(self, measured: Doubles) -> None:
        """Append boxes (M, 4), cx cy w h, that stand still as far as is known."""
        height = measured[:, 3:4]
        self.place = np.concatenate([self.place, measured])
        self.velocity = np.concatenate([self.velocity, np.zeros_like(measured)])
        self._var_place = np.concatenate([self._var_place, (self._model.measured * height) ** 2])
        self._covar = np.concatenate([self._covar, np.zeros_like(height)])
        self._var_velocity = np.concatenate([self._var_velocity, (self._model.speed * height) ** 2])

    def keep(self, rows: npt.NDArray[np.bool_]) -> None:
        """Drop the rows that are False."""
        for name in ("place", "velocity", "_var_place", "_covar", "_var_velocity"):
            setattr(self, name, getattr(self, name)[rows])

    def xyxy(self) -> Doubles:
        """The boxes as corners (N, 4), frame pixels; they may reach beyond the frame."""
        half = self.place[:, 2:] / 2
        return np.concatenate([self.place[:, :2] - half, self.place[:, :2] + half], axis=1)


def cxcywh(xyxy: Doubles) -> Doubles:
    """Centre and size of boxes (N, 4) given as corners; sides of at least a pixel."""
    low, high = xyxy[:, :2], xyxy[:, 2:]
    return np.concatenate([(low + high) / 2, np.maximum(high - low, 1.0)], axis=1)
