"""`algorithm=` of the gradients in one and three dimensions: every way computes them, or refuses them by name."""

import numpy as np
import pytest
from test_dimensions import values

import upconv
from upconv import Plan, SettingError, grad
from upconv.algorithms import ALGORITHMS

# Layers whose depth taps come together in each way, see `depth_ways`: (groups, channels, kernel, stride).
GRADIENTS = {
    "line": (1, 1, 12, (4,), (2,)),
    "folded": (3, 1, 12, (2, 2, 2), (2, 2, 2)),
    "stacked": (3, 1, 12, (3, 4, 4), (1, 2, 2)),
    "added": (3, 12, 12, (4, 4, 4), (2, 2, 2)),
}


@pytest.mark.parametrize("name", list(GRADIENTS))
def test_gradients_are_computed_by_the_algorithm_that_is_asked_for(name):
    dimensions, groups, channels, k, s = GRADIENTS[name]
    x = values((2, channels, *(4, 5, 6)[:dimensions]), "float32")
    w = values((channels, channels // groups, *k), "float32")
    settings = {"stride": s, "groups": groups}
    gy = values(getattr(upconv, f"conv_transpose{dimensions}d")(x, w, **settings).shape, "float32", 1)
    by_input, by_weight, backward = (
        getattr(grad, f"conv_transpose{dimensions}d_{kind}") for kind in ("input", "weight", "backward")
    )
    wanted = backward(gy, x, w, **settings)
    calls = (
        lambda **more: by_input(x.shape, w, gy, **settings, **more),
        lambda **more: by_weight(x, w.shape, gy, **settings, **more),
    )
    for number, call in enumerate(calls):
        found, refused = {}, {}
        for way in ALGORITHMS:
            try:
                found[way] = call(algorithm=way)
            except SettingError as error:
                refused[way] = str(error)
            else:
                np.testing.assert_allclose(found[way], wanted[number], rtol=1e-4, atol=1e-4)
        assert all(words.startswith(f"{way} refuses: ") for way, words in refused.items())
        mask = number == 0, number == 1, False
        for way in {"loops", "matmul", *list(found)[:2]}:
            assert np.array_equal(backward(gy, x, w, **settings, output_mask=mask, algorithm=way)[number], found[way])
        # Otherwise nobody would see whether it was another one that computed.
        assert len({gradient.tobytes() for gradient in found.values()}) >= 2
        assert "weight_gradient" in refused if number == 0 else "gemm" in refused
    for way in (3, "cudnn"):
        for call in (*calls, lambda **more: backward(gy, x, w, **settings, **more)):
            with pytest.raises(TypeError, match="algorithm is"):
                call(algorithm=way)
    made = upconv.plan((1, 1, 2, 2), (1, 1, 2, 2))
    with pytest.raises(TypeError if dimensions == 3 else SettingError, match=r"algorithm is a Plan|another problem"):
        calls[0](algorithm=made)
    # Even where nothing is computed.
    empty = x[:0], w, gy[:0]
    for call in (
        lambda: by_input(empty[0].shape, w, empty[2], **settings, algorithm="cudnn"),
        lambda: by_weight(empty[0], w.shape, empty[2], **settings, algorithm="cudnn"),
        lambda: backward(empty[2], *empty[:2], **settings, algorithm="cudnn"),
        lambda: backward(gy, x, w, **settings, output_mask=(False, False, True), algorithm="cudnn"),
        lambda: getattr(upconv, f"conv_transpose{dimensions}d")(*empty[:2], **settings, algorithm="cudnn"),
    ):
        with pytest.raises(TypeError, match="algorithm is 'cudnn'"):
            call()
    words = r"must be 'auto', a Plan, or one of" if dimensions == 1 else r"must be 'auto' or one of"
    with pytest.raises(TypeError, match=words):
        calls[0](algorithm="cudnn")
    with pytest.raises(TypeError, match="must be 'auto' or one of"):
        backward(gy, x, w, **settings, algorithm="cudnn")


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_a_way_that_computes_one_of_two_gradients_is_refused_before_either(dimensions, monkeypatch):
    x, w = values((2, 8, *(4, 5, 6)[:dimensions]), "float32"), values((8, 8, *(4,) * dimensions), "float32")
    gy = values(getattr(upconv, f"conv_transpose{dimensions}d")(x, w).shape, "float32", 1)
    backward, ran = getattr(grad, f"conv_transpose{dimensions}d_backward"), []
    execute = Plan.execute
    monkeypatch.setattr(Plan, "execute", lambda plan, *operands: ran.append(plan) or execute(plan, *operands))
    for way in ("gemm", "weight_gradient"):
        with pytest.raises(SettingError, match=f"{way} refuses"):
            backward(gy, x, w, algorithm=way)
    assert not ran
    backward(gy, x, w, algorithm="loops")
    assert ran
