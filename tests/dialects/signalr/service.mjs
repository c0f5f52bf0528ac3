// SignalR, JSON protocol. Mock, after dotnet/aspnetcore (HttpConnectionDispatcher, HubConnectionHandler) and its
// HubProtocol.md; ASP.NET does not run here.
//
// The token is a bearer, in the header of `negotiate` and of the WebSocket, or `access_token` in the query. `negotiate`
// gives an id for one connection; a WebSocket without an id begins a new one. Records end with 0x1e.
//
// Assumed, after `CloseOnAuthenticationExpiration`: at the token's end a Close message with `allowReconnect`, and a Close.
// A second connection with a known id is refused with 409. Ticks go to those who have joined.

import { randomUUID } from 'node:crypto';

import { WebSocketServer } from 'ws';

const END = '\x1e';
const PING = 5000;

export default function serve(world) {
  const ids = new Map();
  const server = new WebSocketServer({ noServer: true });
  const bearer = (request, query) =>
    request.headers.authorization?.replace(/^Bearer /, '') ?? query.get('access_token');

  world.server.on('request', (request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://service');
    if (pathname !== '/hub/negotiate') return response.writeHead(404).end();
    if (!world.check(bearer(request, searchParams))) return response.writeHead(401).end();
    const id = randomUUID();
    ids.set(id, 'new');
    const availableTransports = [{ transport: 'WebSockets', transferFormats: ['Text', 'Binary'] }];
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify({ negotiateVersion: 1, connectionId: id, connectionToken: id, availableTransports }));
  });

  world.server.on('upgrade', (request, socket, head) => {
    const { searchParams } = new URL(request.url, 'http://service');
    const refuse = (status) => socket.end(`HTTP/1.1 ${status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
    const token = world.check(bearer(request, searchParams));
    if (!token) return refuse('401 Unauthorized');
    const id = searchParams.get('id');
    if (id && ids.get(id) !== 'new') return refuse(ids.has(id) ? '409 Conflict' : '404 Not Found');
    if (id) ids.set(id, 'taken');
    server.handleUpgrade(request, socket, head, (ws) => talk(ws, token));
  });

  function talk(socket, token) {
    world.ledger.connections += 1;
    const send = (message) => socket.send(JSON.stringify(message) + END);
    let open = false;
    let joined = false;
    const tick = (n) => joined && send({ type: 1, target: 'tick', arguments: [n] });
    world.ticks.on('tick', tick);
    const ping = setInterval(() => open && send({ type: 6 }), PING);
    const cancel = world.atEnd(token, () => {
      send({ type: 7, allowReconnect: true });
      socket.close(1000);
    });
    socket.on('close', () => {
      cancel();
      clearInterval(ping);
      world.ticks.off('tick', tick);
    });
    socket.on('message', (text) => {
      for (const record of String(text).split(END).filter(Boolean)) {
        const { protocol, type, target, invocationId, arguments: [first] = [] } = JSON.parse(record);
        if (!open) {
          if (protocol !== 'json') return socket.close(1002);
          open = true;
          send({});
          continue;
        }
        if (type !== 1) continue;
        if (target === 'Join') joined = true;
        if (target === 'Say') world.ledger.said.push(first);
        if (invocationId) send({ type: 3, invocationId, result: first });
      }
    });
  }
}
