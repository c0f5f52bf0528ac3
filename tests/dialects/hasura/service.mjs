// Hasura GraphQL Engine 2.30 and newer, graphql-transport-ws. Mock: the server of graphql-ws 6, which closes as
// Hasura's source says (WSServerApp.hs, WebSocket.hs; hasura/graphql-engine#9765).
//
// The token is `connectionParams.headers.Authorization`. A token that has ended is refused with 4400, which
// graphql-ws takes for fatal. At the end of a token Hasura ends the handler, and the connection with it, without a
// Close of its own; assumed here: the TCP connection ends.

import { useServer } from 'graphql-ws/use/ws';
import { WebSocketServer } from 'ws';

import { roots, schema } from '../lib/graphql.mjs';

export default function serve(world) {
  const server = new WebSocketServer({ server: world.server, path: '/v1/graphql' });
  const options = {
    schema,
    roots: roots(world),
    onConnect({ connectionParams, extra: { socket } }) {
      const { Authorization: shown = '' } = connectionParams?.headers ?? {};
      const token = world.check(shown.replace(/^Bearer /, ''));
      if (!token) {
        socket.close(4400, 'Could not verify JWT: JWTExpired');
        return false;
      }
      world.ledger.connections += 1;
      socket.once('close', world.atEnd(token, () => socket.terminate()));
      return true;
    },
  };
  useServer(options, server);
}
