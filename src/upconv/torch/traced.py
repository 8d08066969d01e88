"""Runs in a module with a forward of its own, found in its graph by torch.fx, where the graph is provably that forward.

A graph says what happened in one call with stand-ins. It says what happens in every call if the forward's code is a
straight line, reads nothing of the module but its children, and each of its calls is a node of the graph. That is
looked up in the bytecode; whatever else is found is a reason not to fuse, in words. What is proved is proved for these
children and this code, so both are compared in every call.
"""

import dis
import operator
from types import FunctionType, MethodType, ModuleType

import torch

from .fusion import Folds, run_at, step
from .instance import FUNCTIONS, is_foreign, is_traced
from .state import STATE

relu, leaky, tanh, sigmoid = torch.nn.ReLU, torch.nn.LeakyReLU, torch.nn.Tanh, torch.nn.Sigmoid
F = torch.nn.functional
FUNCTIONAL = {F.relu: relu, torch.relu: relu, "relu": relu, F.leaky_relu: leaky, F.tanh: tanh, torch.tanh: tanh}
FUNCTIONAL |= {"tanh": tanh, F.sigmoid: sigmoid, torch.sigmoid: sigmoid, "sigmoid": sigmoid, torch.relu_: relu}
VARIABLE = 0x04 | 0x08


class Block:
    """The traced forward of one module; a copy of the module traces its own at its first call.

    Attributes:
        code: the forward that was traced, or None before that.
        children: of the module, then.
        runs: in the graph, with a module in place of a functional activation.
        forward: the graph's, with each run as one node.
    """

    def __init__(self):
        self.code = self.children = self.forward = None
        self.runs, self.folds = [], Folds()

    def trace(self, module):
        """Trace a module whose forward has been proved.

        Raises:
            Unproved: if there is no graph, or it is not all of the forward.
        """
        try:
            graph = _Tracer().trace(module)
        except Exception as error:
            raise Unproved(f"torch.fx cannot trace its forward ({type(error).__name__})") from None
        if not _is_all(graph, type(module).forward):
            raise Unproved("not all that its forward calls is seen by torch.fx")
        for nodes, run in _find(graph, module):
            self.runs.append(run)
            with graph.inserting_before(nodes[0]):
                made = graph.call_function(_stepping(run, self.folds), nodes[0].args)
            nodes[-1].replace_all_uses_with(made)
            for node in reversed(nodes):
                graph.erase_node(node)
        self.code, self.children = type(module).forward, list(module._modules.items())
        self.forward = torch.fx.GraphModule(module, graph).forward

    def holds(self, module):
        """Whether the module's code and children are those that were traced."""
        if self.code is None:
            self.trace(module)
        return type(module).forward is self.code and list(module._modules.items()) == self.children

    def __reduce__(self):
        return type(None), ()

    def __deepcopy__(self, memo):
        return Block()


class Unproved(Exception):
    """Why the graph of a module need not be its forward, as a sentence."""


def _stepping(run, folds):
    """A function for a graph, which wants one with a name."""

    def fused(input):
        # The members are those that were traced, but what they are may have changed since.
        now = run_at(run.members, 0)
        return run.by_members(input) if now is None or now.members != run.members else step(now, folds, input)

    return fused


class _Tracer(torch.fx.Tracer):
    """Children are single nodes, whoever made them."""

    def is_leaf_module(self, module, name):
        return True


def forward(self, *args, **kwargs):
    """As the forward of the module's class, with a layer and what follows it as one where that is the same."""
    block = vars(self).get(STATE)
    first = args[0] if args else next(iter(kwargs.values()), None)
    if block is None or is_traced(first) or not block.holds(self):
        return type(self).forward(self, *args, **kwargs)
    return block.forward(*args, **kwargs)


FUNCTIONS.add(forward)


def put_on(module):
    """Give a module the forward that fuses, if it has runs and that is provably the same.

    Returns:
        The runs.

    Raises:
        Unproved: if there may be something to fuse, but the graph need not be the forward.
    """
    if is_foreign(module):
        raise Unproved("its forward has been replaced on the module itself")
    prove(type(module).forward, module)
    block = Block()
    block.trace(module)
    if block.runs:
        vars(module)[STATE] = block
        vars(module)["forward"] = MethodType(forward, module)
    return block.runs


