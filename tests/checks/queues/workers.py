"""Producers and workers of the libraries whose queues the presets describe.

workers.py LIBRARY URL put TASK... enqueues tasks:
    block   runs without end
    later   is due in an hour
    fail    fails, and is not tried again
workers.py LIBRARY URL work is a worker for one task at a time.
"""

import asyncio
import datetime
import os
import signal
import sys
import time

HOUR = datetime.timedelta(hours=1)


def block():
    parent = os.getppid()
    # A process that its worker began in a group of its own is to end with it.
    while os.getppid() == parent:
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise ValueError("as it was told to")


async def block_async(*_):
    await asyncio.to_thread(block)


async def fail_async(*_):
    fail()


class celery:
    settings = {}

    def __init__(self, url):
        from celery import Celery

        self.app = Celery("workers", broker=url)
        self.app.conf.update(self.settings)
        self.tasks = {"block": self.app.task(name="block")(block), "fail": self.app.task(name="fail")(fail)}

    def put(self, task):
        if task == "later":
            self.tasks["block"].apply_async(countdown=HOUR.seconds)
        elif task == "prioritized":
            self.tasks["block"].apply_async(priority=4)
        else:
            self.tasks[task].apply_async()

    def work(self):
        self.app.worker_main(["worker", "--concurrency=1", "--without-gossip", "--without-mingle"])


class celery_otherwise(celery):
    transport = {"global_keyprefix": "app:", "sep": ":", "priority_steps": [0, 4]}
    settings = {"task_acks_late": True, "worker_prefetch_multiplier": 1, "broker_transport_options": transport}


class rq:
    def __init__(self, url):
        import redis
        from rq import Queue

        self.connection = redis.Redis.from_url(url)
        self.queue = Queue(connection=self.connection)

    def put(self, task):
        if task == "later":
            self.queue.enqueue_in(HOUR, "workers.block")
        else:
            self.queue.enqueue(f"workers.{task}")

    def work(self):
        from rq import Worker

        Worker([self.queue], connection=self.connection).work(with_scheduler=True)


class arq:
    def __init__(self, url):
        from arq.connections import RedisSettings

        self.settings = RedisSettings.from_dsn(url)

    def put(self, task):
        from arq import create_pool

        async def enqueue():
            pool = await create_pool(self.settings)
            if task == "later":
                await pool.enqueue_job("block_async", _defer_by=HOUR)
            else:
                await pool.enqueue_job(f"{task}_async")

        asyncio.run(enqueue())

    def work(self):
        from arq.worker import Worker

        asyncio.set_event_loop(asyncio.new_event_loop())
        Worker([block_async, fail_async], redis_settings=self.settings, max_jobs=1).run()


class dramatiq:
    def __init__(self, url):
        import dramatiq
        from dramatiq.brokers.redis import RedisBroker

        self.broker = RedisBroker(url=url)
        dramatiq.set_broker(self.broker)
        self.tasks = {"block": dramatiq.actor(block), "fail": dramatiq.actor(fail, max_retries=0)}
        self.tasks["retry"] = dramatiq.actor(fail, actor_name="retry", min_backoff=HOUR.seconds * 1000)

    def put(self, task):
        if task == "later":
            self.tasks["block"].send_with_options(delay=HOUR.seconds * 1000)
        else:
            self.tasks[task].send()

    def work(self):
        from dramatiq import Worker

        Worker(self.broker, worker_threads=1).start()
        block()


class huey:
    kind = "RedisHuey"

    def __init__(self, url):
        import huey

        self.huey = getattr(huey, self.kind)("my-app", url=url)
        self.tasks = {"block": self.huey.task()(block), "fail": self.huey.task()(fail)}

    def put(self, task):
        if task == "later":
            self.tasks["block"].schedule(delay=HOUR)
        elif task == "prioritized":
            self.huey.enqueue(self.tasks["block"].s(priority=5))
        else:
            self.tasks[task]()

    def work(self):
        self.huey.create_consumer(workers=1).run()


class huey_priority(huey):
    kind = "PriorityRedisHuey"


class saq:
    def __init__(self, url):
        from saq import Queue

        self.queue = Queue.from_url(url)

    def put(self, task):
        async def enqueue():
            if task == "later":
                await self.queue.enqueue("block_async", scheduled=int(time.time()) + HOUR.seconds)
            else:
                await self.queue.enqueue(f"{task}_async", timeout=0)
            await self.queue.disconnect()

        asyncio.run(enqueue())

    def work(self):
        from saq import Worker

        asyncio.run(Worker(self.queue, functions=[block_async, fail_async], concurrency=1).start())


class taskiq_list:
    kind = "ListQueueBroker"

    def __init__(self, url):
        import taskiq_redis

        self.broker = getattr(taskiq_redis, self.kind)(url)
        self.tasks = {"block": self.broker.task(block_async), "fail": self.broker.task(fail_async)}

    def put(self, task):
        async def enqueue():
            await self.broker.startup()
            await self.tasks[task].kiq()
            await self.broker.shutdown()

        asyncio.run(enqueue())

    def work(self):
        from taskiq.receiver import Receiver

        async def listen():
            self.broker.is_worker_process = True
            await self.broker.startup()
            await Receiver(self.broker, max_async_tasks=1).listen(asyncio.Event())

        asyncio.run(listen())


class taskiq_stream(taskiq_list):
    kind = "RedisStreamBroker"


if __name__ == "__main__":
    # The tasks have the same names in the producer and in the worker.
    import workers

    _, name, url, command, *tasks = sys.argv
    library = getattr(workers, name)(url)
    if command == "work":
        library.work()
    for task in tasks:
        library.put(task)
