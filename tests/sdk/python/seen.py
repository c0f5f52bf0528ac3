"""What has been seen of one client, as the report that mod.rs reads."""

import os
import time

from ably import AblyException

STARTED = time.monotonic()
PRESENCE_ACTIONS = ["absent", "present", "enter", "leave", "update"]


def at():
    """Milliseconds since the client began."""
    return round((time.monotonic() - STARTED) * 1000)


def code(reason):
    return reason.code if isinstance(reason, AblyException) else None


def number(data):
    try:
        return int(data)
    except (TypeError, ValueError):
        return None


def new_report():
    counts = ["published", "acked", "nacked", "ackedTwice", "unanswered", "received", "fromServer"]
    counts += ["lost", "doubled", "reordered", "authorized"]
    lists = ["connectionEvents", "channelEvents", "presenceEvents", "nacks", "failures"]
    unknown = ["connectionId", "historyItems", "serviceTime", "finalState", "error"]
    return {
        **dict.fromkeys(counts, 0),
        **{name: [] for name in lists},
        **dict.fromkeys(unknown),
        **dict.fromkeys(["connected", "closedCleanly"], False),
    }


class Stream:
    """What of one row of numbers has been seen: one for each channel and each sender."""

    def __init__(self):
        self.seen, self.first, self.highest = set(), None, -1

    def take(self, n, report):
        if n in self.seen:
            report["doubled"] += 1
        elif n < self.highest:
            report["reordered"] += 1
        self.seen.add(n)
        if self.first is None:
            self.first = n
        self.highest = max(self.highest, n)

    def gaps(self):
        return 0 if self.first is None else self.highest - self.first + 1 - len(self.seen)


class Seen:
    """Counts and lists; the SDK calls the functions named `on_…`."""

    def __init__(self):
        self.me = f"python-{os.getpid()}-{time.time_ns()}"
        self.report = new_report()
        self.streams = {}
        # Publishes: which channel, which number.
        self.unanswered, self.acked = set(), set()
        self.over = False
        # Events of the client's own detach and attach that are still to come, by channel.
        self.own_events = {}

    def stream(self, sender, channel):
        return self.streams.setdefault((sender, channel), Stream())

    def missing(self):
        """How many own messages were acknowledged and did not come back."""
        return sum(n not in self.stream("own", channel).seen for channel, n in self.acked)

    def lost(self):
        gaps = (stream.gaps() for (sender, _), stream in self.streams.items() if sender == "server")
        return self.missing() + sum(gaps)

    def on_connection(self, change, connection_id):
        if self.over:
            return
        now = change.current.value
        if self.report["connected"] or now == "failed":
            event = {"event": change.event.value, "from": change.previous.value, "to": now}
            self.report["connectionEvents"].append({**event, "code": code(change.reason), "at": at()})
        if now == "connected" and not self.report["connected"]:
            self.report["connected"] = True
            self.report["connectionId"] = connection_id

    def on_channel(self, name, change):
        before, now = change.previous.value, change.current.value
        # The SDK does not tell the event's name. An `update` is what changes no state.
        event = "update" if before == now else now
        # What it asked for itself is not reported.
        asked = (before, now) == ("detaching", "detached") or not change.reason and event != "update"
        if self.over:
            return
        if asked and self.own_events.get(name, 0) > 0:
            self.own_events[name] -= 1
            return
        seen = {"channel": name, "event": event, "from": before, "to": now, "resumed": change.resumed}
        self.report["channelEvents"].append({**seen, "code": code(change.reason), "at": at()})

    def on_presence(self, name, member):
        if not self.over:
            seen = {"channel": name, "action": PRESENCE_ACTIONS[member.action], "clientId": member.client_id}
            self.report["presenceEvents"].append({**seen, "at": at()})

    def on_message(self, channel, message):
        sender, n = message.name, number(message.data)
        if sender == "own":
            me, _, text = str(message.data).rpartition(" ")
            n = number(text) if me == self.me else None
        counter = {"own": "received", "server": "fromServer"}.get(sender)
        if counter is not None and n is not None:
            self.report[counter] += 1
            self.stream(sender, channel).take(n, self.report)

    def on_answer(self, which, error):
        """The SDK answers each once at most: `ackedTwice` stays 0."""
        self.unanswered.discard(which)
        if error is None:
            self.report["acked"] += 1
            self.acked.add(which)
        else:
            self.report["nacked"] += 1
            self.report["nacks"].append({"code": code(error), "message": str(error)})