def prove(function, module):
    """Refuse code that another call may run through differently.

    Raises:
        Unproved: with the reason.
    """
    if not isinstance(function, FunctionType):
        raise Unproved("its forward is no plain Python function")
    code = function.__code__
    if code.co_varnames[:1] != ("self",):
        raise Unproved("its forward does not call its module self")
    if code.co_flags & VARIABLE:
        raise Unproved("its forward takes any number of arguments")
    if code.co_freevars or any(hasattr(constant, "co_code") for constant in code.co_consts):
        raise Unproved("there is a function within its forward")
    instructions = list(dis.get_instructions(code))
    jumps = {*dis.hasjrel, *dis.hasjabs}
    if getattr(code, "co_exceptiontable", b"") or any(i.opcode in jumps or "YIELD" in i.opname for i in instructions):
        raise Unproved("its forward has branches or loops")
    for now, following in zip(instructions, [*instructions[1:], None], strict=True):
        if now.opname.startswith(("STORE_ATTR", "STORE_GLOBAL", "STORE_SUBSCR", "DELETE", "IMPORT")):
            raise Unproved("its forward changes more than its own variables")
        if now.opname.startswith("LOAD_GLOBAL") and not _is_torchs(function.__globals__.get(now.argval)):
            raise Unproved(f"its forward uses {now.argval}")
        if "FAST" in now.opname and _mentions(now.argval, "self"):
            _prove_child(now, following, module)


def _prove_child(now, following, module):
    """Refuse an instruction about `self` that does not read one of its children."""
    last = now.argval[-1] if isinstance(now.argval, tuple) else now.argval
    is_read = following is not None and following.opname in ("LOAD_ATTR", "LOAD_METHOD")
    name = following.argval if is_read else None
    loads_last = now.opname.startswith("LOAD_FAST") or now.opname == "STORE_FAST_LOAD_FAST"
    alone = not isinstance(now.argval, tuple) or now.argval[0] != last
    if not (loads_last and alone and last == "self" and name in module._modules):
        raise Unproved(f"its forward uses {last}{f'.{name}' if name else ''}")


def _mentions(value, name):
    return name in value if isinstance(value, tuple) else value == name


def _is_torchs(value):
    if isinstance(value, ModuleType):
        return value in (torch, torch.nn, torch.nn.functional)
    return callable(value) and (getattr(value, "__module__", None) or "").split(".")[0] == "torch"


def _is_all(graph, function):
    """Whether every call in the code is a node of the graph: one that is not has been run while tracing, once."""
    called = [i for i in dis.get_instructions(function) if i.opname in ("CALL", "CALL_KW", "CALL_FUNCTION_EX")]
    nodes = [node for node in graph.nodes if node.op in ("call_module", "call_method")]
    functions = [node for node in graph.nodes if node.op == "call_function" and node.target is not getattr]
    nodes += [node for node in functions if not _is_operator(node.target)]
    return len(called) == len(nodes) and all(node.op != "get_attr" for node in graph.nodes)


def _is_operator(target):
    return getattr(operator, getattr(target, "__name__", ""), None) is target


def _find(graph, module):
    """[(nodes, Run)] in a graph."""
    found, taken = [], set()
    for first in graph.nodes:
        nodes = _chain(first, module)
        run = run_at([made for _, made in nodes], 0) if len(nodes) > 1 and first not in taken else None
        if run is not None:
            chosen = [node for node, _ in nodes[: len(run.members)]]
            taken.update(chosen)
            found.append((chosen, run))
    return found


def _chain(node, module):
    """[(node, module)] of at most three nodes, each given to the next and to nobody else."""
    found = []
    while len(found) < 3:
        made = _module_of(node, module)
        if made is None:
            break
        found.append((node, made))
        if len(node.users) != 1:
            break
        (node,) = node.users
    return found


def _module_of(node, module):
    """What one node computes of the one before it, as a module; None for whatever has more to it."""
    if node.op == "call_module":
        single = len(node.args) == 1 and isinstance(node.args[0], torch.fx.Node) and not node.kwargs
        return module.get_submodule(node.target) if single else None
    if node.op not in ("call_function", "call_method") or node.target not in FUNCTIONAL:
        return None
    kind = FUNCTIONAL[node.target]
    extra = [*node.args[1:], *(value for key, value in node.kwargs.items() if key != "inplace")]
    if any(isinstance(value, torch.fx.Node) for value in extra) or not isinstance(node.args[0], torch.fx.Node):
        return None
    if kind is leaky:
        slopes = [value for value in extra if type(value) in (int, float)]
        return leaky(*slopes) if len(slopes) < 2 else None
    return kind() if all(type(value) is bool for value in extra) else None
