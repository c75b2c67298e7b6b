"""Steps on one CUDA device, recorded once as a CUDA graph and replayed: one launch by the host in place of thousands.

A recording holds where its tensors lie and every number that the host put in. So it is made once the settings of the
steps have rested for a while, and dropped when one changes or when what it learns into is another tensor.

Trust, but check: before it is used, it and the work itself take steps from the same state on the same batch. Where they
disagree, or anything is raised, the state is what it was and training goes on without; a warning says so once.
"""

import gc
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

__all__ = ["Perform", "Recorder", "cuda_graph", "eagerly", "performer"]

PATIENCE = 20  # steps with the same settings, before one is recorded
CHECKED = 2  # steps: what the first leaves behind shows in the second
APART = 0.1  # of the way that the steps lead: rounding makes some hundredths, another batch half
LOSSES = {"rtol": 0.01, "atol": 1e-3}

Values = dict[str, Tensor]
Work = Callable[[Values], Values]
"""What is left of a step once its inputs are on the device: returns losses, and changes what is learned."""
Learned = dict[str, list[Tensor]]
Perform = Callable[[Work, Values, object, Callable[[], Learned]], Values]
"""How a step is taken: (work, inputs, all settings that it depends on, what it learns) → what the work returns."""


def eagerly(work: Work, inputs: Values, settings: object, learned: Callable[[], Learned]) -> Values:
    """Operation by operation."""
    return work(inputs)


def performer(device: torch.device, processes: int, warn: Callable[[str], None]) -> Perform:
    """The way to take the steps of a training: recorded on a CUDA device that has it to itself."""
    return Recorder(cuda_graph, warn) if device.type == "cuda" and processes == 1 else eagerly


class Recorder:
    """A way to take the steps of one training, whose work differs in inputs and settings alone.

    ``record(call)`` returns a function that does again on the device what ``call()`` did; it may call it beforehand.
    """

    def __init__(
        self,
        record: Callable[[Callable[[], Values]], Callable[[], Values]],
        warn: Callable[[str], None],
        patience: int = PATIENCE,
    ):
        self.record, self.warn, self.patience = record, warn, patience
        self.key, self.learned, self.steps = None, {}, 0  # of the last steps, and how many had them
        self.recorded: Work | None = None

    def __call__(self, work: Work, inputs: Values, settings: object, learned: Callable[[], Learned]) -> Values:
        now = learned()
        key = (settings, list(inputs), [id(tensor) for tensors in now.values() for tensor in tensors])
        if key != self.key:
            self.key, self.learned, self.steps, self.recorded = key, now, 0, None
        self.steps += 1
        if self.recorded is None and self.record is not None and self.steps > self.patience:
            try:
                self.recorded = _recorded(self.record, work, inputs, now)
            except Exception as error:  # whatever it is: a recording does nothing but save time
                self.record = None
                reason = str(error).partition("\n")[0] or type(error).__name__
                self.warn(f"training goes on without a CUDA graph, which would be faster: {reason}")
        return (self.recorded or work)(inputs)


def cuda_graph(call: Callable[[], Values]) -> Callable[[], Values]:
    """Record it, after one call that brings what a stream's first call does: workspaces, and nodes of the gradients."""
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    gc.collect()  # an old graph or kernel that is finalised during a capture would break it
    try:
        with torch.cuda.stream(stream):  # is left even if the end of the capture raises
            call()
            with torch.cuda.graph(graph, stream=stream):
                values = call()
    finally:
        torch.cuda.synchronize()

    def replay() -> Values:
        graph.replay()
        return {name: value.clone() for name, value in values.items()}  # the next replay writes there again

    return replay


def _recorded(record: Callable, work: Work, inputs: Values, learned: Learned) -> Work | None:
    """A recording of the work that was seen to do the same. Leaves what is learned as it was, whatever happens.

    None where the losses of this batch are not finite: such a step changes nothing, which is no way to compare.
    """
    before = _copied(learned)
    # Not this batch's: a recording that does not look at its inputs would pass.
    places = {name: torch.zeros_like(values) for name, values in inputs.items()}
    try:
        replay = record(partial(work, places))

        def recorded(inputs: Values) -> Values:
            for name, values in inputs.items():
                places[name].copy_(values)
            return replay()

        (said, eager), (heard, replayed) = (_follow(way, inputs, learned, before) for way in (work, recorded))
    finally:
        _put(before, learned)
    if not said.isfinite().all():
        return None
    for kind, start in before.items():
        way, apart = _distance(start, eager[kind]), _distance(eager[kind], replayed[kind])
        if not apart <= APART * way:
            raise RuntimeError(f"replayed, it learns other {kind} ({apart:.2g} apart after a way of {way:.2g})")
    if not torch.allclose(said, heard, **LOSSES):
        raise RuntimeError(f"replayed, its losses are {heard.tolist()} and not {said.tolist()}")
    return recorded


def _follow(way: Work, inputs: Values, learned: Learned, before: Learned) -> tuple[Tensor, Learned]:
    """What some steps from there say, and what they lead to."""
    _put(before, learned)
    said = [value for _ in range(CHECKED) for value in way(inputs).values()]
    return torch.stack(said), _copied(learned)


def _copied(learned: Learned) -> Learned:
    return {kind: [tensor.detach().clone() for tensor in tensors] for kind, tensors in learned.items()}


def _put(values: Learned, learned: Learned) -> None:
    for kind, tensors in learned.items():
        for tensor, value in zip(tensors, values[kind], strict=True):
            tensor.detach().copy_(value)


def _distance(a: list[Tensor], b: list[Tensor]) -> float:
    return torch.stack([(x - y).norm() for x, y in zip(a, b, strict=True)]).norm().item()
