"""Fusion of batch-norms into the convolutions before them: fewer operations, the same function in evaluation mode."""

import copy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sparsenas.networks.derived import DerivedNet
from sparsenas.networks.layers import LayerStack
from sparsenas.networks.operations import FactorizedReduce, Operation, Residual


def fuse_batchnorm(network: DerivedNet) -> DerivedNet:
    r"""Copy a network in evaluation mode without the batch-norms that follow a convolution.

    .. math:: \gamma \frac{W x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta
        = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} W x
        + \Bigl(\beta - \frac{\gamma \mu}{\sqrt{\sigma^2 + \epsilon}}\Bigr)

    Three kinds of batch-norm stay: those appended to pools and identity skips, those without running statistics, and
    those behind a module of your own that is not a convolution. The auxiliary classifier stays as it is.

    Args:
        network: Any derived net; left as it is.

    Returns:
        A network with the same logits up to rounding. It is for use, not for training.

    Source: Jacob et al., Quantization and Training of Neural Networks (CVPR 2018), section 3.2; arithmetic of
    ``torch.nn.utils.fusion``.
    """
    fused = copy.deepcopy(network).eval()
    if fused.neck is not None:
        fused.neck = _fuse_chain(fused.neck)
    _fuse_children(fused.stem)
    for _, cell in fused.typed_cells():
        _fuse_children(cell)
        for key in cell.operations:
            _fuse_operation(cell.named(key))
    return fused


def _fuse_children(module: nn.Module) -> None:
    """Fuse the batch-norms of a stem or of a cell's inputs."""
    for name, child in module.named_children():
        if type(child) is nn.Sequential:
            setattr(module, name, _fuse_chain(child))
        elif type(child) is Residual:
            child.main = _fuse_chain(child.main)


def _fuse_operation(operation: Operation) -> None:
    """Fuse the last batch-norm into the body, and those inside the body into the modules before them."""
    body, norm = operation.body, operation.norm
    if isinstance(operation, LayerStack):
        for layer in operation.layers:
            _fuse_operation(layer)
    elif type(body) is Residual:
        body.main = _fuse_chain(body.main)
    elif type(body) is nn.Sequential:  # a subclass may run its parts in another order
        fused = _fuse_chain(body if norm is None else nn.Sequential(*body, norm))
        if norm is not None and fused[-1] is norm:
            fused = fused[:-1]
        else:
            operation.norm = None
        operation.body = fused
    elif norm is not None:
        together = _fuse_pair(body, norm)
        if together is not None:
            operation.body, operation.norm = together, None


def _fuse_chain(chain: nn.Sequential) -> nn.Sequential:
    """Return the chain with every batch-norm fused into the module before it where that is possible."""
    kept: list[nn.Module] = []
    for module in chain:
        together = _fuse_pair(kept[-1], module) if kept and isinstance(module, nn.BatchNorm2d) else None
        if together is None:
            kept.append(module)
        else:
            kept[-1] = together
    return nn.Sequential(*kept)


def _fuse_pair(module: nn.Module, norm: nn.BatchNorm2d) -> nn.Module | None:
    """Return ``norm(module(x))`` as one module; None where there is none."""
    if norm.running_mean is None:
        return None
    if type(module) is nn.Conv2d:
        return fuse_conv_bn_eval(module, norm)
    if type(module) is FactorizedReduce:
        both = copy.deepcopy(module)
        half = both.even.out_channels
        both.even = fuse_conv_bn_eval(both.even, _channels_of(norm, slice(None, half)))
        both.odd = fuse_conv_bn_eval(both.odd, _channels_of(norm, slice(half, None)))
        return both
    return None


def _channels_of(norm: nn.BatchNorm2d, channels: slice) -> nn.BatchNorm2d:
    """Return the batch-norm of some of the channels."""
    tensors = {name: value if value.dim() == 0 else value[channels] for name, value in norm.state_dict().items()}
    part = nn.BatchNorm2d(len(tensors["running_mean"]), eps=norm.eps, affine=norm.affine)
    part.to(tensors["running_mean"]).load_state_dict(tensors)
    return part.eval()
