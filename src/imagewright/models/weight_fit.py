"""Whether stored tensors belong to a network: a few that do not fit are explained by its head, many are a mistake."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from imagewright.errors import ModelError

Tensors = dict[str, Tensor]
NEARLY_ALL = 0.9
"""Share of the tensors that have to fit; a position embedding for another size of picture may not."""


def matching(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Tensors:
    """The tensors that a network has by the same name and shape.

    A first convolution for grey pictures is adapted to colour and the other way round, as timm does it.
    """
    from timm.models import adapt_input_conv

    found = {}
    for name in own.keys() & tensors.keys():
        value, like = tensors[name], own[name]
        if value.ndim == like.ndim == 4 and {value.shape[1], like.shape[1]} == {1, 3}:
            value = adapt_input_conv(like.shape[1], value, base_chans=value.shape[1])
        if value.shape == like.shape:
            found[name] = value
    return found


def count_fit(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], head: Iterable[str] = ()) -> tuple[int, int]:
    """How many tensors fit, of how many on either side.

    Neither the head counts, nor the counters of batch norms, which old files lack.
    """
    counted = {name for name in {*tensors, *own} if not name.endswith("num_batches_tracked") and not within(name, head)}
    return len(counted & matching(tensors, own).keys()), len(counted)


def check_fit(
    tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], name: str, source: str, head: Iterable[str] = ()
) -> None:
    """Stop if the tensors belong to something else.

    Args:
        tensors: that are stored.
        own: the network's.
        name: of the architecture, for the message.
        source: of the tensors, for the message.
        head: names of the modules that make up the head.

    Raises:
        ModelError: fewer than nearly all tensors fit.
    """
    fitting, counted = count_fit(tensors, own, head)
    if fitting < NEARLY_ALL * counted:
        raise misfit(f"{fitting} of {counted} tensors fit {name}", source)


def misfit(problem: str, source: str) -> ModelError:
    """The error for weights of another architecture."""
    return ModelError(
        f"model.pretrained: {source}: {problem}", "name the weights of this very architecture, or choose another model"
    )


def within(name: str, modules: Iterable[str]) -> bool:
    """Whether a tensor lies in one of the modules."""
    return any(name.startswith(f"{module}.") for module in modules)
