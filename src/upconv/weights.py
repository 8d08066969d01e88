"""Weights carried between layers, frameworks and files: torch, ONNX, Keras and flax; npz and safetensors.

    load(source, name)                  one layer's weight and bias, ready for `ConvTranspose2d.load_state_dict`
    save(layer, path)                   into .npz or .safetensors, under torch's names
    export(layer, "keras")              the arrays as another framework has them
    fold(state_dict)                    weight_norm, spectral_norm and masks computed once and for all

The order of the axes is that of `upconv.conventions`. Files of PyTorch are read by `torch.load`, models of ONNX by
`upconv.onnx.state_dict`; what these give is a source here.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import is_foreign
from .conventions import CONVENTIONS, weight_order
from .errors import SettingError
from .prepared import PreparedVolume, PreparedWeight
from .weight_files import TORCH, arrays, write

#: What frameworks call the weight.
WEIGHTS = ("weight", "kernel")
FRAMEWORKS = {"torch": "torch", "keras": "keras", "tf_keras": "keras", "flax": "jax"}
ALSO_CALLED = {"flax": "jax", "pytorch": "torch"}
# The parts of a weight under torch's weight_norm and spectral_norm: names of the old hooks, and of parametrizations.
WEIGHT_NORM = (("{}_g", "{}_v"), ("parametrizations.{}.original0", "parametrizations.{}.original1"))
SPECTRAL_NORM = (
    ("{}_orig", "{}_u", "{}_v"),
    ("parametrizations.{}.original", "parametrizations.{}.0._u", "parametrizations.{}.0._v"),
)
# What torch's pruning keeps of a parameter.
PRUNED = ("_orig", "_mask")
# The same, and those of every other way to compute a parameter from others.
PARTS = r"(?:parametrizations\.{0}\..+|{0}_(?:orig|mask|g|u|v))"


def load(source: Any, name: str | None = None, framework: str | None = None) -> dict[str, np.ndarray]:
    """The weight and the bias of one layer, in torch's order.

    Args:
        source: a file (.npz, .safetensors); a state_dict or any dictionary of arrays, nested or with dots; a layer or a
            model of PyTorch; a layer of Keras or flax.nnx.
        name: of the layer in the source, "decoder.up1"; may be left out where there is only one.
        framework: whose order the arrays have: "torch", "onnx", "keras" or "jax" (flax); default: that of the layer
            given, and "torch" for files and dictionaries, where the array is called "weight". Say "keras" for flax's
            `transpose_kernel=True`.

    Returns:
        {"weight": ..., "bias": ...}, the bias only where there is one; the memory is the source's where it can be.

    Raises:
        OSError: for a file that cannot be read.
        SettingError: for a name that is not there, sources that hold no layer or several, and a "kernel" of which
            nobody says whose order it has.
        TypeError: for what is no source, and unknown frameworks.

    >>> found = load({"up": {"kernel": np.ones((3, 3, 8, 4)), "bias": np.ones(8)}}, framework="keras")
    >>> found["weight"].shape, found["bias"].shape
    ((4, 8, 3, 3), (8,))
    """
    found, own = _arrays_of(source)
    framework = own if framework is None else _framework(framework)
    found = fold(found)
    layers = sorted({_parent(key) for key in found if key.split(".")[-1] in WEIGHTS and np.ndim(found[key]) >= 3})
    if name is None:
        if not layers:
            for prefix in dict.fromkeys(re.match(r"(.*?)(?:parametrizations\.|[^.]*$)", key)[1] for key in found):
                _refuse_parts(found, prefix, "weight")
            why = (
                "it has no arrays"
                if not found
                else (f"none of its {len(found)} arrays is called weight or kernel and has 3 axes or more")
            )
            raise SettingError(f"there is no layer in the source: {why}")
        if len(layers) > 1:
            shown = ", ".join(map(repr, layers))
            raise SettingError(f"there are {len(layers)} layers in the source: {shown}; say which one by name=")
        name = layers[0]
    prefix = f"{name}." if name else ""
    key = next((prefix + word for word in WEIGHTS if prefix + word in found), None)
    if key is None:
        _refuse_parts(found, prefix, "weight")
        raise SettingError(f"the source has no layer {name!r}; it has {', '.join(map(repr, layers)) or 'none'}")
    if framework is None and key != f"{prefix}weight":
        raise SettingError(
            f"{key} is called as Keras and flax call a weight, and each has an order of its own: say whose it is by "
            'framework="keras", "jax" (flax), or "torch"'
        )
    _refuse_parts(found, prefix, "bias")
    made = {"weight": convert(found[key], framework or "torch", "torch")}
    bias = found.get(f"{prefix}bias")
    return made if bias is None else {**made, "bias": _array(bias)}


def convert(weight: Any, source: str, target: str) -> np.ndarray:
    """A weight of one framework in the order of another; a view where nothing is flipped.

    Args:
        weight: of a layer of 1, 2 or 3 dimensions.
        source, target: "torch", "onnx", "keras" or "jax".

    Returns:
        The array.

    Raises:
        TypeError: for a framework that is none of these, and for a prepared weight.

    >>> convert(np.ones((4, 8, 3, 3)), "torch", "keras").shape
    (3, 3, 8, 4)
    """
    weight = _array(weight)
    order, flipped = weight_order(_framework(source), _framework(target), weight.ndim - 2)
    return np.flip(weight.transpose(order), flipped) if flipped else weight.transpose(order)


def export(layer: Any, framework: str) -> dict[str, np.ndarray]:
    """A layer's arrays as another framework has them.

    Args:
        layer: of upconv's or PyTorch's; or a dictionary with "weight" and perhaps "bias".
        framework: "torch", "onnx", "keras" or "jax" (flax).

    Returns:
        {"weight": ..., "bias": ...}, for Keras and flax {"kernel": ..., "bias": ...}; fresh arrays in C order.
        ``keras_layer.set_weights(list(export(layer, "keras").values()))`` takes them.

    Raises:
        SettingError: for groups, where the framework has none.

    >>> from upconv import ConvTranspose2d
    >>> {name: array.shape for name, array in export(ConvTranspose2d(4, 8, 3, rng=0), "keras").items()}
    {'kernel': (3, 3, 8, 4), 'bias': (8,)}
    """
    target = CONVENTIONS[_framework(framework)]
    groups = getattr(layer, "groups", 1)
    if groups > 1 and not target.has_groups:
        raise SettingError(f"groups is {groups}; {framework} has none, so split the layer into {groups} of them")
    found = load(layer)
    word = "weight" if target.has_groups else "kernel"
    made = {word: np.array(convert(found["weight"], "torch", target.name), order="C")}
    return made if "bias" not in found else {**made, "bias": np.array(found["bias"])}


def save(layer: Any, path: str | Path, name: str = "") -> None:
    """Write a layer's arrays into a file, under torch's names and in its order.

    Args:
        layer: a layer, or a dictionary of arrays by name, whose names and order stay as they are.
        path: .npz or .safetensors; a file that exists is replaced.
        name: what to put before the names, "decoder.up1".

    Returns:
        None.

    Raises:
        OSError, SettingError, ValueError: for files that cannot be written so.

    >>> import tempfile, upconv
    >>> layer = upconv.ConvTranspose2d(4, 8, 3, rng=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(layer, f"{folder}/up.safetensors", "up")
    ...     upconv.ConvTranspose2d(4, 8, 3).load_state_dict(load(f"{folder}/up.safetensors", "up"))
    IncompatibleKeys(missing_keys=[], unexpected_keys=[])
    """
    found, own = _arrays_of(layer)
    if not isinstance(layer, Mapping) and own != "torch" and "kernel" in found:
        found = load(layer)
    found = {key: _array(value) for key, value in found.items()}
    write(path, {f"{name}.{key}" if name else key: array for key, array in found.items()})


def fold(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """A state_dict without weight_norm, spectral_norm and pruning: the parts of each weight become the weight.

    Args:
        state_dict: arrays or tensors by name; those of the old hooks and of the parametrizations are known, and the
            masks of `torch.nn.utils.prune`. What is under spectral_norm is taken for a transposed convolution's.

    Returns:
        A new dictionary; what was no such part is as it was.

    >>> folded = fold({"up.weight_g": np.full((1, 1, 1, 1), 2.5), "up.weight_v": np.array([[[[3.0, 4.0]]]])})
    >>> folded["up.weight"].tolist()
    [[[[1.5, 2.0]]]]
    """
    made = dict(state_dict)
    # A mask comes first: what a norm is computed from may be pruned.
    for key in [key[: -len(PRUNED[0])] for key in made if key.endswith(PRUNED[0])]:
        whole, mask = (made.get(key + ending) for ending in PRUNED)
        if mask is not None and np.shape(whole) == np.shape(mask):
            whole, mask = (_array(made.pop(key + ending)) for ending in PRUNED)
            made[key] = whole * mask.astype(whole.dtype)
    for kinds, compute in ((SPECTRAL_NORM, _spectral), (WEIGHT_NORM, _normed)):
        for patterns in kinds:
            for prefix in [_prefix(key, patterns[0]) for key in made if _prefix(key, patterns[0]) is not None]:
                parts = [prefix + pattern.format("weight") for pattern in patterns]
                if all(part in made for part in parts):
                    weight = compute(*(_array(made[part]) for part in parts))
                    if weight is not None:
                        made = {key: value for key, value in made.items() if key not in parts}
                        made[f"{prefix}weight"] = weight
    return made


def _prefix(key, pattern):
    ending = pattern.format("weight")
    return key[: -len(ending)] if key == ending or key.endswith(f".{ending}") else None


def _refuse_parts(found, prefix, word):
    """Refuse a parameter that is computed from others in a way that is not known here."""
    if prefix + word not in found:
        parts = [key for key in found if re.fullmatch(re.escape(prefix) + PARTS.format(word), key)]
        if parts:
            raise SettingError(
                f"{prefix}{word} is computed from {', '.join(parts)}, in a way that is not known here: make it one by "
                "torch.nn.utils.parametrize.remove_parametrizations or its own remove_ function first"
            )


def _normed(g, v):
    """weight_norm: the norm is over the axes along which g has one element."""
    wide = v.astype(np.promote_types(v.dtype, np.float32))
    axes = tuple(range(v.ndim)) if g.ndim == 0 else tuple(i for i in range(v.ndim) if g.shape[i] == 1)
    norm = np.sqrt((wide**2).sum(axis=axes, keepdims=True))
    return (wide * (g / norm)).astype(v.dtype)


def _spectral(weight, u, v):
    """spectral_norm of a transposed convolution, whose matrix has output channels as rows; None for other layers."""
    wide = weight.astype(np.float64)
    matrix = wide.swapaxes(0, 1).reshape(weight.shape[1], -1)
    if matrix.shape != (u.size, v.size):
        return None
    return (wide / (u @ (matrix @ v))).astype(weight.dtype)


def _arrays_of(source):
    """(arrays by name with dots, the framework whose order they have; None where only names can tell)."""
    if isinstance(source, str | Path):
        if Path(source).suffix.lower() in TORCH:
            raise SettingError(f"{source} is PyTorch's: pass torch.load({str(source)!r}, weights_only=True)")
        return arrays(source), None
    if isinstance(source, Mapping):
        return dict(_flat(source, "")), None
    # Users derive layers of their own, so the class itself may be of any module. Keras's layers on PyTorch are modules
    # of PyTorch too, and of Keras first.
    roots = (base.__module__.split(".")[0] for base in type(source).__mro__)
    framework = next((FRAMEWORKS[root] for root in roots if root in FRAMEWORKS), None)
    if framework != "torch" and hasattr(source, "kernel"):
        # Flax multiplies the kernel by its mask in every call.
        kernel, mask = source.kernel, getattr(source, "mask", None)
        kernel = kernel if mask is None else _array(kernel) * _array(mask)
        found = {"kernel": kernel, "bias": getattr(source, "bias", None)}
        found = {name: value for name, value in found.items() if value is not None}
        return found, "keras" if getattr(source, "transpose_kernel", False) else framework
    if callable(getattr(source, "state_dict", None)):
        return dict(source.state_dict()), "torch"
    raise TypeError(
        f"the source is {type(source).__name__}; it must be a file, a dictionary of arrays, or a layer of upconv, "
        "PyTorch, Keras or flax.nnx"
    )


def _flat(value, name):
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _flat(each, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _array(value):
    """A NumPy array of whatever a source holds; tensors lose their gradient, and bfloat16 becomes float32."""
    if isinstance(value, PreparedWeight | PreparedVolume):
        raise TypeError(f"the weight is a {type(value).__name__}; pass its .array, which has the order of its axes")
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        return value.numpy()
    if hasattr(value, "numpy") and not is_foreign(value):
        return value.numpy()
    return np.asarray(value)


def _parent(key):
    return key.rpartition(".")[0]


def _framework(name):
    known = ALSO_CALLED.get(name, name)
    if known not in CONVENTIONS:
        raise TypeError(f"framework is {name!r}; it must be one of {', '.join(CONVENTIONS)}")
    return known
