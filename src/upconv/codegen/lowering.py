"""Writes recorded kernels as the text of LLVM modules. Text only: LLVM itself is `llvm`'s business."""

import struct
from functools import lru_cache

from .isa import Isa
from .lang import I64, PTR, Branch, Builder, Leave, Loop, Repeat, Type, Value
from .primitives import TABLE

ELEMENTS = {
    "f32": "float",
    "f64": "double",
    "i16": "i16",
    "i32": "i32",
    "i64": "i64",
    "bf16x2": "i32",
    "i1": "i1",
    "ptr": "ptr",
}
FLOATS = {"f32": "f", "f64": "d"}
# How a thread is set to the default arithmetic and back, by architecture: declarations, first steps, last steps.
ARITHMETIC = {
    "x86_64": (
        ("declare void @llvm.x86.sse.stmxcsr(ptr)", "declare void @llvm.x86.sse.ldmxcsr(ptr)"),
        (
            "%theirs = alloca i32",
            "%ours = alloca i32",
            "call void @llvm.x86.sse.stmxcsr(ptr %theirs)",
            "store i32 8064, ptr %ours",
            "call void @llvm.x86.sse.ldmxcsr(ptr %ours)",
        ),
        ("call void @llvm.x86.sse.ldmxcsr(ptr %theirs)",),
    ),
    "aarch64": (
        ("declare i64 @llvm.aarch64.get.fpcr()", "declare void @llvm.aarch64.set.fpcr(i64)"),
        ("%theirs = call i64 @llvm.aarch64.get.fpcr()", "call void @llvm.aarch64.set.fpcr(i64 0)"),
        ("call void @llvm.aarch64.set.fpcr(i64 %theirs)",),
    ),
}
# The hint that a thread waits for another, by architecture.
PAUSES = {"x86_64": "@llvm.x86.sse2.pause()", "aarch64": "@llvm.aarch64.hint(i32 1)"}


def spell(type: Type):
    """A type as LLVM writes it."""
    element = ELEMENTS[type.elem]
    return f"<{type.lanes} x {element}>" if type.lanes else element


def mangle(type: Type):
    """A type as the names of intrinsics spell it."""
    return f"v{type.lanes}{type.elem}" if type.lanes else type.elem


def number(value, elem):
    """A Python number as LLVM writes a constant; a float becomes the nearest of its element type, exactly."""
    if isinstance(value, int):
        return repr(value)
    (nearest,) = struct.unpack(FLOATS[elem], struct.pack(FLOATS[elem], value))
    if nearest - nearest == 0:
        return repr(nearest)
    return f"0x{struct.unpack('<Q', struct.pack('<d', nearest))[0]:016X}"


def lower(kernel: Builder, isa: Isa) -> str:
    """The kernel as the text of an LLVM module.

    Raises:
        NotImplementedError: when the instruction set lacks what the kernel needs.
    """
    return lower_together([kernel], isa)


def lower_together(kernels, isa: Isa) -> str:
    """Several kernels as the text of one module."""
    declarations, lines = set(), []
    for kernel in kernels:
        lowering = _Lowering(isa)
        lines += lowering.function(kernel)
        declarations |= lowering.declarations
    return "\n".join([*sorted(declarations), *lines, ""])


