// AWS AppSync, GraphQL subscriptions. Mock, after AWS's "Building a real-time WebSocket client" and the client in
// aws-amplify 6 (AWSWebSocketProvider).
//
// The handshake offers `graphql-ws` and `header-` with the base64url of a JSON that has `Authorization`; a token
// that has ended is refused with 401. Each `start` has an authorization of its own; one that has ended is answered
// with `error` UnauthorizedException.
//
// Assumed: at the end of the handshake's token the connection is closed, with a Close without a code. `host` in
// an authorization is not looked at. Not here: mutations (they are HTTP), other kinds of authorization.

import { WebSocketServer } from 'ws';

const KEEP_ALIVE = 10_000;

const authorization = ({ Authorization: shown = '' } = {}) => shown.replace(/^Bearer /, '');

// `header-…` of the offers, decoded.
function offered(request) {
  const offers = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((offer) => offer.trim());
  const encoded = offers.find((offer) => offer.startsWith('header-'))?.slice('header-'.length);
  try {
    return offers.includes('graphql-ws') ? JSON.parse(Buffer.from(encoded, 'base64url')) : undefined;
  } catch {
    return undefined;
  }
}

export default function serve(world) {
  const server = new WebSocketServer({ noServer: true, handleProtocols: () => 'graphql-ws' });

  world.server.on('upgrade', (request, stream, head) => {
    const token = world.check(authorization(offered(request)));
    if (token) return server.handleUpgrade(request, stream, head, (socket) => opened(socket, token));
    const headers = 'x-amzn-ErrorType: UnauthorizedException\r\nConnection: close\r\nContent-Length: 0';
    stream.end(`HTTP/1.1 401 Unauthorized\r\n${headers}\r\n\r\n`);
  });

  function opened(socket, token) {
    world.ledger.connections += 1;
    const started = new Set();
    const send = (message) => socket.send(JSON.stringify(message));
    const tick = (n) => {
      for (const id of started) send({ id, type: 'data', payload: { data: { tick: n } } });
    };
    world.ticks.on('tick', tick);
    const keepAlive = setInterval(() => send({ type: 'ka' }), KEEP_ALIVE);
    const cancel = world.atEnd(token, () => socket.close());
    socket.on('close', () => {
      cancel();
      clearInterval(keepAlive);
      world.ticks.off('tick', tick);
    });

    socket.on('message', (text) => {
      const { type, id, payload } = JSON.parse(text);
      switch (type) {
        case 'connection_init':
          send({ type: 'connection_ack', payload: { connectionTimeoutMs: 300_000 } });
          return send({ type: 'ka' });
        case 'start': {
          const errors = [{ errorType: 'UnauthorizedException', message: 'You are not authorized.' }];
          const good = world.check(authorization(payload.extensions?.authorization));
          if (!good) return send({ id, type: 'error', payload: { errors } });
          started.add(id);
          return send({ id, type: 'start_ack' });
        }
        case 'stop':
          started.delete(id);
          return send({ id, type: 'complete' });
      }
    });
  }
}
