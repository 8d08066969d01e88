"""The engines, each as its own users run it: an adapter each, with one contract.

    Adapter(threads)                             imports what it needs, or raises; sets the number of threads
    adapter.prepare(layer, inputs, weight, bias) gives (run, read): `run(i)` computes with input i and returns the
                                                 engine's own result, `read(result)` is that as a NumPy array
                                                 (n, c, h, w)
    adapter.facts(layer)                         anything to note about a layer, as plain values

Everything before `run` is not timed, and is what a careful user does once: inputs in the engine's own form and layout,
weights packed where the engine can keep them. Nothing derived from an input may be kept between calls.
"""

import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from ..functional import conv_transpose2d
from ..planning import plan
from ..prepared import prepare

# Where a call takes longer, what a new size costs beside it is lost in the noise of the machine.
LONG = 0.02
SIZES, REPEATS = 3, 3


class Adapter:
    """An engine that keeps its number of threads and has nothing to note."""

    def __init__(self, threads):
        self.threads = threads

    def facts(self, layer):
        return {}


class UpconvPlanes(Adapter):
    """This library, NCHW, its weight an array in every call."""

    channels_last = False

    def prepare(self, layer, inputs, weight, bias):
        if self.channels_last:
            inputs = [_channels_last(x) for x in inputs]
        weight, settings = self.owned(layer, weight), layer.settings
        self.kept = inputs[0], weight, bias
        return lambda i: conv_transpose2d(inputs[i], weight, bias, **settings), lambda result: result

    def owned(self, layer, weight):
        """The weight in the form in which this user keeps it."""
        return weight

    def facts(self, layer):
        # Let go with it: the worker's layer may be dropped long before the next one comes.
        (x, weight, bias), self.kept = self.kept, None
        chosen = plan(x, weight, **layer.settings)
        facts = {"algorithm": chosen.algorithm, "executed_macs": getattr(chosen, "executed_macs", None)}
        return {**facts, "new_size": self.new_size(layer, weight, bias)}

    def new_size(self, layer, weight, bias):
        """Seconds that the first call of a size costs beyond the calls that follow; None where those take long."""

        def call(x):
            return conv_transpose2d(x, weight, bias, **layer.settings)

        costs = []
        for added in range(1, SIZES + 1):
            n, c, h, w = layer.geometry().input_shape
            x = np.ones((n, c, h, w + added), np.float32)
            times = [_timed(call, _channels_last(x) if self.channels_last else x) for _ in range(1 + REPEATS)]
            if median(times) > LONG:
                return None
            costs.append(times[0] - median(times[1:]))
        return median(costs)


class UpconvChannelsLast(UpconvPlanes):
    """This library, channels-last."""

    channels_last = True


class PreparedPlanes(UpconvPlanes):
    """This library, NCHW, its weight prepared once, as its layers and frozen models keep it."""

    def owned(self, layer, weight):
        return prepare(weight, **layer.settings)


class PreparedChannelsLast(PreparedPlanes):
    """This library, channels-last, its weight prepared once."""

    channels_last = True


def _timed(call, x):
    start = perf_counter()
    call(x)
    return perf_counter() - start


def _channels_last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


class TorchPlanes(Adapter):
    """PyTorch eager, NCHW."""

    channels_last = False

    def __init__(self, threads):
        super().__init__(threads)
        import torch

        self.torch = torch
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)

    def prepare(self, layer, inputs, weight, bias):
        torch = self.torch
        form = torch.channels_last if self.channels_last else torch.contiguous_format
        xs = [torch.from_numpy(x).contiguous(memory_format=form) for x in inputs]
        w, b = torch.from_numpy(weight).contiguous(memory_format=form), torch.from_numpy(bias)
        function, settings = torch.nn.functional.conv_transpose2d, layer.settings
        return lambda i: function(xs[i], w, b, **settings), lambda result: result.numpy()


class TorchChannelsLast(TorchPlanes):
    """PyTorch eager, channels-last input and weight."""

    channels_last = True


