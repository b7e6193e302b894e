"""Says which models are not quantised to INT8, and why."""

from __future__ import annotations

from edged.core.decode import GridDecode, ListDecode
from edged.core.errors import BundleMismatch
from edged.core.manifest import Manifest


def require_quantisable(manifest: Manifest) -> None:
    """Pass the manifest of a model that may be quantised to INT8.

    Raises:
        BundleMismatch: it gives a list of boxes.
    """
    match manifest.decode:
        case GridDecode():
            return
        case ListDecode(family):
            raise BundleMismatch(
                f"{manifest.name} is not quantised to INT8: models that give a list of boxes ({family}) lose too much",
                remedy="take precision fp16 on a GPU, fp32 on a CPU",
            )
