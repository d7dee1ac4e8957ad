"""Reinforcement learning that needs a memory: recall, at the end of an episode, the cue that it began with.

An episode shows a cue at its first step, other symbols for 10 to 20 steps, and then asks which symbol the cue was.  The
one right answer of four is worth 1; nothing else is.  A GRU is the policy, proximal policy optimization (Schulman et
al., 2017) trains it, NumPy does the rest.

The episodes of a row follow one another and end where they end, in the middle of the rollouts that the policy is
trained on.  One call takes a batch of rollouts all the same: `reset_mask` is true where an episode begins, which zeroes
the state on the way forward and cuts the gradient on the way back, and each row starts from the state that its last
rollout left.

    python examples/recurrent_policy.py [--updates 400] [--seed 0] [--quick]
"""

from __future__ import annotations

import argparse
from time import perf_counter
from typing import NamedTuple

import numpy as np

import fastrnn
from fastrnn.layers import GRU, Dense
from fastrnn.training import Adam, Sequential

CUES, DELAY = 4, (10, 20)
ROWS, STEPS, UNITS = 32, 64, 32  # players at once, steps of a rollout, units of the GRU
DISCOUNT, TRACE = 0.95, 0.9  # of later rewards; of later surprises in an advantage (lambda of GAE)
EPOCHS, CLIP, ENTROPY = 4, 0.2, 0.01  # of PPO


