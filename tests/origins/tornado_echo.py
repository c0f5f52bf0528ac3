"""A WebSocket of tornado, with its usual check: a page of the host that was asked for, and of no other."""

import asyncio
import sys

from tornado import web, websocket


class Echo(websocket.WebSocketHandler):
    def on_message(self, message):
        self.write_message(message)


async def main():
    web.Application([("/ws", Echo)]).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


asyncio.run(main())
