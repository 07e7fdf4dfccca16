"""Conservative backfill: every queued job has a reservation, and nobody may delay any of them."""

from __future__ import annotations

from dataclasses import dataclass

from hcsim import Plan, Strategy, View, while_waiting
from hcsim.planning.profile import Profile


@dataclass(frozen=True)
class ConservativeBackfill(Strategy):
    """Give each waiting job, in arrival order, the earliest start that moves no reservation made before; start those
    whose start is now.

    Reservations are made on a profile of free GPUs per pool over estimated time; on nodes with several GPUs it does not
    see fragmentation, and a job whose time has come starts when a node fits. Only the first ``depth`` waiting jobs are
    planned, those behind wait. Source: Mu'alem and Feitelson, TPDS 2001, section 2 (conservative backfilling).
    """

    depth: int = 20

    wake = while_waiting
    needs = frozenset({"runtime"})

    def decide(self, view: View) -> Plan:
        plan = view.plan()
        fits = next(iter(plan.placeable(view.waiting)), None) is not None
        if not fits:
            return plan  # nothing could start: reservations are made anew when something can
        profiles: dict[int, Profile] = {}
        for planned, job in enumerate(view.waiting):
            if planned >= self.depth:
                break
            options = []
            for pool in view.allowed_pools(job):
                if pool not in profiles:
                    profiles[pool] = Profile(view, pool)
                hold_s = view.remaining_s(job) / view.speed(pool)
                options.append((profiles[pool].earliest(view.gpus[job], hold_s), pool, hold_s))
            start_s, pool, hold_s = min(options)
            where = plan.first_fit(job, (pool,)) if start_s <= view.now else None
            if where is not None:
                plan.place(job, where)
            profiles[pool].take(start_s, hold_s, view.gpus[job])
        return plan
