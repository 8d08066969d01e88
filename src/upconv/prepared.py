"""Weights in the forms that kernels read, made once by whoever owns them: `upconv.prepare`."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakSet

import numpy as np
from numpy.typing import ArrayLike

from .arrays import NoArray, as_array, check_weight, check_weight_shape, native
from .dtypes import lookup, quiet
from .errors import SettingError
from .rewrites import innermost_weight
from .runtime import memory
from .settings import Settings
from .storage import Error, as_float32, check, stored

if TYPE_CHECKING:
    from .problem import Problem

# What the forms depend on beside the weight.
SETTINGS = ("stride", "dilation", "groups")
# Problems of which a weight knows by heart what they read; a vocoder sends a new width with every call.
MOST_FOUND = 64
# What all forms of a weight together may take: so many times the weight, which is more than twice the largest form of
# `winograd`, or so many bytes, whichever is more; and at least the last one.
FORMS_TIMES, FORMS_BYTES = 16, 4 << 20


class _Prepared(NoArray):
    """What prepared weights have in common: a private, read-only copy of the array, and the settings that it is for."""

    __slots__ = ("_array", "error", "settings", "storage")

    def __init__(self, array: np.ndarray, settings: Settings, storage: str = "", error: Error | None = None) -> None:
        self._array, self.settings = array, settings
        # The dtype of halves whose bits the array holds, if it is not the weight itself; and what was lost by that.
        self.storage, self.error = storage, error

    @property
    def shape(self) -> tuple[int, ...]:
        """(c_in, c_out // groups, k_h, k_w), or (c_in, c_out // groups, k_d, k_h, k_w)."""
        return self._array.shape

    @property
    def ndim(self) -> int:
        """4, or 5 in three dimensions."""
        return self._array.ndim

    @property
    def dtype(self) -> np.dtype:
        """NumPy dtype of the weight: that of the calls that it is for, whatever it is kept in."""
        return np.dtype(np.float32) if self.storage else self._array.dtype

    @property
    def array(self) -> np.ndarray:
        """The weight as it was given, read-only; where it is kept in halves, what they stand for, made anew."""
        if not self.storage:
            return self._array
        wide = as_float32(self._array, self.storage)
        wide.flags.writeable = False
        return wide

    @property
    def raw(self) -> np.ndarray:
        """What is kept of the weight itself, in its order: the weight, or the bits of its halves."""
        return self._array

    def check(self, settings: Settings) -> None:
        """Refuse settings on which the forms depend, if they are others than the weight was prepared for.

        Args:
            settings: those of a call.

        Returns:
            None.

        Raises:
            SettingError: the message names what differs.
        """
        check_settings(self.settings, settings)

    def __reduce__(self):
        return _restored, (self._array, self.settings, self.storage, self.error)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def _said(self):
        """Shape, dtype and storage, as a repr begins."""
        kept = f" kept in {self.storage}, {self.error}" if self.storage else ""
        return f"{self.shape}, {self.dtype.name}{kept}"


class Form:
    """A form that is kept; `used` grows with the time of its last use, but for those by remembered calls.

    `is_recent`: whether one of those has used it since there was last no room.
    """

    __slots__ = ("array", "is_recent", "used")

    def __init__(self, array: np.ndarray):
        self.array, self.used, self.is_recent = array, 0, False

    @property
    def nbytes(self) -> int:
        return self.array.nbytes


class PreparedWeight(_Prepared):
    """A weight that does not change, with the packed forms that its layers ask for; taken wherever a weight is.

    Made by `upconv.prepare`. It is a private copy: changes of the array that it was made from are not seen. Forms
    serve inputs of any size; each is made when a plan first asks for it, and kept. Winograd's has a few kinds, for maps
    of different sizes: a weight that meets many keeps several, those used last, together at most 16 times the weight
    (or 4 MiB, where that is more). Pickling and copying leave the forms behind, to be made again.

    >>> made = prepare(np.ones((8, 4, 3, 3), np.float32), stride=2)
    >>> made.shape, made.nbytes
    ((8, 4, 3, 3), 1152)
    >>> made
    PreparedWeight((8, 4, 3, 3), float32, 1,152 bytes, forms: none yet)
    """

    __slots__ = ("__weakref__", "_forms", "_found", "_inner", "_lock", "_uses", "calls")

    def __init__(self, array: np.ndarray, settings: Settings, storage: str = "", error: Error | None = None) -> None:
        super().__init__(array, settings, storage, error)
        self._forms: dict[Any, Form] = {}
        self._uses = 0
        self._inner: dict[Any, np.ndarray] = {}
        # What has been asked for by problems, which says sooner which form that is than its many blocks do.
        self._found: dict[Any, tuple[Form | None, np.ndarray]] = {}
        # The calls that have been made with it: see `calls`.
        self.calls: Any = None
        # A signal's handler may come back here in the thread that holds it.
        self._lock = threading.RLock()
        _all.add(self)

    @property
    def nbytes(self) -> int:
        """Bytes kept: the weight, and the forms made so far."""
        arrays = self._array, *self._inner.values(), *(form.array for form in list(self._forms.values()))
        return sum({id(array): array.nbytes for array in arrays}.values())

    def form(self, algorithm: Any, problem: Problem) -> tuple[np.ndarray | None, np.ndarray]:
        """What an algorithm reads for its problem; a form is made when it is first asked for, and may be let go again.

        Args:
            algorithm: a `generated.Generated`.
            problem: the innermost problem, after all rewrites.

        Returns:
            (the bytes of the form, to be held while they are read, or None if it reads the weight as it lies; the
            weight). Of a weight that is kept in halves, both are halves, the weight as uint16.
        """
        found = self._found.get((algorithm.name, problem))
        if found is None:
            found = self._made(algorithm, problem)
        kept, weight = found
        if kept is None:
            return None, weight
        self._uses += 1
        kept.used = self._uses
        return kept.array, weight

    def _made(self, algorithm, problem):
        weight = self.dense.reshape(problem.geometry.weight_shape) if self.storage else self.innermost(problem)
        form = algorithm.weight_form(problem)
        # Another thread may let go of the form at any time, so what is noted of it is noted as it is found.
        with self._lock:
            made = None if form is None else self._forms.get(form)
            if made is None and form is not None:
                made = Form(algorithm.pack(problem, self.innermost(problem)))
                self._let_go(made.nbytes)
            if len(self._found) >= MOST_FOUND:
                self._found.clear()
            self._found[algorithm.name, problem] = made, weight
            if form is not None:
                # Last, since a signal's handler in this thread may let go of it as well.
                self._forms[form] = made
        return made, weight

    def form_of(self, array: np.ndarray | None) -> Form | None:
        """The form that lies in an array, None if none does.

        Args:
            array: from `form`.

        Returns:
            The Form that is kept.
        """
        return next((form for form in list(self._forms.values()) if form.array is array), None)

    def _let_go(self, nbytes):
        """Make room for a form of so many bytes: those used longest ago go first. Called with the lock held."""
        most = max(FORMS_TIMES * self._array.nbytes, FORMS_BYTES) - nbytes
        kept = sorted(self._forms.items(), key=lambda each: (each[1].is_recent, each[1].used))
        total = sum(form.nbytes for _, form in kept)
        if total <= most:
            return
        for form, made in kept:
            made.is_recent = False
            if total > most:
                del self._forms[form]
                total -= made.nbytes
        # What was known of them; a call under way holds what it reads.
        self._found.clear()
        if self.calls is not None:
            self.calls.clear()

    def innermost(self, problem: Problem) -> np.ndarray:
        """The weight after the rewrites: of another dtype, 2x2 matrices for complex numbers, a column as a row.

        Args:
            problem: the innermost problem.

        Returns:
            A dense array, as torch would lay it.
        """
        shape = problem.weight_shape
        if self.storage:
            return as_float32(self.dense, self.storage).reshape(shape)
        if problem.pairs:
            return self.dense.reshape(shape)
        key = problem.operation if self._array.dtype.kind == "c" else None
        made = self._inner.get(key)
        if made is None:
            with quiet():
                made = innermost_weight(self.dense, problem)
            made = self._inner.setdefault(key, made)
        return made.reshape(shape)

    @property
    def dense(self) -> np.ndarray:
        """What is kept of the weight itself, as torch would lay it: the weight, or the bits of its halves."""
        made = self._inner.get("dense")
        return self._inner.setdefault("dense", np.ascontiguousarray(self._array)) if made is None else made

    def __repr__(self):
        kept = list(self._forms.items())
        forms = ", ".join(f"{form} ({made.nbytes:,} bytes)" for form, made in kept) or "none yet"
        return f"PreparedWeight({self._said()}, {self.nbytes:,} bytes, forms: {forms})"


# All that there are.
_all: WeakSet[PreparedWeight] = WeakSet()


def _forget():
    """In a fork's child: a lock may be held by a thread that is not there, and what was noted be of forms let go."""
    for each in _all:
        each._lock = threading.RLock()
        each._found.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class PreparedVolume(_Prepared):
    """The weight of a 3-D layer that does not change: its depth taps as 2-D weights, prepared when first asked for.

    Made by `upconv.prepare`; taken by `upconv.conv_transpose3d`. What `PreparedWeight` says holds here too.

    >>> prepare(np.ones((8, 4, 2, 2, 2), np.float32), stride=2)
    PreparedVolume((8, 4, 2, 2, 2), float32, 1,024 bytes, forms: none yet)
    """

    __slots__ = ("_parts",)

    def __init__(self, array: np.ndarray, settings: Settings, storage: str = "", error: Error | None = None) -> None:
        super().__init__(array, settings, storage, error)
        self._parts: dict[tuple[int, tuple[int, ...]], PreparedWeight] = {}

    @property
    def nbytes(self) -> int:
        """Bytes kept: the weight, and the forms made so far."""
        return self._array.nbytes + sum(part.nbytes for part in self._parts.values())

    def part(self, taps: tuple[int, ...], groups: int) -> PreparedWeight:
        """The weight of the 2-D layer that has some depth taps stacked along its input channels.

        Args:
            taps: numbers of depth taps.
            groups: of the call.

        Returns:
            PreparedWeight.
        """
        made = self._parts.get((groups, taps))
        if made is None:
            part = PreparedWeight(
                stacked_taps(self._array, taps, groups), Settings.of(groups=groups), self.storage, self.error
            )
            # Of two threads that make it, the second takes what the first has made.
            made = self._parts.setdefault((groups, taps), part)
        return made

    @staticmethod
    def made(weight: np.ndarray, groups: int, taps: tuple[int, ...]) -> PreparedWeight:
        """The same of a weight that nobody keeps."""
        return PreparedWeight(stacked_taps(weight, taps, groups), Settings.of(groups=groups))

    def __repr__(self):
        forms = ", ".join(f"depth taps {taps}" for _, taps in self._parts) or "none yet"
        return f"PreparedVolume({self._said()}, {self.nbytes:,} bytes, forms: {forms})"


def stacked_taps(weight: np.ndarray, taps: tuple[int, ...], groups: int, stacks_outputs: bool = False) -> np.ndarray:
    """Some depth taps of a 3-D weight as the weight of a 2-D layer, stacked along the channels of each group.

    Args:
        weight: (c_in, c_out // groups, k_d, k_h, k_w).
        taps: numbers of depth taps, in the order in which they are stacked.
        groups: of the layer.
        stacks_outputs: along the output channels instead of the input channels.

    Returns:
        A dense array, (len(taps) * c_in, c_out // groups, k_h, k_w) or (c_in, len(taps) * c_out // groups, k_h, k_w).
    """
    c_in, c_out, _, k_h, k_w = weight.shape
    if len(taps) == 1:
        made = memory.empty((c_in, c_out, k_h, k_w), weight.dtype)
        _copy_taps(weight[:, :, taps[0]], made)
        return made
    if stacks_outputs:
        made = memory.empty((c_in, len(taps), c_out, k_h, k_w), weight.dtype)
        for place, tap in enumerate(taps):
            _copy_taps(weight[:, :, tap], made[:, place])
        return made.reshape(c_in, -1, k_h, k_w)
    made = memory.empty((groups, len(taps), c_in // groups, c_out, k_h, k_w), weight.dtype)
    split = weight.reshape(groups, c_in // groups, *weight.shape[1:])
    for place, tap in enumerate(taps):
        _copy_taps(split[:, :, :, tap], made[:, place])
    return made.reshape(-1, c_out, k_h, k_w)


def _copy_taps(weight, made):
    """Copy a weight (..., k_h, k_w), all taps of a pair of channels as one item where they are consecutive in both."""
    (*_, k_h, k_w), size = weight.shape, weight.itemsize
    if k_h * k_w > 1 and weight.strides[-2:] == made.strides[-2:] == (k_w * size, size):
        weight, made = (
            array.reshape(*array.shape[:-2], k_h * k_w).view(f"V{k_h * k_w * size}")[..., 0] for array in (weight, made)
        )
    made[...] = weight


def check_settings(prepared: Settings, settings: Settings):
    """Refuse settings on which forms depend, if they are others than a weight was prepared for."""
    for name in SETTINGS:
        wanted, given = getattr(prepared, name), getattr(settings, name)
        if wanted != given:
            raise SettingError(
                f"{name} is {given}, and the weight was prepared for {name}={wanted}; pass {name}={wanted}, or "
                f"prepare(weight, {name}={given})"
            )


def prepare(
    weight: ArrayLike,
    stride: int | tuple[int, ...] = 1,
    padding: Any = 0,
    output_padding: int | tuple[int, ...] = 0,
    groups: int = 1,
    dilation: int | tuple[int, ...] = 1,
    *,
    storage: Literal["float16", "bfloat16"] | None = None,
) -> PreparedWeight | PreparedVolume:
    """A weight that is packed once instead of in every call.

    Args:
        weight: (c_in, c_out // groups, k_h, k_w), or that of a layer of one or three dimensions; for `upconv.conv2d`
            (c_out, c_in // groups, k_h, k_w). It is copied.
        stride, groups, dilation: of the calls that it is for.
        padding, output_padding: taken so that the settings of a call can be passed as they are; forms do not depend on
            them.
        storage: keep a weight of float32 in these halves, half of the bytes, and compute in float32 all the same. What
            is lost is the `error` of the result and in its repr: relative to a number at most 2**-8 in bfloat16, and
            2**-11 in float16 but for numbers below 6.1e-5, which are off by at most 3e-8.

    Returns:
        PreparedWeight: immutable, to be passed as `weight`, with inputs of any size. In three dimensions a
        `PreparedVolume`; a 1-D weight is kept as that of a map of height 1.

    Raises:
        SettingError, TypeError, NotImplementedError: as in `upconv.conv_transpose2d`; for a storage that a number of
            the weight is too large for, and beside another dtype than float32.

    >>> made = prepare(np.full((1, 1, 2, 2), 0.1, np.float32), stride=2, storage="bfloat16")
    >>> made.nbytes, str(made.error)
    (8, 'off by at most 0.000977, rms 0.000977')
    >>> from upconv import conv_transpose2d
    >>> w = prepare(np.ones((1, 1, 2, 2), np.float32), stride=2)
    >>> conv_transpose2d(np.ones((1, 1, 1, 2), np.float32), w, stride=2)
    array([[[[1., 1., 1., 1.],
             [1., 1., 1., 1.]]]], dtype=float32)
    """
    array = as_array(weight, "weight")
    dimensions = array.ndim - 2 if array.ndim in (3, 5) else 2
    settings = Settings.of(stride, padding, output_padding, groups, dilation, dimensions=dimensions)
    check_weight(array, dimensions)
    # What no call could use is refused here: groups, channels and kernels, whatever the size and the crops.
    Settings.of(groups=groups, dimensions=dimensions).geometry((1, *array.shape[:1], *[1] * dimensions), array.shape)
    storage = check(storage, lookup(array.dtype, "weight").name)
    array = array if dimensions > 1 else array[:, :, None]
    if storage:
        return prepared_of(native(array), settings, storage)
    return _restored(array, settings.as_2d())


def _restored(array, settings, storage="", error=None):
    copy = np.array(native(array), order="K", subok=False)
    copy.flags.writeable = False
    return (PreparedVolume if copy.ndim == 5 else PreparedWeight)(copy, settings, storage, error)


def prepared_of(array, settings: Settings, storage: str = "") -> PreparedWeight | PreparedVolume:
    """The same of an array that is private already and never written to: it is not copied but as halves."""
    error = None
    if storage:
        array, error = stored(array, storage)
        array.flags.writeable = False
    if array.ndim == 5:
        return PreparedVolume(array, settings, storage, error)
    return PreparedWeight(array if array.ndim == 4 else array[:, :, None], settings.as_2d(), storage, error)


def weight_of(value: Any, settings: Settings, check_shape: Any = check_weight_shape) -> tuple[Any, np.ndarray]:
    """(the weight that a call in two dimensions was given, its array), which are two things where it was prepared.

    Args:
        value: an array, or what `prepare` made.
        settings: of the call.
        check_shape: refuses the shape of another number of dimensions.
    """
    if isinstance(value, PreparedWeight):
        value.check(settings)
        return value, value.raw
    if isinstance(value, PreparedVolume):
        check_shape(value.shape)
    array = as_array(value, "weight")
    check_shape(array.shape)
    return array, array
