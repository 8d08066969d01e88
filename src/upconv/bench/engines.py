"""The list of engines: which there are, which can run here, which are wanted. To add one: an adapter and a line.

An engine that is not in the list can be given as "module:Class", a class with the contract of `adapters`.
"""

from importlib import import_module
from importlib.util import find_spec

from .adapters import (
    Jax,
    Ncnn,
    OnnxRuntime,
    OpenVino,
    PreparedChannelsLast,
    PreparedPlanes,
    TorchChannelsLast,
    TorchPlanes,
    UpconvChannelsLast,
    UpconvPlanes,
)

ENGINES = {
    "upconv-nchw": UpconvPlanes,
    "upconv-nhwc": UpconvChannelsLast,
    "prepared-nchw": PreparedPlanes,
    "prepared-nhwc": PreparedChannelsLast,
    "torch-nchw": TorchPlanes,
    "torch-nhwc": TorchChannelsLast,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "ncnn": Ncnn,
    "jax": Jax,
}
# What each needs beside this package; jax runs only on request, since it compiles every layer for seconds.
NEEDS = {
    "torch-nchw": ("torch",),
    "torch-nhwc": ("torch",),
    "onnxruntime": ("onnxruntime", "onnx"),
    "openvino": ("openvino",),
    "ncnn": ("ncnn",),
    "jax": ("jax",),
}
ON_REQUEST = frozenset({"jax"})


def missing(name):
    """The packages that an engine needs and that are not installed."""
    return [package for package in NEEDS.get(name, ()) if find_spec(package) is None]


def resolve(names=None):
    """(engines to run, {engine: why it cannot}) from a comma-separated list, "all", or nothing for the default.

    Raises:
        ValueError: for a name that nobody knows.
    """
    if names in (None, "", "default"):
        wanted = [name for name in ENGINES if name not in ON_REQUEST]
    elif names == "all":
        wanted = list(ENGINES)
    else:
        wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in ENGINES and ":" not in name:
            raise ValueError(f"--engines {name!r} is unknown; there are {', '.join(ENGINES)}, or module:Class")
    gone = {name: f"{' and '.join(missing(name))} not installed" for name in wanted if missing(name)}
    return [name for name in wanted if name not in gone], gone


def make(name, threads):
    """The engine of a name, in this process."""
    if name in ENGINES:
        return ENGINES[name](threads)
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)(threads)
