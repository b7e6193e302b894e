"""`edged-provision` with a network in double precision: what differs then is not rounding. Nothing is evaluated."""

from __future__ import annotations

import sys

import torch

from provisioning.__main__ import main
from provisioning.training.loop import Trainer

if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    Trainer._evaluate = lambda _self: None  # type: ignore[method-assign,assignment,return-value]
    sys.exit(main(sys.argv[1:]))
