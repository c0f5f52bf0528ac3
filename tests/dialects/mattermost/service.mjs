// Mattermost's WebSocket. Mock, after mattermost/mattermost (server: api4/websocket.go, platform/web_conn.go, web_hub.go,
// websocket_router.go).
//
// The token is in the header of the handshake, or else in `authentication_challenge`; after the first the second has no
// answer. When a session has ended, nothing is said and nothing is closed: events stop, pings are answered. Events are
// numbered. Those of the last moments are kept for a client that comes back with the id of its connection, the number
// that it expects, and its token in the handshake, once the old connection is closed. Any other begins a new one: `hello`
// has a new id, and the number 0.

import { randomUUID } from 'node:crypto';

import { WebSocketServer } from 'ws';

const KEPT = 128;

export default function serve(world) {
  const connections = new Map();
  const server = new WebSocketServer({ server: world.server, path: '/api/v4/websocket' });

  const fresh = () => ({ id: randomUUID(), seq: 0, events: [], socket: null });
  const emit = (connection, event, data) => {
    const message = { event, data, broadcast: {}, seq: connection.seq++ };
    connection.events.push(message);
    if (connection.events.length > KEPT) connection.events.shift();
    connection.socket?.send(JSON.stringify(message));
  };
  world.ticks.on('tick', (n) => {
    for (const connection of connections.values()) {
      if (connection.authenticated?.()) emit(connection, 'tick', { n });
    }
  });

  server.on('connection', (socket, request) => {
    const { searchParams } = new URL(request.url, 'http://service');
    const bearer = request.headers.authorization?.replace(/^Bearer /, '');
    let session = bearer && world.check(bearer);
    const expected = Number(searchParams.get('sequence_number'));
    const known = session && connections.get(searchParams.get('connection_id'));
    const isActive = known?.socket?.readyState === socket.OPEN;
    const resumed = known && !isActive && expected >= known.events[0].seq && expected <= known.seq;
    const connection = resumed ? known : fresh();

    const begin = () => {
      let ended = false;
      const cancel = world.atEnd(session, () => (ended = true));
      socket.on('close', cancel);
      connection.authenticated = () => !ended;
      connection.socket = socket;
      connections.set(connection.id, connection);
      world.ledger.connections += 1;
      if (!resumed) return emit(connection, 'hello', { connection_id: connection.id, server_version: '11' });
      for (const message of known.events) if (message.seq >= expected) socket.send(JSON.stringify(message));
    };
    if (session) begin();
    socket.on('message', (text) => {
      const { action, seq, data } = JSON.parse(text);
      const reply = (more = {}) => socket.send(JSON.stringify({ status: 'OK', ...more, seq_reply: seq }));
      if (action === 'authentication_challenge') {
        if (session) return;
        session = world.check(data.token);
        if (!session) return socket.close();
        reply();
        return begin();
      }
      if (action === 'ping') return reply({ data: { text: 'pong' } });
      if (!connection.authenticated?.()) return;
      if (action === 'say') world.ledger.said.push(data.n);
      reply();
    });
  });
}
