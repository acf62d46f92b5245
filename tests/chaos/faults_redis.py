"""What happens to Redis: gone, empty, set back, slow, full, failed over, locked; and keys that vanish or come late.

The run's own redis-server is the one hit. A server that was killed, emptied or set back stands on the same port as
before, as one does that was replaced behind its service's name.
"""

import random
from contextlib import suppress

import redis

from chaos.fault import fault
from chaos.faults_worker import Point, zombie_at
from chaos.installation import WorkerProcess
from chaos.redis_server import RedisServer
from chaos.run import Run
from ownership_stream.store import DUE_KEY, STATES_KEY


def waiting_for_redis(run: Run) -> None:
    """Until a worker says that it waits for Redis; it must be alive all the while."""
    run.until(
        lambda: run.sound and all(worker.waits_for("redis") for worker in run.sound), "/readyz says that Redis is away"
    )
    assert [(200, "alive\n")] * len(run.sound) == [worker.get("/healthz") for worker in run.sound]


# ---------------------------------------------------------------------------------------------------- gone, set back


@fault("redis")
def redis_restarted_empty(run: Run, dice: random.Random) -> None:
    """Redis is killed, and one that knows nothing takes its place at once."""
    run.await_progress(dice.randrange(1, 200))
    run.redis.restart_empty()
    run.await_progress(50)


@fault("redis", "progress")
def redis_away(run: Run, dice: random.Random) -> None:
    """Redis is killed and stays away until the workers say so; then it comes back empty."""
    run.await_progress(dice.randrange(1, 200))
    run.redis.kill()
    run.on_lift(run.redis.start_if_gone)
    waiting_for_redis(run)
    run.redis.start()
    run.await_progress(50)


@fault("redis")
def redis_set_back(run: Run, dice: random.Random) -> None:
    """Redis is killed and restarted with a snapshot of some time ago."""
    kept = run.redis.snapshot()
    run.await_progress(dice.randrange(100, 400))
    run.redis.restart_with(kept)
    run.await_progress(50)


@fault("redis", "progress")
def redis_failed_over(run: Run, dice: random.Random) -> None:
    """Redis becomes a replica of an empty server, with all connections open, and is promoted again."""
    run.await_progress(dice.randrange(1, 200))
    with RedisServer() as empty:
        run.redis.ask("REPLICAOF", "127.0.0.1", empty.port)
        run.on_lift(lambda: run.redis.ask("REPLICAOF", "NO", "ONE"))
        run.until(run.redis.replicated, "replicated")
        waiting_for_redis(run)
        run.redis.ask("REPLICAOF", "NO", "ONE")
    run.await_progress(50)


@fault("redis")
def redis_flushed(run: Run, dice: random.Random) -> None:
    """Somebody says FLUSHALL."""
    run.await_progress(dice.randrange(1, 200))
    run.redis.ask("FLUSHALL")
    run.await_progress(50)


# --------------------------------------------------------------------------------------------------- slow, full, locked


@fault("redis", "progress")
def redis_stopped(run: Run, dice: random.Random) -> None:
    """Redis takes connections and answers nobody, until the workers say so."""
    run.await_progress(dice.randrange(1, 200))
    run.redis.pause()
    run.on_lift(run.redis.resume)
    waiting_for_redis(run)
    run.redis.resume()
    run.await_progress(50)


@fault("redis")
def redis_slow(run: Run, dice: random.Random) -> None:
    """Redis halts again and again for about as long as the workers wait for an answer."""
    limit = run.site.settings.redis_timeout_seconds
    for _ in range(3):
        run.redis.ask("CLIENT", "PAUSE", int(1000 * limit * dice.uniform(0.5, 1.5)), dice.choice(("ALL", "WRITE")))
        run.await_progress(20)
    with suppress(redis.TimeoutError):
        run.redis.ask("DEBUG", "SLEEP", limit * dice.uniform(0.5, 1.5))
    run.await_progress(50)


@fault("redis", "progress")
def redis_full(run: Run, dice: random.Random) -> None:
    """Redis has no memory for another key, until the workers say so."""
    run.await_progress(dice.randrange(1, 200))
    run.redis.ask("CONFIG", "SET", "maxmemory", "1mb")
    run.on_lift(lambda: run.redis.ask("CONFIG", "SET", "maxmemory", "0"))
    waiting_for_oom(run)
    run.redis.ask("CONFIG", "SET", "maxmemory", "0")
    run.await_progress(50)


def waiting_for_oom(run: Run) -> None:
    """Until a lane of every worker waits because Redis is full. A ping is answered all the while."""

    def waits(worker: WorkerProcess) -> bool:
        status, reason = worker.get("/readyz")
        return status == 503 and "OutOfMemoryError" in reason

    run.until(lambda: run.sound and all(map(waits, run.sound)), "/readyz says that Redis is full")


@fault("redis", "progress")
def redis_locked(run: Run, dice: random.Random) -> None:
    """Redis asks for a password that the workers do not have, and then no more."""
    run.await_progress(dice.randrange(1, 200))
    run.on_lift(run.redis.unlock)
    run.redis.lock()
    waiting_for_redis(run)
    run.redis.unlock()
    run.await_progress(50)


# ---------------------------------------------------------------------------------------------------- keys


@fault("redis")
def redis_keys_vanish(run: Run, dice: random.Random) -> None:
    """The states or the due index of some lanes are deleted while their lanes work."""
    run.await_progress(dice.randrange(1, 200))
    keys = sorted(run.redis.keys(f"*:{dice.choice((STATES_KEY, DUE_KEY))}"))
    run.redis.ask("DEL", *dice.sample(keys, dice.randint(1, len(keys))))
    run.await_progress(50)


@fault("redis", "workers", "progress")
def redis_written_late(run: Run, dice: random.Random) -> None:
    """A worker stops between its commit and its write to Redis, and writes when others have its lanes."""
    zombie_at(run, Point(dice.choice(("decide", "match")), "6-commit", dice.randint(1, 3)))
