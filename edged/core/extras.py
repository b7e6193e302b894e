"""The error for a missing package of an extra: `pip install edged` alone brings nothing that runs a model."""

from __future__ import annotations

from edged.core.errors import NotInstalled

OWN = ("edged", "provisioning", "plugins")
# Import name: the extras in pyproject.toml that bring it. Other packages come with edged itself.
EXTRAS_WITH: dict[str, tuple[str, ...]] = {
    "cv2": ("cpu", "provision"),
    "onnxruntime": ("cpu", "provision"),
    "tqdm": ("cpu", "provision"),
    "cuda": ("gpu", "rtx"),
    "pynvml": ("gpu", "rtx"),
    "matplotlib": ("train",),
    "cryptography": ("provision",),
    "onnx": ("provision",),
    "onnx_graphsurgeon": ("provision",),
    "onnxslim": ("provision",),
    "torch": ("train",),
    "yaml": ("migrate", "provision"),
    "amqtt": ("demo",),
    "aiohttp": ("view",),
    "prometheus_client": ("view",),
}


def not_installed(exc: ModuleNotFoundError, *, prefer: str) -> NotInstalled:
    """The error to show in place of `exc`: which package is missing and what to install.

    Args:
        exc: raised by an import.
        prefer: the extra to name where several bring the package.

    Raises:
        ModuleNotFoundError: `exc` itself, where a module of edged is missing, which is a defect.
    """
    package = (exc.name or "").partition(".")[0]
    if not package or package in OWN:
        raise exc
    extras = EXTRAS_WITH.get(package, ())
    extra = prefer if prefer in extras else next(iter(extras), "")
    remedy = f"pip install 'edged[{extra}]'" if extra else "install edged again, with its dependencies"
    return NotInstalled(f"the Python package {package} is not installed", remedy=remedy)
