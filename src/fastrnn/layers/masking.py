"""Masks: which steps of each row a recurrent layer runs, and which of them each step of its output shows.

A cell knows lengths and resets and nothing else.  A mask with holes therefore becomes lengths: the true steps of a row
are gathered to its front, the cell runs over them, and its outputs are spread back over the steps they stand for::

    mask     0 1 0 1 1 0         lengths  3
    x        . a . b c .         runs     a b c
    output   0 A A B C C         or, with zero_output_for_mask,  0 A 0 B C 0

Backward is the transpose of each: what is gathered is scattered, what is shown several times is added up.
Nothing here loops over time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fastrnn import _engine

__all__ = ["TimePlan", "plan_time", "reverse_time"]


@dataclass(frozen=True)
class TimePlan:
    """From a row's steps to what a cell runs, and back; B rows, T steps, K <= T steps that the cell sees.

    Attributes
    ----------
    lengths : ndarray (B,) or None
        How many of the K steps of each row are true; None for all.
    reset_mask : ndarray (B, K) or None
        Where the state is zeroed before a step.
    steps : ndarray (B, K) or None
        The time that each of the K steps comes from; None where the cell takes x as it is.
    shown : ndarray (B, T) or None
        Which of the K steps each step of the output shows, -1 for zero; None where y is the output.
    held : ndarray (B, T) or None
        Where the output shows its row's last true step over again, y being the output otherwise.
    forgotten : ndarray (B,) or None
        The rows whose final state a reset behind their last true step zeroes.
    flipped : bool
        Whether the output shows all T steps in reverse order.
    """

    time: int
    lengths: np.ndarray | None
    reset_mask: np.ndarray | None
    steps: np.ndarray | None = None
    shown: np.ndarray | None = None
    held: np.ndarray | None = None
    forgotten: np.ndarray | None = None
    flipped: bool = False

    def gather(self, x: np.ndarray) -> np.ndarray:
        """x (B, T, I) as the cell sees it, (B, K, I)."""
        return x if self.steps is None else _gathered(x, self.steps)

    def scatter(self, dx: np.ndarray) -> np.ndarray:
        """The transpose of `gather`: (B, K, I) to (B, T, I), zero at steps that the cell did not run."""
        if self.steps is None:
            return dx
        assert self.lengths is not None
        run = np.arange(dx.shape[1]) < self.lengths[:, None]
        return _summed(dx, np.where(run, self.steps, -1), self.time)

    def spread(self, y: np.ndarray, last: np.ndarray) -> np.ndarray:
        """The cell's y (B, K, H) as the layer's output (B, T, H); `last` (B, H) is each row's last true one.

        y itself is written to where a row's last output is held, and returned.
        """
        if self.flipped:
            return reverse_time(y, None)
        if self.shown is not None:
            return _gathered(y, self.shown)
        if self.held is not None:
            np.copyto(y, last[:, None], where=self.held[:, :, None])
        return y

    def collect(self, dout: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The transpose of `spread`: the gradients by y (B, K, H), K being `steps`, and by `last` (None is zero)."""
        if self.flipped:
            return reverse_time(dout, None), None
        if self.shown is not None:
            return _summed(dout, self.shown, steps), None
        if self.held is not None:
            return dout, dout.sum(axis=1, where=self.held[:, :, None])
        return dout, None

    def without_holding(self) -> TimePlan:
        """The same with zeros where `spread` would show a step over again."""
        if self.shown is None:
            return replace(self, held=None)
        shown = self.shown.copy()
        shown[:, 1:][shown[:, 1:] == shown[:, :-1]] = -1
        return replace(self, shown=shown)

    def forget(self, state: np.ndarray) -> np.ndarray:
        """A final state (B, H), or the gradient by one, with zeros where it is forgotten."""
        return state if self.forgotten is None else np.where(self.forgotten[:, None], state.dtype.type(0), state)


