"""The network in numpy gives what torch gives; description and torch's modules agree in names, shapes and geometry."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from provisioning.model import parts
from provisioning.model.description import Release, describe
from provisioning.model.parts import Activation
from provisioning.model.reference import sigmoid_maps
from provisioning.model.torch_checkpoint import checkpoint_of
from tests.provisioning.networks import lively


@pytest.mark.parametrize(("release", "activation"), [("5", "silu"), ("6", "silu"), ("6", "relu"), ("6", "leaky_relu")])
def test_numpy_and_torch_agree(release: Release, activation: Activation) -> None:
    net = lively(release=release, activation=activation).double()
    image = np.random.default_rng(4).random((3, 64, 96))
    with torch.no_grad():
        expected = net.sigmoid_maps(torch.from_numpy(image)[None])
    got = sigmoid_maps(net.description, checkpoint_of(net, names=("cat", "dog")).state, image)
    for head, wanted in zip(got, expected, strict=True):
        np.testing.assert_allclose(head, wanted[0].numpy(), rtol=1e-9)


@pytest.mark.parametrize("release", ["5", "6"])
def test_description_has_the_weights_and_geometry_of_torch(release: Release) -> None:
    net = lively(release=release)
    assert net.description.weights() == {name: tuple(value.shape) for name, value in net.state_dict().items()}
    modules = dict(net.named_modules())
    told = 0
    for name, part in net.description.walk():
        for attribute, wanted in parts.geometry(part).items():
            got = getattr(modules[name], attribute)
            assert got in {wanted, (wanted, wanted)}, (name, attribute)
            told += 1
    assert told > 100


def test_description_of_large_sizes_has_the_published_parameters() -> None:
    for size, published in (("l", 46_563_709), ("x", 86_749_405)):
        shapes = describe(size, classes=80).weights()  # type: ignore[arg-type]
        counted = (
            shape for name, shape in shapes.items() if not name.endswith(("running_mean", "running_var", "tracked"))
        )
        assert sum(int(np.prod(shape)) for shape in counted) == published