class CueRecall:
    """Several rows of episodes; an observation (B, CUES + 2) is a symbol, "this is the cue", "which was the cue?"."""

    def __init__(self, rows: int, rng: np.random.Generator) -> None:
        self.rng, self.every_row = rng, np.arange(rows)
        self.time, self.end, self.cue = (np.zeros(rows, int) for _ in range(3))
        self.begin(np.ones(rows, bool))

    def begin(self, rows: np.ndarray) -> None:
        """A new episode in each of some rows."""
        count = np.count_nonzero(rows)
        self.time[rows], self.cue[rows] = 0, self.rng.integers(CUES, size=count)
        self.end[rows] = 1 + self.rng.integers(*DELAY, size=count, endpoint=True)

    def observe(self) -> np.ndarray:
        seen = np.zeros((len(self.time), CUES + 2), np.float32)
        symbols = np.where(self.time == 0, self.cue, self.rng.integers(CUES, size=len(self.time)))
        seen[self.every_row, symbols] = 1
        seen[:, CUES], seen[:, CUES + 1] = self.time == 0, self.time == self.end
        return seen

    def step(self, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rewards (B,) for the answers (B,), and which episodes ended; new ones have begun there."""
        ended = self.time == self.end
        rewards = ended & (answers == self.cue)
        self.time += 1
        self.begin(ended)
        return rewards, ended


class Policy:
    """A GRU, and a head that makes of its state the logits of the answers and the value of the state."""

    def __init__(self, seed: int) -> None:
        layers = [GRU(UNITS, return_sequences=True), Dense(CUES + 1)]
        self.model = Sequential(layers, input_size=CUES + 2, seed=seed)
        self.gru, self.head = layers
        self.head.params["w"] = 0.1 * self.head.params["w"]  # answers at random at first
        self.optimizer = Adam(0.003, global_clipnorm=0.5)

    def update(self, dout: np.ndarray, gru_cache: object, head_cache: object) -> None:
        """One step of the optimizer down the gradient by the head's output."""
        dstates, of_head, _ = self.head.backward(dout, head_cache)
        of_gru = self.gru.parameter_gradients(dstates, gru_cache)
        grads = {"0": of_gru, "1": of_head}
        named = {f"{layer}/{name}": grad for layer, part in grads.items() for name, grad in part.items()}
        self.optimizer.apply(self.model.params, named)


class Player:
    """The policy step by step, for B rows; its session sees every update of the weights."""

    def __init__(self, policy: Policy, rows: int) -> None:
        self.session = fastrnn.stream(policy.model, batch=rows)

    @property
    def h(self) -> np.ndarray:
        """The state of the GRU (B, H), a copy."""
        return self.session.state["0"][0]

    def step(self, seen: np.ndarray, first: np.ndarray) -> np.ndarray:
        """The head's output (B, CUES + 1); the state is zeroed in rows where an episode begins."""
        if first.any():
            self.session.reset(first)
        return self.session.step(seen)


class Rollout(NamedTuple):
    """What B players saw and did for T steps, each array (B, T, ...)."""

    start: np.ndarray  # (B, H): the states before the first step
    seen: np.ndarray
    first: np.ndarray  # where an episode begins
    out: np.ndarray  # the head's output: logits, value
    answers: np.ndarray
    rewards: np.ndarray
    ended: np.ndarray  # where an episode ends


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def drawn(logits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An answer for each row, with the probabilities of the policy."""
    return (logits + rng.gumbel(size=logits.shape)).argmax(axis=-1)


def play(world: CueRecall, player: Player, first: np.ndarray, rng: np.random.Generator) -> Rollout:
    """STEPS steps of all rows, from where they stand; `first` says in which rows an episode begins."""
    start, record = player.h, []
    for _ in range(STEPS):
        seen = world.observe()
        out = player.step(seen, first)
        answers = drawn(out[:, :CUES], rng)
        rewards, ended = world.step(answers)
        record.append((seen, first, out, answers, rewards, ended))
        first = ended
    return Rollout(start, *(np.stack(part, axis=1) for part in zip(*record, strict=True)))


def advantages(rollout: Rollout) -> np.ndarray:
    """How much better than expected each step went, (B, T): generalized advantage estimation, episode by episode."""
    values, goes_on = rollout.out[..., CUES], ~rollout.ended
    surprise = rollout.rewards - values
    surprise[:, :-1] += DISCOUNT * goes_on[:, :-1] * values[:, 1:]
    surprise[goes_on[:, -1], -1] = 0  # what the last step of a rollout leads to is not known yet
    found, later = np.empty_like(values), np.zeros(len(values))
    for t in reversed(range(values.shape[1])):
        later = found[:, t] = surprise[:, t] + DISCOUNT * TRACE * goes_on[:, t] * later
    return found


def ppo_gradient(out: np.ndarray, rollout: Rollout, advantage: np.ndarray, returns: np.ndarray) -> np.ndarray:
    """The gradient of PPO's loss by the head's output, (B, T, CUES + 1)."""
    log_p, answers = log_softmax(out[..., :CUES]), rollout.answers[..., None]
    p = np.exp(log_p)
    before = np.take_along_axis(log_softmax(rollout.out[..., :CUES]), answers, axis=-1)
    ratio = np.exp(np.take_along_axis(log_p, answers, axis=-1) - before)[..., 0]
    inside = np.where(advantage > 0, ratio < 1 + CLIP, ratio > 1 - CLIP)
    by_log_p = -advantage * ratio * inside  # of -min(ratio·advantage, clipped ratio·advantage)
    chosen = np.arange(CUES) == answers
    entropy = -(p * log_p).sum(axis=-1, keepdims=True)
    dlogits = by_log_p[..., None] * (chosen - p) + ENTROPY * p * (log_p + entropy)
    dvalue = 0.5 * (out[..., CUES:] - returns[..., None])
    return np.concatenate([dlogits, dvalue], axis=-1) / advantage.size


def learn(policy: Policy, rollout: Rollout) -> None:
    """Some updates of the policy by a rollout, each one call forward and one back through all its episodes."""
    advantage = advantages(rollout)
    returns = advantage + rollout.out[..., CUES]
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    for _ in range(EPOCHS):
        states, gru_cache = policy.gru.forward(rollout.seen, (rollout.start,), reset_mask=rollout.first)
        out, head_cache = policy.head.forward(states)
        policy.update(ppo_gradient(out, rollout, advantage, returns), gru_cache, head_cache)


def success(policy: Policy, seed: int, episodes: int = 2000, memory: bool = True) -> float:
    """The share of new episodes that the policy answers right when it takes the answer that it holds for the best."""
    rows = 100
    world, player = CueRecall(rows, np.random.default_rng(seed)), Player(policy, rows)
    first, right, done = np.ones(rows, bool), 0, 0
    while done < episodes:
        answers = player.step(world.observe(), first if memory else np.ones(rows, bool))[:, :CUES].argmax(axis=-1)
        rewards, first = world.step(answers)
        right, done = right + np.count_nonzero(rewards), done + np.count_nonzero(first)
    return right / done


def seconds_per_step(policy: Policy, steps: int = 5000) -> float:
    """The time that the policy alone takes for a step of one player."""
    player, seen = Player(policy, 1), np.eye(1, CUES + 2, dtype=np.float32)
    first = np.zeros(1, bool)
    start = perf_counter()
    for _ in range(steps):
        player.step(seen, first)
    return (perf_counter() - start) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=400, help="rollouts to learn from (default: 400)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and of the world (default: 0)")
    parser.add_argument("--quick", action="store_true", help="a few rollouts, to see that it runs")
    args = parser.parse_args()
    updates = 5 if args.quick else args.updates

    rng = np.random.default_rng(args.seed)
    policy = Policy(args.seed)
    world, player, first = CueRecall(ROWS, rng), Player(policy, ROWS), np.ones(ROWS, bool)
    begin, acting = perf_counter(), 0.0
    for update in range(1, updates + 1):
        start = perf_counter()
        rollout = play(world, player, first, rng)
        acting += perf_counter() - start
        first = rollout.ended[:, -1]
        learn(policy, rollout)
        if update % 50 == 0 or update == updates:
            share = rollout.rewards.sum() / max(1, rollout.ended.sum())
            print(f"update {update:4}, {perf_counter() - begin:5.1f} s: {share:6.1%} of the answers right")

    print(f"acting: {updates * STEPS * ROWS / acting:,.0f} steps a second with {ROWS} players, world and all")
    print(f"the policy alone, one player: {1e6 * seconds_per_step(policy):.1f} µs a step")
    print(f"by chance: {1 / CUES:.1%}")
    print(f"the same policy without its memory: {success(policy, args.seed + 1, memory=False):.1%}")
    print(f"new episodes answered right: {success(policy, args.seed + 1):.1%}")


if __name__ == "__main__":
    main()
