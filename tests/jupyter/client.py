"""A client that speaks the kernel protocol, and knows nothing of tokens that end.

    client.py SERVER PORT TOKEN SECONDS

It starts a kernel at SERVER (a port of this machine), and talks to it through PORT with the one TOKEN that it has: it has
numbers printed, each by an execution of its own, for so many SECONDS. It writes what it saw as one line of JSON.
"""

import json
import sys
import time
import urllib.request
import uuid

import websocket

server, port, token, seconds = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
EVERY = 0.25
PATIENCE = 10


def start_kernel():
    forever = int(time.time() * 1000) + 3_600_000
    url = f"http://127.0.0.1:{server}/api/kernels?token=good-{forever}"
    request = urllib.request.Request(url, data=b'{"name":"python3"}', method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["id"]


def execute(session, code):
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "session": session,
        "username": "somebody",
        "version": "5.3",
        "date": "",
    }
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    return {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}


kernel, session = start_kernel(), uuid.uuid4().hex
channels = f"ws://127.0.0.1:{port}/api/kernels/{kernel}/channels?session_id={session}&token={token}"
connection = websocket.create_connection(channels, timeout=30)
connection.settimeout(0.05)
asked, replied, printed, closed = {}, [], [], None


def listen(until, done=lambda: False):
    """Reads for that long; whether the connection stands."""
    global closed
    while time.monotonic() < until and not done():
        try:
            opcode, data = connection.recv_data()
        except websocket.WebSocketTimeoutException:
            continue
        except (websocket.WebSocketException, OSError) as error:
            closed = str(error)
            return False
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            closed = str(int.from_bytes(data[:2], "big")) if data else "no code"
            return False
        message = json.loads(data)
        number = asked.get(message["parent_header"].get("msg_id"))
        if number is None:
            continue
        if message["msg_type"] == "stream":
            printed.extend(int(line) for line in message["content"]["text"].split())
        elif message["msg_type"] == "execute_reply":
            replied.append(number)
    return True


end, number = time.monotonic() + seconds, 0
while time.monotonic() < end:
    request = execute(session, f"print({number})")
    asked[request["header"]["msg_id"]] = number
    try:
        connection.send(json.dumps(request))
    except (websocket.WebSocketException, OSError) as error:
        closed = str(error)
        break
    number += 1
    if not listen(time.monotonic() + EVERY):
        break
if closed is None:
    listen(time.monotonic() + PATIENCE, lambda: len(replied) == number == len(printed))
print(json.dumps({"asked": number, "replied": replied, "printed": printed, "closed": closed}))
