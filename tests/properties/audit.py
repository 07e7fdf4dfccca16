"""An auditor that reads a log one row at a time and knows nothing but the fleet, the jobs and what a row means."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hcsim import Fleet, Jobs, Perf
from hcsim.actions import Allocation
from hcsim.events import Kind, Row

EPS = 1e-6


class AuditError(AssertionError):
    """A row that must not be there, or a sum that does not add up."""


def gpus_of(where: Allocation) -> list[tuple[int, int, int]]:
    """(node, GPU, milli-GPU) of each GPU of an allocation."""
    return [(node, gpu, milli) for node, mask, milli in where for gpu in range(mask.bit_length()) if mask >> gpu & 1]


@dataclass
class Life:
    """What the rows so far say of one job."""

    status: str = "new"  # waiting, placed, running, draining, held, finished, rejected
    claim: list[tuple[int, int, int]] = field(default_factory=list)  # what it holds and has not started on
    uses: Allocation = ()  # where it runs, or drains after it has run
    began_s: float = 0.0
    stopped_s: float = 0.0
    moves: bool = False
    done_s: float = 0.0  # reference seconds of work that are safe
    starts: int = 0
    ends: Counter[str] = field(default_factory=Counter)  # how its starts ended


class Audit:
    """Call :meth:`see` with each row in turn and :meth:`close` at the end; AuditError is the first thing wrong.

    ``seconds`` are GPU-seconds by what the GPUs did, ``lost_gpu_s`` those of run time done again, ``usd`` the bill.
    """

    def __init__(self, fleet: Fleet, jobs: Jobs) -> None:
        self.fleet, self.jobs = fleet, jobs
        self.speed = Perf().of_pools(fleet)
        self.pool = [fleet.pools[p] for p in fleet.node_pool]
        self.now = 0.0
        self.life = [Life() for _ in range(len(jobs))]
        self.node = ["off" if pool.elastic else "up" for pool in self.pool]  # off, booting, up, down
        self.used: Counter[tuple[int, int]] = Counter()  # (node, GPU) -> milli-GPU started or draining
        self.free = {(n, g): 1000 for n, pool in enumerate(self.pool) for g in range(pool.gpus_per_node)}
        self.seconds = dict.fromkeys(("busy", "starting", "draining", "idle", "off"), 0.0)
        self.lost_gpu_s = 0.0
        self.usd = 0.0
        self.price = [pool.usd_per_gpu_h for pool in fleet.pools]
        self.paid_until_s: dict[int, float] = {}  # rented node that is up -> until when its minimum is paid
        self.placing = -1  # job whose placement the last rows belong to

    def require(self, ok: bool, reason: str) -> None:
        if not ok:
            raise AuditError(f"{reason} (t = {self.now:g} s)")

    # -- time ----------------------------------------------------------------------------------------------------------

    def advance(self, t: float) -> None:
        """Nothing happens until ``t``: integrate what goes on."""
        self.require(t >= self.now, f"time goes back to {t:g} s")
        dt = t - self.now
        if dt:
            self._settled()
            use = self._using()
            for kind, gpus in use.items():
                self.seconds[kind] += gpus * dt
            for node, pool in enumerate(self.pool):
                p = self.fleet.node_pool[node]
                paid_s = dt
                if pool.elastic:
                    paid_s = max(t - max(self.paid_until_s[node], self.now), 0.0) if node in self.paid_until_s else 0.0
                self.usd += paid_s / 3600.0 * pool.gpus_per_node * self.price[p]
        self.now = t

    def _using(self) -> dict[str, float]:
        """GPUs by what they do now. A claim on GPUs that still drain counts as draining."""
        drains = {(n, g) for job in self.life if job.status == "draining" for n, g, _ in gpus_of(job.uses)}
        use = dict.fromkeys(self.seconds, 0.0)
        for job in self.life:
            if job.uses:
                kind = "busy" if job.status == "running" else "draining"
                use[kind] += sum(milli for _, _, milli in gpus_of(job.uses)) / 1000.0
            for n, g, milli in gpus_of(tuple(job.claim)):
                if self.node[n] == "up" and (n, g) not in drains:
                    use["starting"] += milli / 1000.0
        up = sum(pool.gpus_per_node for pool, state in zip(self.pool, self.node, strict=True) if state == "up")
        use["idle"] = up - use["busy"] - use["starting"] - use["draining"]
        use["off"] = self.fleet.gpus - up
        return use

    def _settled(self) -> None:
        """What must hold whenever time passes."""
        used: Counter[tuple[int, int]] = Counter()
        claimed: Counter[tuple[int, int]] = Counter()
        for number, job in enumerate(self.life):
            for n, g, milli in gpus_of(job.uses):
                used[n, g] += milli
                self.require(self.node[n] == "up", f"job {number} uses node {n}, which is {self.node[n]}")
            holds = tuple(job.claim) or (job.uses if job.status == "running" else ())
            for n, g, milli in gpus_of(holds):
                claimed[n, g] += milli
                self.require(self.node[n] in ("up", "booting"), f"job {number} holds node {n}: {self.node[n]}")
            if job.status == "running":
                done_s = job.done_s + (self.now - job.began_s) * self.rate(number, job.uses)
                self.require(done_s <= self.jobs.duration_s[number] + 1e-3, f"job {number} runs on after its end")
        self.require(+used == +self.used, "GPUs in use are not those of the jobs that run or drain")
        self.require(max(claimed.values(), default=0) <= 1000, "a GPU is promised twice")

    # -- rows --------------------------------------------------------------------------------------------------------

    def see(self, row: Row) -> None:
        """Take in the next row."""
        t, kind, subject, node, value, detail = row
        self.advance(t)
        name = Kind(kind).name.lower()
        if name not in ("placed", "provisioning"):
            self.placing = -1
        handler = getattr(self, f"_{name}", None)
        if handler is not None:
            handler(subject, node, value, detail)
        self._balanced()

    def _balanced(self) -> None:
        """Used and free GPUs add up to those installed, and none is below nothing or above one."""
        for key, free in self.free.items():
            used = self.used[key]
            self.require(0 <= used <= 1000, f"GPU {key} is used to {used} milli")
            self.require(used + free == 1000, f"GPU {key}: {used} used and {free} free are not 1000 milli")

    def _be(self, job: int, *statuses: str) -> Life:
        life = self.life[job]
        self.require(life.status in statuses, f"job {job} is {life.status}, expected {' or '.join(statuses)}")
        return life

    def _use(self, where: Allocation, sign: int) -> None:
        for n, g, milli in gpus_of(where):
            self.used[n, g] += sign * milli
            self.free[n, g] -= sign * milli

    def _arrived(self, job: int, *_: float) -> None:
        self.require(self.now == self.jobs.arrival_s[job], f"job {job} arrives at the wrong time")
        self._be(job, "new").status = "waiting"

    def _placed(self, job: int, node: int, value: float, detail: float) -> None:
        life = self._be(job, "waiting", "placed", "draining")
        if job == self.placing:
            self.require(bool(life.claim), f"job {job}: a part without a placement")
        else:
            first = life.status == "waiting" or (life.status == "draining" and life.moves and not life.claim)
            self.require(first, f"job {job} is placed twice")
        self.placing = job
        mask, pool = int(value), self.pool[node]
        self.require(0 < mask < 1 << pool.gpus_per_node, f"job {job} is placed on GPUs that node {node} does not have")
        self.require(detail == self.jobs.gpu_milli[job], f"job {job} is placed with {detail} milli")
        self.require(self.node[node] != "down", f"job {job} is placed on node {node}, which is down")
        same = not life.claim or self.fleet.node_pool[life.claim[0][0]] == self.fleet.node_pool[node]
        self.require(same and node not in {part[0] for part in life.claim}, f"job {job}: parts of several pools")
        self._allowed(job, self.fleet.node_pool[node])
        life.claim.append((node, mask, int(detail)))
        if life.status == "waiting":
            life.status = "placed"

    def _allowed(self, job: int, p: int) -> None:
        jobs, site, pool = self.jobs, self.fleet.sites[self.fleet.pool_site[p]], self.fleet.pools[p]
        code = jobs.residency[job]
        if code >= 0:
            self.require(site.jurisdiction in jobs.residencies[code].split("|"), f"job {job} is outside its residency")
        code = jobs.gpu_type[job]
        if code >= 0:
            self.require(pool.gpu in jobs.gpu_types[code].split("|"), f"job {job} is on the wrong GPU type")
        self.require(jobs.gpu_memory_bytes[job] <= pool.gpu_memory_bytes, f"job {job} has too little GPU memory")

    def _started(self, job: int, node: int, *_: float) -> None:
        life = self._be(job, "placed")
        where = tuple(life.claim)
        size = len(gpus_of(where))
        self.require(self.jobs.min_gpus[job] <= size <= self.jobs.max_gpus[job], f"job {job} starts on {size} GPUs")
        self.require(node == where[0][0], f"job {job} starts on node {node}, placed on {where[0][0]}")
        self.require(all(self.node[n] == "up" for n, _, _ in where), f"job {job} starts on a node that is not up")
        life.status, life.claim, life.uses, life.began_s = "running", [], where, self.now
        life.starts += 1
        self._use(where, 1)

    def _draining(self, job: int, node: int, value: float, moves: float) -> None:
        life = self._be(job, "placed", "running") if not moves else self._be(job, "running")
        life.status, life.stopped_s, life.claim, life.moves = "draining", self.now, [], bool(moves)

    def _stop(self, job: int, how: str, stopped_s: float, lost_s: float) -> None:
        """A run is over, if there was one: its GPUs are free, and what it did less what it lost is safe."""
        life = self.life[job]
        self.require(0 <= lost_s <= max(stopped_s - life.began_s, 0.0) + EPS, f"job {job} lost {lost_s:g} s")
        if not life.uses:
            self.require(lost_s == 0, f"job {job} lost {lost_s:g} s without having run")
            return
        life.ends[how] += 1
        life.done_s += (stopped_s - life.began_s - lost_s) * self.rate(job, life.uses)
        self.lost_gpu_s += (
            0.0 if how == "finished" else lost_s * sum(milli for _, _, milli in gpus_of(life.uses)) / 1000.0
        )
        self._use(life.uses, -1)
        life.uses = ()

    def _preempted(self, job: int, node: int, value: float, detail: float) -> None:
        life = self._be(job, "draining")
        self._stop(job, "preempted", life.stopped_s, value)
        life.status = "placed" if life.moves else "waiting"
        self.require(life.moves == bool(life.claim), f"job {job} moves nowhere")

    def _lost(self, job: int, node: int, value: float, detail: float) -> None:
        life = self._be(job, "placed", "running", "draining")
        mine = {n for n, _, _ in (*life.uses, *life.claim)}
        self.require(node in mine and self.node[node] == "down", f"job {job} is lost with node {node}")
        self._stop(job, "lost", life.stopped_s if life.status == "draining" else self.now, value)
        life.status, life.claim, life.moves = "waiting", [], False

    def _shrunk(self, job: int, node: int, value: float, detail: float) -> None:
        life = self._be(job, "running", "placed")  # it may lose several nodes at one instant, or while it restarts
        held = life.uses or tuple(life.claim)
        left = tuple(part for part in held if part[0] != node)
        self.require(self.node[node] == "down" and len(left) < len(held), f"job {job} shrinks with node {node}")
        self.require(len(gpus_of(left)) >= self.jobs.min_gpus[job], f"job {job} shrinks to {len(gpus_of(left))} GPUs")
        self._stop(job, "shrunk", self.now, value)
        life.status, life.claim = "placed", list(left)

    def _finished(self, job: int, node: int, value: float, detail: float) -> None:
        life = self._be(job, "running")
        self._stop(job, "finished", self.now, value)
        life.status, want_s = "finished", float(self.jobs.duration_s[job])
        self.require(abs(life.done_s - want_s) < 1e-3, f"job {job} did {life.done_s:g} s of {want_s:g} s of work")

    def _held(self, job: int, *_: float) -> None:
        self._be(job, "waiting").status = "held"

    def _resumed(self, job: int, *_: float) -> None:
        self._be(job, "held").status = "waiting"

    def _rejected(self, job: int, *_: float) -> None:
        self._be(job, "waiting").status = "rejected"

    def _provisioning(self, node: int, *_: float) -> None:
        self.require(self.node[node] == "off", f"node {node} is asked to boot and is {self.node[node]}")
        self.node[node] = "booting"
        site = self.fleet.pool_site[self.fleet.node_pool[node]]
        quota = self.fleet.sites[site].quota_gpus
        here = [n for n, p in enumerate(self.fleet.node_pool) if self.fleet.pool_site[p] == site]
        on = sum(self.pool[n].gpus_per_node for n in here if self.pool[n].elastic and self.node[n] != "off")
        self.require(quota is None or on <= quota, f"{on} GPUs are rented at site {site}, quota {quota}")

    def _node_up(self, node: int, *_: float) -> None:
        elastic = self.pool[node].elastic
        self.require(self.node[node] == ("booting" if elastic else "down"), f"node {node} is up, was {self.node[node]}")
        self.node[node] = "up"
        if elastic:
            pool, p = self.pool[node], self.fleet.node_pool[node]
            self.paid_until_s[node] = self.now + pool.min_billing_s
            self.usd += pool.min_billing_s / 3600.0 * pool.gpus_per_node * self.price[p]

    def _node_off(self, node: int, _: int, value: float, detail: float) -> None:
        was = ("booting",) if value else ("up", "down")  # one that boots may not be had
        self.require(self.pool[node].elastic and self.node[node] in was, f"node {node} goes off")
        self.node[node] = "off"
        self.paid_until_s.pop(node, None)

    def _node_down(self, node: int, *_: float) -> None:
        self.require(self.node[node] in ("up", "booting"), f"node {node} fails and is {self.node[node]}")
        self.node[node] = "down"
        self.paid_until_s.pop(node, None)

    def _price_changed(self, p: int, node: int, value: float, detail: float) -> None:
        self.price[p] = value

    def _transferred(self, job: int, source: int, value: float, target: float) -> None:
        link = self.fleet.link(source, int(target))
        assert link is not None
        self.usd += value / 1e9 * link.usd_per_gb

    def rate(self, job: int, where: Allocation) -> float:
        """Reference seconds of work per second: GPU type, size over what was asked for, and spread."""
        p = self.fleet.node_pool[where[0][0]]
        held, per_node = len(gpus_of(where)), self.fleet.pools[p].gpus_per_node
        spread = len(where) * per_node >= held + per_node
        return float(self.speed[p] * (held / self.jobs.gpus[job]) ** 0.9 * (0.8 if spread else 1.0))

    def close(self) -> None:
        """The log is over: every start has ended in one way, or goes on."""
        self._settled()
        for number, job in enumerate(self.life):
            going_on = 1 if job.uses else 0
            self.require(job.starts == sum(job.ends.values()) + going_on, f"job {number}: a start without an end")
            self.require(job.ends["finished"] == (job.status == "finished"), f"job {number} finished more than once")
