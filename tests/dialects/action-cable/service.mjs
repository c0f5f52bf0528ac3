// Action Cable, the protocol actioncable-v1-json. Mock, after rails/rails (actioncable: connection/base.rb,
// connection/subscriptions.rb, server/connections.rb; Rails 8.1) and, for tokens that end, AnyCable.
//
// The token is in the query, where Rails' `connect` looks at it. One that has ended is refused after the upgrade,
// with `disconnect` and the reason `unauthorized`. The service sends `ping` each three seconds; a client that
// hears nothing for six takes its connection for stale. A second `subscribe` of one identifier has no answer.
//
// Assumed, after AnyCable: at the token's end `disconnect` with the reason `token_expired` and `reconnect: false`,
// and a Close. The channel of this service tells its subscriber each number that it was told.

import { WebSocketServer } from 'ws';

const PING = 3000;
const PROTOCOL = 'actioncable-v1-json';

export default function serve(world) {
  const handleProtocols = () => PROTOCOL;
  const server = new WebSocketServer({ server: world.server, path: '/cable', handleProtocols });

  server.on('connection', (socket, request) => {
    const send = (message) => socket.send(JSON.stringify(message));
    const disconnect = (reason) => {
      send({ type: 'disconnect', reason, reconnect: false });
      socket.close(1000);
    };
    const { searchParams } = new URL(request.url, 'http://service');
    const token = world.check(searchParams.get('token'));
    if (!token) return disconnect('unauthorized');
    world.ledger.connections += 1;
    send({ type: 'welcome' });

    const subscribed = new Set();
    const tick = (n) => {
      for (const identifier of subscribed) send({ identifier, message: { tick: n } });
    };
    world.ticks.on('tick', tick);
    const ping = setInterval(() => send({ type: 'ping', message: Math.floor(Date.now() / 1000) }), PING);
    const cancel = world.atEnd(token, () => disconnect('token_expired'));
    socket.on('close', () => {
      cancel();
      clearInterval(ping);
      world.ticks.off('tick', tick);
    });

    socket.on('message', (text) => {
      const { command, identifier, data } = JSON.parse(text);
      if (command === 'unsubscribe') return void subscribed.delete(identifier);
      if (command === 'subscribe') {
        if (subscribed.has(identifier)) return;
        const { channel } = JSON.parse(identifier);
        if (channel !== 'TickChannel') return send({ identifier, type: 'reject_subscription' });
        subscribed.add(identifier);
        return send({ identifier, type: 'confirm_subscription' });
      }
      if (command !== 'message' || !subscribed.has(identifier)) return;
      const { action, n } = JSON.parse(data);
      if (action !== 'say') return;
      world.ledger.said.push(n);
      send({ identifier, message: { heard: n } });
    });
  });
}