class OnnxRuntime(Adapter):
    """ONNX Runtime on the CPU, a model of one node with constant weights."""

    def __init__(self, threads):
        super().__init__(threads)
        import onnx
        import onnxruntime

        self.onnx, self.runtime = onnx, onnxruntime

    def model(self, layer, weight, bias):
        helper, geometry = self.onnx.helper, layer.geometry()
        node = helper.make_node(
            "ConvTranspose",
            ["x", "w", "b"],
            ["y"],
            strides=layer.s,
            pads=layer.p * 2,
            output_padding=layer.op,
            dilations=layer.d,
            group=layer.groups,
            kernel_shape=layer.k,
        )
        ends = [
            helper.make_tensor_value_info(name, self.onnx.TensorProto.FLOAT, shape)
            for name, shape in (("x", geometry.input_shape), ("y", geometry.output_shape))
        ]
        constants = [self.onnx.numpy_helper.from_array(array, name) for array, name in ((weight, "w"), (bias, "b"))]
        graph = helper.make_graph([node], "layer", ends[:1], ends[1:], constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def prepare(self, layer, inputs, weight, bias):
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.log_severity_level = 3
        model = self.model(layer, weight, bias).SerializeToString()
        session = self.runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        feeds = [{"x": self.runtime.OrtValue.ortvalue_from_numpy(x)} for x in inputs]
        return lambda i: session.run_with_ort_values(["y"], feeds[i])[0], lambda result: result.numpy()


class OpenVino(Adapter):
    """OpenVINO on the CPU in float32, tuned for latency; its output memory is its own and used again."""

    def __init__(self, threads):
        super().__init__(threads)
        import openvino
        from openvino import opset13

        self.openvino, self.ops = openvino, opset13

    def convolution(self, layer, x, weight):
        """The layer's node on a node x."""
        ops = self.ops
        settings = {
            "strides": list(layer.s),
            "pads_begin": list(layer.p),
            "pads_end": list(layer.p),
            "dilations": list(layer.d),
            "output_padding": list(layer.op),
        }
        if layer.groups == 1:
            return ops.convolution_backprop_data(x, ops.constant(weight), **settings)
        grouped = weight.reshape(layer.groups, -1, *weight.shape[1:])
        return ops.group_convolution_backprop_data(x, ops.constant(grouped), **settings)

    def prepare(self, layer, inputs, weight, bias):
        ops = self.ops
        x = ops.parameter(layer.geometry().input_shape, np.float32)
        y = ops.add(self.convolution(layer, x, weight), ops.constant(bias.reshape(1, -1, 1, 1)))
        hints = {
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
        }
        model = self.openvino.Core().compile_model(self.openvino.Model([y], [x], "layer"), "CPU", hints)
        request = model.create_infer_request()
        tensors = [self.openvino.Tensor(x, shared_memory=True) for x in inputs]

        def run(i):
            request.set_input_tensor(tensors[i])
            request.infer()
            return request

        return run, lambda result: result.get_output_tensor().data.copy()


class Ncnn(Adapter):
    """ncnn on the CPU in float32. It has no batches: images go one by one, as its users do it."""

    def __init__(self, threads):
        super().__init__(threads)
        import ncnn

        self.ncnn = ncnn

    def parameters(self, layer, size):
        """The model as ncnn writes it; the numbers are those of its Deconvolution layer."""
        (k_h, k_w), (s_h, s_w), (p_h, p_w), (op_h, op_w), (d_h, d_w) = layer.k, layer.s, layer.p, layer.op, layer.d
        kind = "Deconvolution" if layer.groups == 1 else "DeconvolutionDepthWise"
        sizes = f"0={layer.c_out} 1={k_w} 11={k_h} 2={d_w} 12={d_h} 3={s_w} 13={s_h} 4={p_w} 14={p_h}"
        rest = f"18={op_w} 19={op_h} 5=1 6={size}" + (f" 7={layer.groups}" if layer.groups > 1 else "")
        return f"7767517\n2 2\nInput in 0 1 x\n{kind} layer 1 1 x y {sizes} {rest}\n"

    def prepare(self, layer, inputs, weight, bias):
        net = self.ncnn.Net()
        net.opt.num_threads, net.opt.use_vulkan_compute = self.threads, False
        for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "bf16_packed"):
            if hasattr(net.opt, f"use_{name}"):
                setattr(net.opt, f"use_{name}", False)
        # Its weights are output channels first, within each group; four zero bytes say float32.
        grouped = weight.reshape(layer.groups, -1, *weight.shape[1:]).swapaxes(1, 2)
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "layer.bin"
            model.write_bytes(b"\0\0\0\0" + np.ascontiguousarray(grouped).tobytes() + bias.tobytes())
            if net.load_param_mem(self.parameters(layer, weight.size)) or net.load_model(str(model)):
                raise RuntimeError("ncnn refuses the layer")
        images = [[self.ncnn.Mat(image).clone() for image in x] for x in inputs]

        def run(i):
            results = []
            for image in images[i]:
                extractor = net.create_extractor()
                extractor.input("x", image)
                status, y = extractor.extract("y")
                if status:
                    raise RuntimeError(f"ncnn gives status {status}")
                results.append(y)
            return results

        return run, lambda result: np.stack([np.array(y) for y in result])


class Jax(Adapter):
    """JAX on the CPU, compiled: the convolution of the dilated input, as its users write it."""

    def __init__(self, threads):
        super().__init__(threads)
        import jax

        jax.config.update("jax_platforms", "cpu")
        self.jax = jax

    def prepare(self, layer, inputs, weight, bias):
        jax, geometry = self.jax, layer.geometry()
        flipped = weight.reshape(layer.groups, -1, *weight.shape[1:])[..., ::-1, ::-1].swapaxes(1, 2)
        kernel = jax.numpy.asarray(flipped.reshape(geometry.c_out, -1, *layer.k))
        reach = [d * (k - 1) for d, k in zip(layer.d, layer.k, strict=True)]
        padding = [(r - p, r - p + op) for r, p, op in zip(reach, layer.p, layer.op, strict=True)]
        b = jax.numpy.asarray(bias)[:, None, None]

        @jax.jit
        def compute(x, w, b):
            settings = {"lhs_dilation": layer.s, "rhs_dilation": layer.d, "feature_group_count": layer.groups}
            return jax.lax.conv_general_dilated(x, w, (1, 1), padding, **settings) + b

        xs = [jax.numpy.asarray(x) for x in inputs]
        return lambda i: compute(xs[i], kernel, b).block_until_ready(), np.asarray
