"""Attention: against its equation written as a loop, finite differences, lengths, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from fastrnn.layers import AdditiveAttention, Attention, DotAttention
from fastrnn.layers import attention as module

from ..helpers import assert_close, central_difference

B, T, S, H, M, A = 3, 4, 5, 2, 6, 7


def make(kind: str, rng: np.random.Generator) -> tuple[Attention, int]:
    """A float64 layer whose parameters are all different from zero, and the size of its memory."""
    layer: Attention = (
        AdditiveAttention(A, dtype="float64") if kind == "additive" else DotAttention(scale=kind == "scaled")
    )
    size = M if kind == "additive" else H
    layer.build(H, memory_size=size)
    for name, array in layer.params.items():
        layer.params[name] = rng.normal(size=array.shape)
    return layer, size


def by_loops(layer: Attention, query: np.ndarray, memory: np.ndarray, lengths: list[int]) -> np.ndarray:
    """The contexts, each score by itself."""
    context = np.zeros((*query.shape[:2], memory.shape[2]))
    for b, t in np.ndindex(query.shape[:2]):
        q, rows = query[b, t], memory[b, : lengths[b]]
        if isinstance(layer, AdditiveAttention):
            p = layer.params
            scores = [p["v"] @ np.tanh(q @ p["w_query"] + m @ p["w_memory"]) for m in rows]
        else:
            scores = [q @ m / (np.sqrt(len(q)) if layer.scale else 1) for m in rows]  # type: ignore[attr-defined]
        weights = np.exp(scores) / np.exp(scores).sum()
        context[b, t] = weights @ rows
    return context


kinds = pytest.mark.parametrize("kind", ["dot", "scaled", "additive"])


@kinds
@pytest.mark.parametrize("lengths", [None, [S, 2, 0]])
@pytest.mark.parametrize("most", [1, 10**6])
def test_equation(
    kind: str, lengths: list[int] | None, most: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether additive attention works in one part or in a part for each step."""
    monkeypatch.setattr(module, "_MOST_AT_ONCE", most)
    layer, size = make(kind, rng)
    query, memory = rng.normal(size=(B, T, H)), rng.normal(size=(B, S, size))
    context, cache = layer.forward(query, memory, lengths)
    assert_close(context, by_loops(layer, query, memory, lengths or [S] * B), "float64", "context")
    sums = cache.weights.sum(axis=-1)
    assert_close(
        sums, np.broadcast_to(np.array([1.0, 1.0, 1.0 if lengths is None else 0.0])[:, None], sums.shape), "float64"
    )


@kinds
@pytest.mark.parametrize("lengths", [None, [S, 2, 0]])
@pytest.mark.parametrize("most", [1, 10**6])
def test_gradients(
    kind: str, lengths: list[int] | None, most: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_AT_ONCE", most)
    layer, size = make(kind, rng)
    query, memory = rng.normal(size=(B, T, H)), rng.normal(size=(B, S, size))
    dcontext = rng.normal(size=(B, T, size))
    dquery, grads, dmemory = layer.backward(dcontext, layer.forward(query, memory, lengths)[1])
    assert set(grads) == set(layer.params)

    def cost(query: np.ndarray, memory: np.ndarray) -> float:
        return float((layer.forward(query, memory, lengths)[0] * dcontext).sum())

    assert_close(dquery, central_difference(lambda q: cost(q, memory), query), "finite_difference", "dquery")
    assert_close(dmemory, central_difference(lambda m: cost(query, m), memory), "finite_difference", "dmemory")
    for name in layer.params:
        original = layer.params[name]

        def cost_of(value: np.ndarray, name: str = name) -> float:
            layer.params[name] = value
            return cost(query, memory)

        expected = central_difference(cost_of, original)
        layer.params[name] = original
        assert_close(grads[name], expected, "finite_difference", f"d{name}")


@kinds
def test_padding_may_hold_anything(kind: str, rng: np.random.Generator) -> None:
    layer, size = make(kind, rng)
    query, memory = rng.normal(size=(B, T, H)), rng.normal(size=(B, S, size))
    lengths = [3, 0, 5]
    spoilt = memory.copy()
    spoilt[np.arange(S) >= np.array(lengths)[:, None]] = np.nan
    results = []
    for array in (memory, spoilt):
        context, cache = layer.forward(query, array, lengths)
        dquery, grads, dmemory = layer.backward(np.ones_like(context), cache)
        results.append([context, dquery, dmemory, *grads.values()])
    for clean, dirty in zip(*results, strict=True):
        np.testing.assert_array_equal(clean, dirty)


def test_mask(rng: np.random.Generator) -> None:
    """Steps that a mask leaves out might as well not be there."""
    layer, size = make("additive", rng)
    query, memory = rng.normal(size=(2, T, H)), rng.normal(size=(2, S, size))
    kept = np.array([0, 2, 3])
    mask = np.isin(np.arange(S), kept) & np.ones((2, 1), bool)
    assert_close(layer(query, memory, mask=mask), layer(query, memory[:, kept]), "float64")
    assert_close(layer(query, memory, [3, 3], mask), layer(query, memory[:, [0, 2]]), "float64")


def test_large_scores_do_not_overflow() -> None:
    query = np.full((1, 1, 2), 1e20, np.float32)
    memory = np.array([[[1e18, 0], [-1e18, 0]]], np.float32)
    context, cache = DotAttention().forward(query, memory)
    assert context.dtype == np.float32 and cache.weights.tolist() == [[[1.0, 0.0]]]
    np.testing.assert_array_equal(context[0, 0], memory[0, 0])


def test_what_the_first_data_build() -> None:
    layer = AdditiveAttention(seed=3)
    assert layer(np.ones((1, 2, 3)), np.ones((1, 4, 5))).shape == (1, 2, 5)
    assert {name: array.shape for name, array in layer.params.items()} == {
        "w_query": (3, 3),
        "w_memory": (5, 3),
        "v": (3,),
    }
    assert layer.output_shape((None, 7, 3)) == (None, 7, 5)
    again = AdditiveAttention.from_config(layer.get_config())  # knows the size of the memory
    again.build(3)
    np.testing.assert_array_equal(again.params["w_memory"], layer.params["w_memory"])


def test_bad_input() -> None:
    query, memory = np.ones((2, 3, 4)), np.ones((2, 5, 4))
    with pytest.raises(TypeError, match="memory: DotAttention takes an array"):
        DotAttention()(query)
    with pytest.raises(ValueError, match="dot attention takes query and memory of one size, got 4 and 3"):
        DotAttention()(query, memory[..., :3])
    with pytest.raises(ValueError, match=r"memory: expected shape \(B, S, M\) = \(2, S >= 1, 4\), got \(1, 5, 4\)"):
        DotAttention()(query, memory[:1])
    with pytest.raises(ValueError, match="lengths: expected integers from 0 to 5, got 1 to 6"):
        DotAttention()(query, memory, [1, 6])
    with pytest.raises(ValueError, match="memory: expected 3-D"):
        DotAttention()(query, memory[0])
    layer = AdditiveAttention(2)
    context, cache = layer.forward(query, memory)
    with pytest.raises(ValueError, match=r"dout: expected shape \(B, T, M\) = \(2, 3, 4\), got \(2, 3, 3\)"):
        layer.backward(context[..., :3], cache)
    with pytest.raises(ValueError, match="memory_size: AdditiveAttention stands already with 4, got 5"):
        layer.build(4, memory_size=5)
