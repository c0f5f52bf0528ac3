// Phoenix channels, protocol version 2.0.0: [join_ref, ref, topic, event, payload]. Mock, after Phoenix 1.8
// (socket.ex, transports/websocket.ex, channel/server.ex).
//
// The token is a parameter of the socket, in the query; connect/3 refuses one that has ended with 403. No event
// refreshes a token. Assumed, as the documentation of Phoenix.Socket.id/1 says for users who log out: at the token's
// end the application broadcasts "disconnect", and the socket is closed with 1000.

import { WebSocketServer } from 'ws';

export default function serve(world) {
  const server = new WebSocketServer({ noServer: true });

  world.server.on('upgrade', (request, stream, head) => {
    const { pathname, searchParams } = new URL(request.url, 'http://service');
    const token = pathname === '/socket/websocket' && world.check(searchParams.get('token'));
    if (token) return server.handleUpgrade(request, stream, head, (socket) => opened(socket, token));
    stream.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  });

  function opened(socket, token) {
    world.ledger.connections += 1;
    const joined = new Map(); // topic → join_ref
    const tick = (n) => {
      if (joined.has('room:lobby')) socket.send(JSON.stringify([null, null, 'room:lobby', 'tick', { n }]));
    };
    world.ticks.on('tick', tick);
    const cancel = world.atEnd(token, () => socket.close(1000));
    socket.on('close', () => (cancel(), world.ticks.off('tick', tick)));
    socket.on('message', (text) => received(socket, joined, JSON.parse(text)));
  }

  function received(socket, joined, [joinRef, ref, topic, event, payload]) {
    const push = (ref, event, payload) => socket.send(JSON.stringify([joinRef, ref, topic, event, payload]));
    const reply = (status, response = {}) => push(ref, 'phx_reply', { status, response });
    if (topic === 'phoenix') return reply('ok');
    if (event === 'phx_join') {
      const before = joined.get(topic);
      if (before) socket.send(JSON.stringify([before, before, topic, 'phx_close', {}]));
      joined.set(topic, joinRef);
      return reply('ok');
    }
    if (!joined.has(topic)) return reply('error', { reason: 'unmatched topic' });
    if (event === 'phx_leave') {
      joined.delete(topic);
      reply('ok');
      return push(joinRef, 'phx_close', {});
    }
    if (event === 'say') {
      world.ledger.said.push(payload.n);
      reply('ok', { n: payload.n });
    }
  }
}
