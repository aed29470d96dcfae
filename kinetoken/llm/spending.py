"""A spend cap that what is in flight cannot pass, and the bill."""

import asyncio
import dataclasses
import statistics
from collections import Counter
from collections.abc import Sequence

from kinetoken.llm.ledger import Attempt

CLIPS_PRICED = 1200


class Budget:
    """Money for attempts: each reserves the most it can cost before it is sent, and settles what it did cost."""

    def __init__(self, cap: float, spent: float) -> None:
        self.cap, self.spent = cap, spent
        self._reserved = 0.0
        self._in_flight = 0
        self._settled = asyncio.Condition()

    async def reserve(self, worst_cost: float) -> bool:
        """True once the cap holds even if everything in flight costs the most it can; False if it never will."""
        async with self._settled:
            while self.spent + self._reserved + worst_cost > self.cap:
                if self._in_flight == 0 or self.spent + worst_cost > self.cap:
                    return False
                await self._settled.wait()
            self._reserved += worst_cost
            self._in_flight += 1
            return True

    async def settle(self, worst_cost: float, cost: float) -> None:
        """The attempt that reserved `worst_cost` did cost `cost`."""
        async with self._settled:
            self._in_flight -= 1
            self._reserved = max(self._reserved - worst_cost, 0.0) if self._in_flight else 0.0
            self.spent += cost
            self._settled.notify_all()


@dataclasses.dataclass(frozen=True)
class Bill:
    """What a set of rows took, over all runs so far; money in the currency of the price table."""

    rows: int
    attempts: int
    attempts_now: int  # by this run
    prompt_tokens: int
    completion_tokens: int
    cost: float  # attempts without word of the server counted at the most they can have cost
    cost_now: float
    cost_unknown: float  # the part of `cost` that is such an upper bound
    cost_per_1200_clips: float
    latency_s_median: float | None
    latency_s_95: float | None
    models: dict[str, int]  # answers by the model that gave them
    outcomes: dict[str, int]  # attempts by outcome

    @classmethod
    def of(cls, rows: int, attempts: Sequence[Attempt], before: int) -> "Bill":
        """From all attempts at the rows, the first `before` of them by earlier runs."""
        seconds = sorted(each.seconds for each in attempts if each.seconds is not None)
        cost = sum(each.cost for each in attempts)
        return cls(
            rows=rows, attempts=len(attempts), attempts_now=len(attempts) - before,
            prompt_tokens=sum(each.prompt_tokens or 0 for each in attempts),
            completion_tokens=sum(each.completion_tokens or 0 for each in attempts),
            cost=cost, cost_now=sum(each.cost for each in attempts[before:]),
            cost_unknown=sum(each.cost for each in attempts if not each.cost_known),
            cost_per_1200_clips=cost / max(rows, 1) * CLIPS_PRICED,
            latency_s_median=statistics.median(seconds) if seconds else None,
            latency_s_95=seconds[int(0.95 * (len(seconds) - 1))] if seconds else None,
            models=dict(sorted(Counter(each.model for each in attempts if each.model).items())),
            outcomes=dict(sorted(Counter(each.outcome or "in flight" for each in attempts).items())),
        )
