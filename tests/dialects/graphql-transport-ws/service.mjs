// GraphQL over WebSocket, the subprotocol graphql-transport-ws. Real: the server of graphql-ws 6 on `ws`.
//
// The token is `connectionParams.token`. At its end the socket is closed with 4403, as the recipe of graphql-ws
// for tokens that end says. No frame of the protocol refreshes a token.

import { useServer } from 'graphql-ws/use/ws';
import { WebSocketServer } from 'ws';

import { roots, schema } from '../lib/graphql.mjs';

export default function serve(world) {
  const server = new WebSocketServer({ server: world.server, path: '/graphql' });
  const options = {
    schema,
    roots: roots(world),
    onConnect({ connectionParams, extra: { socket } }) {
      const token = world.check(connectionParams?.token);
      if (!token) return false; // The library closes with 4403.
      world.ledger.connections += 1;
      socket.once('close', world.atEnd(token, () => socket.close(4403, 'Forbidden')));
      return true;
    },
  };
  useServer(options, server);
}
