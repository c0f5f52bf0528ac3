// SocketCluster, protocol 2. Real: socketcluster-server.
//
// The token comes with `#handshake`, and again with `#authenticate`. One that has ended makes the socket unauthenticated;
// the connection itself lives. The middleware of this application lets only those subscribe and publish who are
// authenticated, and unsubscribes a socket at its token's end.

import socketCluster from 'socketcluster-server';

import { secret } from '../lib/tokens.mjs';

export default function serve(world) {
  const agServer = socketCluster.attach(world.server, { authKey: secret, protocolVersion: 2 });
  agServer.setMiddleware(agServer.MIDDLEWARE_INBOUND, async (stream) => {
    for await (const action of stream) {
      const asks = [action.SUBSCRIBE, action.INVOKE].includes(action.type);
      if (asks && action.socket.authState !== 'authenticated') {
        world.ledger.refused += 1;
        action.block(Object.assign(new Error('not authenticated'), { name: 'NotAuthenticated' }));
      } else {
        action.allow();
      }
    }
  });
  const serveOne = async (socket) => {
    world.ledger.connections += 1;
    (async () => {
      for await (const request of socket.procedure('say')) {
        world.ledger.said.push(request.data);
        request.end(request.data);
      }
    })();
    let cancel = () => {};
    const watch = () => {
      cancel();
      if (!socket.authToken) return;
      cancel = world.atEnd(socket.authToken, () => {
        socket.deauthenticate();
        socket.kickOut('ticks', 'the token has ended');
      });
    };
    watch();
    (async () => {
      for await (const _ of socket.listener('authenticate')) watch();
    })();
    for await (const _ of socket.listener('disconnect')) cancel();
  };
  (async () => {
    for await (const { socket } of agServer.listener('connection')) serveOne(socket);
  })();
  world.ticks.on('tick', (n) => agServer.exchange.transmitPublish('ticks', n));
}