class _Lowering:
    """Writes the lines of one function."""

    def __init__(self, isa):
        self.isa = isa
        self.lines, self.declarations = [], set()
        self.places, self.types = [], []
        self.labels, self.ends = 0, {}
        # What variables hold since the last jump: loads and stores in between need not be written at all.
        self.known, self.unsaved, self.alias = {}, set(), {}

    def function(self, kernel):
        self.types = kernel.variables
        self.places = [f"%x{number} = alloca {spell(type)}" for number, type in enumerate(kernel.variables)]
        self.block(kernel.body)
        alone = "" if kernel.shares_argument else "noalias readonly "
        head = f"define void @{kernel.name}(ptr {alone}%v{kernel.argument.number}) nounwind {{"
        first, last = self.arithmetic(kernel) if kernel.settles_arithmetic else ((), ())
        # LLVM turns places into registers only if they are made at the entry.
        return [head, "entry:", *self.places, *first, *self.lines, *last, "ret void", "}"]

    def arithmetic(self, kernel):
        """The first and last steps of a kernel that calls others under the default arithmetic.

        LLVM moves arithmetic past such a step, since it knows of no other than the default, so there may be none here.
        """
        computed = [step.name for step in _steps(kernel.body) if _is_arithmetic(step)]
        if computed:
            raise NotImplementedError(f"{kernel.name} computes by itself ({computed[0]}), and so cannot settle how")
        declarations, first, last = ARITHMETIC[self.isa.arch]
        self.declarations.update(declarations)
        return first, last

    def block(self, steps):
        for step in steps:
            if isinstance(step, Loop):
                self.loop(step)
            elif isinstance(step, Branch):
                self.branch(step)
            elif isinstance(step, Repeat):
                self.repeat(step)
            elif isinstance(step, Leave):
                self.leave(step)
            else:
                self.instruction(step)
        self.save()

    def save(self):
        """Before a jump: variables go to their places, and nothing is known of them afterwards."""
        for variable in sorted(self.unsaved):
            self.lines.append(f"store {spell(self.types[variable])} {self.known[variable]}, ptr %x{variable}")
        self.known.clear()
        self.unsaved.clear()

    def loop(self, step):
        self.save()
        label, counter = self.label(), f"%v{step.counter.number}"
        self.places.append(f"%c{label} = alloca i64")
        self.lines += [
            f"store i64 {self.text(step.start)}, ptr %c{label}",
            f"br label %head{label}",
            f"head{label}:",
            f"{counter} = load i64, ptr %c{label}",
            f"%t{label} = icmp slt i64 {counter}, {self.text(step.stop)}",
            f"br i1 %t{label}, label %body{label}, label %done{label}",
            f"body{label}:",
        ]
        self.block(step.body)
        self.lines += [
            f"%n{label} = add nsw i64 {counter}, {self.text(step.step)}",
            f"store i64 %n{label}, ptr %c{label}",
            f"br label %head{label}",
            f"done{label}:",
        ]

    def repeat(self, step):
        self.save()
        label = self.ends[step] = self.label()
        self.lines += [f"br label %head{label}", f"head{label}:"]
        self.block(step.body)
        self.lines += [f"br label %head{label}", f"done{label}:"]

    def leave(self, step):
        self.save()
        label, end = self.label(), self.ends[step.loop]
        self.lines += [f"br i1 {self.text(step.condition)}, label %done{end}, label %stay{label}", f"stay{label}:"]

    def branch(self, step):
        self.save()
        label = self.label()
        self.lines += [f"br i1 {self.text(step.condition)}, label %then{label}, label %done{label}", f"then{label}:"]
        self.block(step.body)
        self.lines += [f"br label %done{label}", f"done{label}:"]

    def label(self):
        self.labels += 1
        return self.labels

    def text(self, operand, type=I64):
        """A value or a number as LLVM writes it."""
        if isinstance(operand, Value):
            return self.alias.get(operand.number) or f"%v{operand.number}"
        return number(operand, type.elem)

    def instruction(self, step):
        if step.name == "set":
            variable = step.attributes["variable"]
            self.known[variable] = self.text(step.operands[0], step.attributes["type"])
            self.unsaved.add(variable)
        elif step.name == "get":
            self.get(step)
        else:
            self.primitive(step)

    def get(self, step):
        variable, result = step.attributes["variable"], step.result
        if variable in self.known:
            self.alias[result.number] = self.known[variable]
        else:
            self.lines.append(f"%v{result.number} = load {spell(result.type)}, ptr %x{variable}")
            self.known[variable] = f"%v{result.number}"

    def primitive(self, step):
        operands, result = step.operands, step.result
        # A number has the type of the value beside it, or that of the lanes that are made of it; beside an address and
        # for C it is an i64.
        types = tuple([operand.type if isinstance(operand, Value) else None for operand in operands])
        if None in types:
            own = result.type.scalar if result else I64
            beside = I64 if step.name == "call_c" else next((type for type in types if type not in (None, PTR)), own)
            types = tuple([type or beside for type in types])
        attributes = tuple([pair for pair in step.attributes.items() if pair[0] != "number"])
        text, declarations = _template(step.name, types, result and result.type, attributes, self.isa.arch)
        place = result.number if result else step.attributes.get("number")
        self.lines += text.format(*map(self.text, operands, types), r=f"%v{place}").split("\n")
        self.declarations.update(declarations)


@lru_cache(maxsize=4096)
def _template(name, types, result, attributes, arch):
    """A lowering with everything but its operands and result filled in, and the declarations it wants."""
    names = {"T": "void", "to": "", "pause": PAUSES.get(arch, "@llvm.donothing()")}
    names["arguments"] = ", ".join(f"{spell(type)} {{{place}}}" for place, type in enumerate(types))
    for place, type in enumerate(types):
        names |= {f"T{place}": spell(type), f"m{place}": mangle(type), f"a{place}": type.scalar.size}
        names |= {f"L{place}": type.lanes}
    if result is not None:
        names |= {"T": spell(result), "m": mangle(result), "E": ELEMENTS[result.elem], "M": spell(result.mask)}
        names |= {"L": result.lanes, "a": result.scalar.size, "to": "{r} = "}
    lanes = (result or next(iter(types), I64)).lanes
    names |= {"twice": 2 * lanes, "bits": 32 * lanes}
    names |= {"iota": _vector(range(lanes)), "iota64": _vector(range(lanes), "i64")}
    names |= {key: _vector([value] * lanes) for key, value in TABLE[name].constants}
    for key, value in attributes:
        names[key] = value if isinstance(value, str) else _vector(value) if isinstance(value, tuple) else int(value)
    holes = [f"{{{place}}}" for place in range(len(types))]
    text = TABLE[name].lowering.format(*holes, r="{r}", **names)
    return text, [_declaration(line) for line in text.split("\n") if " @llvm." in line]


def _declaration(line):
    """The declaration of the intrinsic that a line calls: its own text with the operands' names taken out."""
    head, _, tail = line.partition(" @")
    name, _, operands = tail.partition("(")
    types = [operand.rsplit(" ", 1)[0] for operand in operands.rstrip(")").split(", ")]
    return f"declare {head.split('call ')[1]} @{name}({', '.join(types)})"


def _steps(block):
    """All instructions of a block, those of inner blocks included."""
    for step in block:
        if isinstance(step, Loop | Branch | Repeat):
            yield from _steps(step.body)
        elif not isinstance(step, Leave):
            yield step


def _is_arithmetic(step):
    types = [value.type for value in (*step.operands, step.result) if isinstance(value, Value)]
    return any(type.elem in FLOATS for type in types)


def _vector(numbers, elem="i32"):
    return "<" + ", ".join(f"{elem} {number}" for number in numbers) + ">"
