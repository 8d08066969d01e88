"""What the tests of the PyTorch front-end share."""

import pytest


@pytest.fixture
def ours(monkeypatch):
    """Every size and dtype is upconv's, none is left to torch; the fixture's value counts the plans that ran.

    Torch's own checks are made of layers so small that they would otherwise check torch's operator.
    """
    torch = pytest.importorskip("torch")
    from upconv.planning import choose
    from upconv.torch import choice, compiled, contraction

    ran, run = [], contraction._ours

    def counted(plan, *operands):
        ran.append(plan)
        return run(plan, *operands)

    def always(problem, measured=None):
        return choice.Decision(choose(problem), True)

    monkeypatch.setattr(choice, "by_rule", always)
    monkeypatch.setattr(choice, "decide", always)
    monkeypatch.setattr(contraction, "_ours", counted)
    contraction.call_of.cache_clear()
    compiled._call.cache_clear()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield ran
    torch.set_num_threads(threads)
    contraction.call_of.cache_clear()
    compiled._call.cache_clear()
