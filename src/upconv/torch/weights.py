"""The arrays of a file that PyTorch saved."""

import torch


def arrays(path):
    """Every tensor of a state_dict, or of dictionaries in it, by name with dots; nothing in the file is executed.

    Args:
        path: a file that `torch.save` wrote.

    Returns:
        A dictionary of NumPy arrays; bfloat16 becomes float32.

    Raises:
        ValueError: for a file that holds more than tensors in dictionaries and lists.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError) as error:
        raise ValueError(
            f"{path}: not a file of weights that torch.save wrote ({str(error).splitlines()[0]})"
        ) from None
    except Exception as error:
        # Refused pickles; torch's class for that moved between versions.
        if "weights_only" not in str(error) and "Unpickling" not in type(error).__name__:
            raise
        raise ValueError(
            f"{path}: it holds more than tensors, which would have to be executed; save model.state_dict() instead"
        ) from None
    return dict(_named(loaded, ""))


def _named(value, name):
    if isinstance(value, torch.Tensor):
        tensor = value.detach().cpu()
        yield name or "weight", (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    elif hasattr(value, "items"):
        for key, each in value.items():
            yield from _named(each, f"{name}.{key}" if name else str(key))
