"""What the tests of the PyTorch front-end share."""

import pytest


@pytest.fixture
def ours(monkeypatch):
    """Every size and dtype is upconv's, none is left to torch; the fixture's value counts the plans that ran.

    Torch's own checks are made of layers so small that they would otherwise check torch's operator.
    """
    torch = pytest.importorskip("torch")
    from upconv.planning import choose
    from upconv.torch import choice, compiled, contraction, volumes

    ran, kinds = [], (contraction.Call, volumes.VolumeCall)
    runs = {kind: kind.ours for kind in kinds}

    def counted(call, operation, *operands):
        ran.append(call.plan(operation)[0])
        return runs[type(call)](call, operation, *operands)

    def always(problem, measured=None):
        return choice.Decision(choose(getattr(problem, "planes", problem)), True)

    monkeypatch.setattr(choice, "by_rule", always)
    monkeypatch.setattr(choice, "decide", always)
    for kind in kinds:
        monkeypatch.setattr(kind, "ours", counted)
    caches = contraction.call_of, contraction.line_call_of, compiled._call, volumes.volume_call_of
    for cache in caches:
        cache.cache_clear()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield ran
    torch.set_num_threads(threads)
    for cache in caches:
        cache.cache_clear()