def plan_time(
    time: int,
    lengths: np.ndarray | None,
    mask: np.ndarray | None,
    reset_mask: np.ndarray | None,
    *,
    backwards: bool = False,
    hold: bool = True,
) -> TimePlan:
    """How a cell has to run so that lengths, mask and resets hold together.

    Parameters
    ----------
    time : int
        T.
    lengths : ndarray (B,) or None
        A step at or past its row's length is not run, and its output is zero.
    mask : ndarray of bool (B, T) or None
        A step that is False is not run; state and output are held there.
    reset_mask : ndarray of bool (B, T) or None
        A reset at a step that is not run takes effect before the next one that is.
    backwards : bool
        Steps are processed from the last to the first, and the output is in that order.
    hold : bool
        False: the output at a masked step is zero instead.

    Returns
    -------
    TimePlan
    """
    if mask is None or mask.all():
        shown = None
        if backwards and lengths is not None:
            t = np.arange(time)
            shown = np.where(t < lengths[:, None], lengths[:, None] - 1 - t, -1)
        return TimePlan(time, lengths, reset_mask, shown=shown, flipped=backwards and lengths is None)

    batch = len(mask)
    within = np.ones((batch, time), bool) if lengths is None else np.arange(time) < lengths[:, None]
    true = mask & within
    upto = np.cumsum(true, axis=1)  # true steps up to and with each
    count = upto[:, -1]
    padded = bool((true == (np.arange(time) < count[:, None])).all())  # no holes: the true steps stand in front
    steps, kept = None, time
    if not padded:
        kept = max(1, int(count.max(initial=0)))
        steps = np.argsort(~true, axis=1, kind="stable")[:, :kept]
    resets, forgotten = _moved_resets(reset_mask, within, true, upto, kept, backwards)
    if padded and not backwards:
        held = within & ~true & (count > 0)[:, None] if hold else None
        return TimePlan(time, count, resets, held=held, forgotten=forgotten)
    if backwards:
        shown = upto - true  # the first true step from here on
        shown[shown == count[:, None]] = -1
    else:
        shown = upto - 1  # the last true step up to here
    shown[~(within if hold else true)] = -1
    if backwards:
        shown = reverse_time(shown, lengths)
    return TimePlan(time, count, resets, steps, shown, None, forgotten)


def reverse_time(a: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """The steps of each row (B, T, ...) in reverse order; what lies behind a row's end stays where it is."""
    if lengths is None:
        return np.ascontiguousarray(a[:, ::-1])
    t = np.arange(a.shape[1])
    return a[_rows(a), np.where(t < lengths[:, None], lengths[:, None] - 1 - t, t)]


def _rows(a: np.ndarray) -> np.ndarray:
    """The numbers of the rows, (B, 1)."""
    return np.arange(len(a))[:, None]


def _moved_resets(
    reset_mask: np.ndarray | None, within: np.ndarray, true: np.ndarray, upto: np.ndarray, kept: int, backwards: bool
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Each reset at the true step it acts before (B, K), and the rows in which one acts behind all of them."""
    if reset_mask is None:
        return None, None
    row, t = np.nonzero(reset_mask & within)
    step = (upto - 1 if backwards else upto - true)[row, t]
    ends = step == (-1 if backwards else upto[row, -1])
    resets, forgotten = np.zeros((len(true), kept), bool), np.zeros(len(true), bool)
    resets[row[~ends], step[~ends]] = True
    forgotten[row[ends]] = True
    return resets, forgotten


def _places(steps: np.ndarray, time: int) -> np.ndarray:
    """Steps (B, K) of rows of `time` steps, counted over the whole batch; negative ones stay negative."""
    return np.where(steps < 0, -1, steps + _rows(steps) * time).reshape(-1).astype(np.intp, copy=False)


def _gathered(a: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """out (B, K, n): step steps[b, k] of row b of a (B, T, n), zero where that is negative."""
    batch, time, width = a.shape
    flat = np.ascontiguousarray(a).reshape(batch * time, width)
    return _engine.gather_rows(flat, _places(steps, time)).reshape(*steps.shape, width)


def _summed(a: np.ndarray, steps: np.ndarray, time: int) -> np.ndarray:
    """The transpose of `_gathered`: a (B, K, n) summed into the steps of (B, `time`, n)."""
    batch, count, width = a.shape
    flat = np.ascontiguousarray(a).reshape(batch * count, width)
    return _engine.scatter_rows(flat, _places(steps, time), batch * time).reshape(batch, time, width)
