"""Where a PyTorch model is."""

from torch import nn


def device_of(model: nn.Module) -> str:
    """The device of the model's weights; cpu if it has none."""
    for tensor in (*model.parameters(), *model.buffers()):
        return str(tensor.device)
    return "cpu"
