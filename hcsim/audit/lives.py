"""What becomes of jobs: each row may follow those before it, and the work in the end is what was asked for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf, nan

from hcsim.actions import Allocation
from hcsim.audit.base import Now
from hcsim.audit.data import Data
from hcsim.audit.nodes import BOOTING, DOWN, DRAIN, RUN, STAGE, START, UP, Nodes
from hcsim.fleet import Fleet
from hcsim.model import Jobs
from hcsim.perf import Perf

EPS_S = 1e-3


@dataclass(slots=True)
class Life:
    """What the rows so far say of one job."""

    status: str = "new"  # waiting, placed, running, draining, held, finished, rejected
    claim: list[tuple[int, int, int]] = field(default_factory=list)  # what it holds and has not started on
    uses: Allocation = ()  # where it runs, or drains after it has run
    how: int = START  # what its claim waits for: START or STAGE
    began_s: float = 0.0
    stopped_s: float = 0.0
    saves: bool = False  # it drains to write a checkpoint
    moves: bool = False
    done_s: float = 0.0  # reference seconds of work that are safe
    host: dict[int, tuple[float, float]] = field(default_factory=dict)  # node -> CPUs and RAM that its claim takes
    finish_s: float = nan
    starts: int = 0
    ends: Counter[str] = field(default_factory=Counter)  # how its starts ended
    # what is said of it in the end
    first_start_s: float = nan
    claim_s: float = 0.0  # since when it has its claim
    since_s: float = 0.0  # since when it has what it uses
    run_s: float = 0.0
    held_gpu_s: float = 0.0
    lost_gpu_s: float = 0.0
    preemptions: int = 0
    migrations: int = 0
    losses: int = 0
    last_pool: int = -1


class Lives:
    """All jobs. ``live``: on a wall clock, where jobs arrive a little late and work takes what it takes."""

    def __init__(self, now: Now, fleet: Fleet, jobs: Jobs, perf: Perf, nodes: Nodes, data: Data, live: bool) -> None:
        self.now, self.fleet, self.jobs, self.perf, self.live = now, fleet, jobs, perf, live
        self.nodes, self.data = nodes, data
        self.speeds = perf.speeds(fleet, jobs)
        self.lives = [Life() for _ in range(len(jobs))]
        self._pool_of, self._site_of = fleet.node_pool, [fleet.pool_site[p] for p in fleet.node_pool]
        self._arrival_s = jobs.arrival_s.tolist()
        self._arrived = 0
        self._placing = -1  # job whose placement the last rows belong to
        self._fresh: dict[int, None] = {}  # jobs that were placed in this instant
        self._cpus: defaultdict[int, float] = defaultdict(float)  # node -> CPUs that claims take
        self._ram: defaultdict[int, float] = defaultdict(float)
        self._hosts = bool(jobs.cpus.any() or jobs.ram_bytes.any())

    def settle(self, next_s: float) -> None:
        """Time goes on to ``next_s``: placements are whole, and nobody has failed to arrive."""
        for job in self._fresh:
            self._whole(job)
        self._fresh.clear()
        self._placing = -1
        k = self._arrived
        if not self.live and k < len(self._arrival_s) and self._arrival_s[k] < next_s:
            self.now.fail(f"job {k} has not arrived", f"the log goes on to {next_s:g} s", f"{self._arrival_s[k]:g} s")

    def _whole(self, job: int) -> None:
        """A gang is as large as its job asks for, and its CPUs and RAM fit beside those of others."""
        life, jobs = self.lives[job], self.jobs
        if life.status not in ("placed", "draining") or not life.claim:
            return
        size = sum(mask.bit_count() for _, mask, _ in life.claim)
        if not jobs.min_gpus[job] <= size <= jobs.max_gpus[job]:
            limit = f"{jobs.min_gpus[job]} to {jobs.max_gpus[job]}"
            self.now.fail(f"job {job} is placed on so many GPUs", size, limit)
        if not self._hosts:
            return
        cpus, ram = (float(column[job]) / len(life.claim) for column in (jobs.cpus, jobs.ram_bytes))
        for node, _, _ in life.claim:
            self._cpus[node] += cpus
            self._ram[node] += ram
            life.host[node] = (cpus, ram)
            pool = self.fleet.pools[self._pool_of[node]]
            for what, taken, has in (
                ("CPUs", self._cpus[node], pool.cpus_per_node), ("RAM", self._ram[node], pool.ram_bytes_per_node)
            ):  # fmt: skip
                if has and taken > has * (1 + 1e-9) + 1e-6:
                    self.now.fail(f"{what} of {self.nodes.name(node)}", taken, f"at most {has:g}")

    def _be(self, job: int, *statuses: str) -> Life:
        if not 0 <= job < len(self.lives):
            self.now.fail("number of a job", job, f"0 to {len(self.lives) - 1}")
        life = self.lives[job]
        if life.status not in statuses:
            self.now.fail(f"job {job} is {life.status}", life.status, " or ".join(statuses))
        return life

    # -- rows ----------------------------------------------------------------------------------------------------------

    def arrived(self, job: int) -> None:
        """ARRIVED."""
        life = self._be(job, "new")
        want_s = self._arrival_s[job]
        if self.now.time_s < want_s or (self.now.time_s > want_s and not self.live):
            self.now.fail(f"job {job} arrives", self.now.time_s, f"{want_s:g} s")
        if job != self._arrived:
            self.now.fail("jobs arrive in their order", job, self._arrived)
        self._arrived += 1
        life.status = "waiting"
        for home in self.data.homes(job):
            self.data.at_home(job, home, f"the dataset of job {job} lies")

    def placed(self, job: int, node: int, mask: int, milli: int) -> None:
        """PLACED: one node of a placement."""
        now = self.now
        life = self._be(job, "waiting", "placed", "draining")
        pool = self.fleet.pools[self._pool_of[node]]
        if job != self._placing:
            first = life.status == "waiting" or (life.status == "draining" and life.moves and not life.claim)
            if not first:
                now.fail(f"job {job} is placed twice", life.status, "a job that waits or moves")
            self._fresh[job] = None
            life.how, life.claim_s, life.last_pool = START, now.time_s, self._pool_of[node]
        self._placing = job
        if not bool(self.jobs.gpus[job]) <= mask < 1 << pool.gpus_per_node:
            now.fail(f"job {job} is placed on GPUs of {self.nodes.name(node)}", bin(mask), f"{pool.gpus_per_node} GPUs")
        if milli != self.jobs.gpu_milli[job]:
            now.fail(f"job {job} is placed with so many milli-GPU", milli, self.jobs.gpu_milli[job])
        if self.nodes.state[node] == DOWN:
            now.fail(f"job {job} is placed on {self.nodes.name(node)}", "down", "a node that is not down")
        if life.claim:
            if self._pool_of[life.claim[0][0]] != self._pool_of[node]:
                now.fail(f"job {job}: parts of several pools", pool.name, "one pool")
            if node in {part[0] for part in life.claim}:
                now.fail(f"job {job} is placed twice on a node", self.nodes.name(node), "one part per node")
        self._allowed(job, node)
        self.nodes.promise(node, mask, milli)
        life.claim.append((node, mask, milli))
        self._hold(job, node, 1)
        if life.status == "waiting":
            life.status = "placed"
        self.nodes.change(job, node, mask, life.how, milli)
        if self.data.waits(job, self._site_of[node]):
            self.staging(job, True)

    def _allowed(self, job: int, node: int) -> None:
        """Residency, GPU type and memory."""
        jobs, site, pool = self.jobs, self._site_of[node], self.fleet.pools[self._pool_of[node]]
        self.data.at_home(job, site, f"job {job} is placed")
        code = jobs.gpu_type[job]
        if code >= 0 and pool.gpu not in jobs.gpu_types[code].split("|"):
            self.now.fail(f"job {job} is on the wrong GPU type", pool.gpu, jobs.gpu_types[code])
        if jobs.gpu_memory_bytes[job] > pool.gpu_memory_bytes:
            need = f"at least {jobs.gpu_memory_bytes[job]:g}"
            self.now.fail(f"job {job}: GPU memory (bytes)", pool.gpu_memory_bytes, need)

    def _hold(self, job: int, node: int, change: int) -> None:
        """A job holds one part more, or fewer, on a node."""
        here = self.nodes.jobs_on[node]
        here[job] += change
        if not here[job]:
            del here[job]
        self.nodes.look_at.add(node)

    def staging(self, job: int, on: bool) -> None:
        """What a claim waits for now: data, or its nodes, drains and restart."""
        life, how = self.lives[job], STAGE if on else START
        if life.how != how:
            for node, mask, milli in life.claim:
                self.nodes.change(job, node, mask, life.how, -milli)
                self.nodes.change(job, node, mask, how, milli)
            life.how = how

    def started(self, job: int, node: int) -> None:
        """STARTED."""
        life = self._be(job, "placed")
        where = tuple(life.claim)
        if not where or node != where[0][0]:
            self.now.fail(f"job {job} starts on node", node, where[0][0] if where else "a claim")
        for each, mask, milli in where:
            if self.nodes.state[each] != UP:
                self.now.fail(f"job {job} starts on {self.nodes.name(each)}", self.nodes.state[each], UP)
            self.nodes.change(job, each, mask, life.how, -milli)
            self.nodes.change(job, each, mask, RUN, milli)
        self.data.started(job, self._site_of[node], life.done_s > 0.0)
        life.status, life.claim, life.uses, life.began_s = "running", [], where, self.now.time_s
        life.since_s = life.claim_s
        life.starts += 1
        if life.starts == 1:
            life.first_start_s = self.now.time_s

    def draining(self, job: int, saves: bool, moves: bool) -> None:
        """DRAINING."""
        life = self._be(job, *(("running",) if moves else ("placed", "running")))
        life.migrations += moves
        life.preemptions += not moves
        self._give_claim(life, job)
        for node, mask, milli in life.uses:
            self.nodes.promise(node, mask, -milli)
            self.nodes.change(job, node, mask, RUN, -milli)
            self.nodes.change(job, node, mask, DRAIN, milli)
        self._give_host(life)
        life.status, life.stopped_s, life.moves, life.saves = "draining", self.now.time_s, moves, saves

    def _give_claim(self, life: Life, job: int) -> None:
        life.held_gpu_s += _gpus(life.claim) * (self.now.time_s - life.claim_s)
        for node, mask, milli in life.claim:
            self.nodes.promise(node, mask, -milli)
            self.nodes.change(job, node, mask, life.how, -milli)
            self._hold(job, node, -1)
        life.claim, life.how, self._placing = [], START, -1

    def _give_host(self, life: Life) -> None:
        for node, (cpus, ram) in life.host.items():
            self._cpus[node] -= cpus
            self._ram[node] -= ram
        life.host = {}

    def _stop(self, job: int, how: str, lost_s: float) -> None:
        """A run is over, if there was one: its GPUs are free, and what it did less what it lost is safe."""
        life = self.lives[job]
        drains = life.status == "draining"
        stopped_s = life.stopped_s if drains else self.now.time_s
        ran_s = stopped_s - life.began_s if life.uses else 0.0
        if not -1e-6 <= lost_s <= ran_s * (1 + 1e-9) + 1e-6:
            self.now.fail(f"job {job} lost so many seconds", lost_s, f"0 to {ran_s:g}, for which it ran")
        if not life.uses:
            return
        life.ends[how] += 1
        p = self._pool_of[life.uses[0][0]]
        life.done_s += (ran_s - lost_s) * self._rate(job, life.uses)
        want_s = float(self.jobs.duration_s[job])
        if not self.live and life.done_s > want_s + EPS_S + 1e-9 * want_s:
            self.now.fail(f"job {job} has done so many seconds of work", life.done_s, f"at most {want_s:g}")
        gpus = _gpus(life.uses)
        self.nodes.lost(p, lost_s * gpus)
        life.run_s += ran_s
        life.held_gpu_s += gpus * (self.now.time_s - life.since_s)
        if how != "finished":
            life.lost_gpu_s += lost_s * gpus
            if ran_s > lost_s:
                self.data.stored.checkpoint(job, self._site_of[life.uses[0][0]])
        for node, mask, milli in life.uses:
            self.nodes.change(job, node, mask, DRAIN if drains else RUN, -milli)
            self._hold(job, node, -1)
            if not drains:
                self.nodes.promise(node, mask, -milli)
        self.data.stopped(job, self._site_of[life.uses[0][0]], ran_s > lost_s or (how == "preempted" and life.saves))
        life.uses = ()

    def preempted(self, job: int, lost_s: float) -> None:
        """PREEMPTED."""
        life = self._be(job, "draining")
        if not life.moves:
            self.data.given_up(job)
        self._stop(job, "preempted", lost_s)
        life.status = "placed" if life.moves else "waiting"
        if life.moves != bool(life.claim):
            self.now.fail(f"job {job} moves", f"{len(life.claim)} nodes are claimed", "somewhere to go")

    def lost(self, job: int, node: int, lost_s: float) -> None:
        """LOST."""
        life = self._be(job, "placed", "running", "draining")
        mine = [n for n, _, _ in (*life.uses, *life.claim)]
        states = {self.nodes.state[n] for n in mine}
        if node >= 0 and not self.live:
            fault = node in mine and self.nodes.state[node] != UP and states - {UP, BOOTING}
            if not fault:
                self.now.fail(
                    f"job {job} is lost with {self.nodes.name(node)}", self.nodes.state[node], "one that went"
                )
        elif node < 0 and life.status == "placed" and not self.live and not states - {UP, BOOTING}:
            self.now.fail(f"job {job} crashes", life.status, "running")
        life.losses += 1
        self.data.given_up(job)
        self._stop(job, "lost", lost_s)
        self._give_claim(life, job)
        self._give_host(life)
        life.status, life.moves = "waiting", False

    def shrunk(self, job: int, node: int, lost_s: float) -> None:
        """SHRUNK: of several nodes that go at one instant each is told, so it may have stopped already."""
        life = self._be(job, "running", "placed")
        held = life.uses or tuple(life.claim)
        left = tuple(part for part in held if part[0] != node)
        if len(left) == len(held) or self.nodes.state[node] != DOWN:
            self.now.fail(f"job {job} shrinks with {self.nodes.name(node)}", self.nodes.state[node], "a node that went")
        size = sum(mask.bit_count() for _, mask, _ in left)
        if size < self.jobs.min_gpus[job]:
            self.now.fail(f"job {job} shrinks to so many GPUs", size, f"at least {self.jobs.min_gpus[job]}")
        ran = life.status == "running"
        life.losses += 1
        self._stop(job, "shrunk", lost_s)
        how = life.how
        self._give_claim(life, job)
        life.status, life.claim, life.how = "placed", list(left), START if ran else how
        life.claim_s = self.now.time_s
        self.data.waits(job, self._site_of[left[0][0]])  # it will read its dataset again
        for each, mask, milli in left:
            self.nodes.promise(each, mask, milli)
            self.nodes.change(job, each, mask, life.how, milli)
            self._hold(job, each, 1)

    def finished(self, job: int, spent_s: float) -> None:
        """FINISHED."""
        life = self._be(job, "running")
        self._stop(job, "finished", spent_s)
        self._give_host(life)
        life.status, want_s = "finished", float(self.jobs.duration_s[job])
        life.finish_s = self.now.time_s
        self.data.stored.over(job)
        if not self.live and abs(life.done_s - want_s) > EPS_S + 1e-9 * want_s:
            self.now.fail(f"job {job} finishes after so many seconds of work", life.done_s, f"{want_s:g}")

    def set_aside(self, job: int, status: str, *before: str) -> None:
        """HELD, RESUMED, REJECTED."""
        self._be(job, *before).status = status
        if status == "rejected":
            self.data.stored.over(job)

    def _rate(self, job: int, where: Allocation) -> float:
        """Reference seconds of work per second: GPU type, size over what was asked for, and spread; or by a table."""
        if not self.jobs.gpus[job]:
            return 1.0  # CPUs are taken to be alike
        if not self.speeds.alike:
            return self.speeds.rate(job, where)
        p = self._pool_of[where[0][0]]
        held, per_node = sum(mask.bit_count() for _, mask, _ in where), self.fleet.pools[p].gpus_per_node
        size = (held / self.jobs.gpus[job]) ** self.perf.scaling
        spread = len(where) * per_node >= held + per_node
        return float(self.speeds.pools[p] * size * (self.perf.spread_factor if spread else 1.0))

    def _worked_s(self, job: int, ran_s: float) -> float:
        """Of a run so far what was work at least: after each interval of it a checkpoint is written."""
        stall_s, interval_s = float(self.jobs.checkpoint_stall_s[job]), float(self.jobs.checkpoint_interval_s[job])
        if not stall_s or interval_s == inf:
            return ran_s
        rounds = ran_s // (interval_s + stall_s)
        return rounds * interval_s + min(ran_s - rounds * (interval_s + stall_s), interval_s)

    def close(self) -> None:
        """The log is over: every start has ended in one way, or goes on."""
        for job, life in enumerate(self.lives):
            if life.uses:  # what goes on counts up to here
                life.run_s += (self.now.time_s if life.status == "running" else life.stopped_s) - life.began_s
                life.held_gpu_s += _gpus(life.uses) * (self.now.time_s - life.since_s)
            life.held_gpu_s += _gpus(life.claim) * (self.now.time_s - life.claim_s)
            going_on = 1 if life.uses else 0
            ends = sum(life.ends.values())
            if life.starts != ends + going_on:
                self.now.fail(f"job {job}: starts", life.starts, f"{ends} ends and {going_on} that goes on")
            if life.status == "running" and not self.live:
                worked_s = self._worked_s(job, self.now.time_s - life.began_s)
                done_s = life.done_s + worked_s * self._rate(job, life.uses)
                want_s = float(self.jobs.duration_s[job])
                if done_s > want_s + EPS_S + 1e-9 * want_s:
                    self.now.fail(f"job {job} runs on after its end", done_s, f"at most {want_s:g} s of work")


def _gpus(where: Iterable[tuple[int, int, int]]) -> float:
    return sum(mask.bit_count() * milli for _, mask, milli in where) / 1000.0
