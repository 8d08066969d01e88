"""What a kernel does to a value between its sum and its store: the activation, in registers."""

from struct import pack, unpack

# Those that are one or two instructions; the others take a pass of their own over the result.
IN_REGISTERS = ("none", "relu", "leaky_relu")


def suffix(activation):
    """The part of a kernel's name that says what it applies."""
    return "" if activation == "none" else f"_{activation}"


def slope_field(elem, slope):
    """A slope as the 64-bit field of a task: the bits of the number in the type of the values."""
    code, whole = {"f32": ("<f", "<i"), "f64": ("<d", "<q")}[elem]
    return unpack(whole, pack(code, slope))[0]


class Epilogue:
    """Applies an activation to vectors; `slope` is the place of that field in the task."""

    def __init__(self, k, vector, activation, slope):
        self.k, self.activation = k, activation
        if activation == "relu":
            self.zero = k.zero(vector)
        elif activation == "leaky_relu":
            self.slope = k.splat(k.load(k.job + 8 * slope, vector.scalar), vector)

    def __call__(self, value):
        """The value after the activation; a NaN stays one."""
        if self.activation == "relu":
            return self.k.maximum(value, self.zero)
        if self.activation == "leaky_relu":
            # Right for slopes above 0 and up to 1, which is what the caller sees to.
            return self.k.maximum(value, self.k.mul(value, self.slope))
        return value
