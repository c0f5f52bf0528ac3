"""One real Ably client in Python, driven by one JSON argument; prints one JSON line and exits.

It does what client.mjs does and counts as that does: see there, and Scenario and Report in mod.rs.
In JSON its URL names no `format`: no other client leaves that out.
"""

import asyncio
import json
import os
import sys
import threading
import time

from ably import AblyRealtime, AblyRest

from seen import Seen

PATIENCE = 15


async def until(limit, is_so):
    end = time.monotonic() + limit
    while not is_so() and time.monotonic() < end:
        await asyncio.sleep(0.005)


def client_options(scenario):
    """Fails at an option that it does not know: a test must not believe that it took effect."""
    credentials = {"key": "key", "token": "token", "authUrl": "auth_url", "clientId": "client_id"}
    options = {ours: scenario[name] for name, ours in credentials.items() if scenario.get(name)}
    for name, value in scenario.get("options", {}).items():
        if name != "useTokenAuth":
            raise ValueError(f"unknown option {name!r}")
        options["use_token_auth"] = value
    return {**options, "tls": False, "use_binary_protocol": scenario["format"] == "msgpack"}


class Client:
    """The SDK's client, and what it does."""

    def __init__(self, scenario):
        self.scenario, self.seen = scenario, Seen()
        self.report = self.seen.report
        self.publishing, self.stopped = set(), False
        # Its realtime connection takes no notice of the option `port`.
        endpoint = f"{scenario['host']}:{scenario['port']}"
        self.ably = AblyRealtime(endpoint=endpoint, auto_connect=False, **client_options(scenario))
        manager = self.ably.connection.connection_manager
        self.ably.connection.on(lambda change: self.seen.on_connection(change, manager.connection_id))

    def stop(self):
        self.stopped = True

    def state(self):
        return self.ably.connection.state.value

    def failed(self):
        return self.state() in ("failed", "suspended", "closed")

    async def join(self, name):
        channel = self.ably.channels.get(name)
        # To subscribe is to attach.
        await channel.subscribe(lambda message: self.seen.on_message(name, message))
        channel.on(lambda change: self.seen.on_channel(name, change))
        if self.scenario["presence"]:
            await channel.presence.subscribe(lambda member: self.seen.on_presence(name, member))
            await channel.presence.enter("here")
        return channel

    def publish(self, channel, n):
        which = (channel.name, n)
        self.report["published"] += 1
        self.seen.unanswered.add(which)

        def answered(task):
            self.publishing.discard(task)
            self.seen.on_answer(which, task.exception())

        # Tasks start in the order of the numbers, and each sends before it waits.
        # As text: what an object is on the wire differs from SDK to SDK.
        task = asyncio.create_task(channel.publish("own", f"{self.seen.me} {n}"))
        self.publishing.add(task)
        task.add_done_callback(answered)

    async def publish_often(self, channels):
        """Publishes against the clock, so that a late timer does not lower the rate."""
        seconds, rate = self.scenario["seconds"], self.scenario["rate"]
        due = time.monotonic()
        half, end = due + seconds / 2, due + seconds
        detached, n = not self.scenario.get("detach"), 0
        while time.monotonic() < end and not self.stopped and not self.failed():
            for channel in channels if rate > 0 else []:
                self.publish(channel, n)
            if not detached and time.monotonic() > half:
                detached = True
                await self.detach_and_attach(channels)
                due = time.monotonic()
            n += 1
            due += 1 / rate if rate > 0 else 0.05
            await asyncio.sleep(max(0, due - time.monotonic()))

    async def settle(self):
        """Waits for what is on its way."""
        limit = self.scenario["settle"]
        await until(limit, lambda: not self.seen.unanswered or self.failed())
        await until(limit, lambda: self.seen.missing() == 0 or self.failed())

    async def detach_and_attach(self, channels):
        await self.settle()
        for channel in channels:
            # detaching, detached, attaching, attached
            self.seen.own_events[channel.name] = 4
            await channel.detach()
            await channel.attach()
            if self.scenario["presence"]:
                await channel.presence.enter("here")

    async def attempt(self, what, operation):
        """A failure is told, no more."""
        try:
            return await asyncio.wait_for(operation, PATIENCE)
        except Exception as error:
            self.report["failures"].append(f"{what}: {str(error) or repr(error)}")

    async def authorize_often(self):
        every = self.scenario.get("authorizeEvery") or 0
        while every > 0:
            await asyncio.sleep(every)
            if await self.attempt("authorize", self.ably.auth.authorize()):
                self.report["authorized"] += 1

    async def read_history(self):
        """Plain requests need a client of their own, whose `port` counts and whose endpoint has none."""
        s = self.scenario
        async with AblyRest(endpoint=s["host"], port=s["port"], **client_options(s)) as rest:
            pages = [rest.channels.get(name).history(limit=1000) for name in s["channels"]]
            pages = [await self.attempt("history", page) for page in pages]
            if all(pages):
                self.report["historyItems"] = sum(len(page.items) for page in pages)
            self.report["serviceTime"] = await self.attempt("time", rest.time())

    async def run(self):
        self.ably.connect()
        await until(PATIENCE, lambda: self.report["connected"] or self.state() == "failed")
        if not self.report["connected"]:
            return
        joining = asyncio.gather(*map(self.join, self.scenario["channels"]))
        channels = await asyncio.wait_for(joining, PATIENCE)
        authorizing = asyncio.create_task(self.authorize_often())
        await self.publish_often(channels)
        authorizing.cancel()
        await self.settle()
        if self.scenario.get("history"):
            await self.read_history()

    async def close(self):
        # An operation that fails with its connection is told before the connection's own event.
        if self.report["nacked"] or self.report["error"]:
            await until(1, self.failed)
        self.seen.over = True
        self.report["lost"] = self.seen.lost()
        self.report["finalState"], self.report["unanswered"] = self.state(), len(self.seen.unanswered)
        await asyncio.wait([asyncio.create_task(self.ably.close())], timeout=5)
        self.report["closedCleanly"] = self.state() == "closed"


def end(status, why):
    """Says why on stderr, and leaves without a report, whatever else still runs."""
    print(why, file=sys.stderr, flush=True)
    os._exit(status)


async def main(scenario):
    loop = asyncio.get_running_loop()
    try:
        client = Client(scenario)
    except Exception as error:
        end(2, error)

    def read():
        if os.read(0, 1):
            loop.call_soon_threadsafe(client.stop)

    threading.Thread(target=read, daemon=True).start()
    try:
        await client.run()
    except Exception as error:
        client.report["error"] = str(error) or repr(error)
    await client.close()
    print(json.dumps(client.report), flush=True)
    # As the other clients do: nothing that the SDK may have left running is waited for.
    os._exit(0)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        end(2, "usage: client.py SCENARIO")
    what = json.loads(sys.argv[1])
    # An SDK that blocks for good must not keep the test waiting.
    limit = what["seconds"] + 2 * what["settle"] + 55
    watchdog = threading.Timer(limit, end, [3, f"not done after {limit} s"])
    watchdog.daemon = True
    watchdog.start()
    asyncio.run(main(what))
