// GraphQL over WebSocket, the older subprotocol graphql-ws. Real: the server of subscriptions-transport-ws 0.11.
//
// The token is `connectionParams.token`. The library never looks at it again. Assumed, as an application would do it
// with the library's own way to refuse: `connection_error` and Close 1011 at the token's end. The library runs
// `onConnect` again for a second `connection_init`; then the new token counts.

import { execute, subscribe } from 'graphql';
import { SubscriptionServer } from 'subscriptions-transport-ws';

import { roots, schema } from '../lib/graphql.mjs';

export default function serve(world) {
  const { query, mutation, subscription } = roots(world);
  const ends = new WeakMap();
  const options = {
    schema,
    rootValue: { ...query, ...mutation, ...subscription },
    execute,
    subscribe,
    keepAlive: 5000,
    onConnect({ token: shown }, socket) {
      const token = world.check(shown);
      if (!token) throw new Error('Unauthorized'); // The library says connection_error and closes with 1011.
      if (ends.has(socket)) ends.get(socket)();
      else world.ledger.connections += 1;
      const message = { type: 'connection_error', payload: { message: 'Token expired' } };
      const cancel = world.atEnd(token, () => {
        socket.send(JSON.stringify(message));
        socket.close(1011);
      });
      ends.set(socket, cancel);
      socket.once('close', cancel);
      return true;
    },
  };
  SubscriptionServer.create(options, { server: world.server, path: '/graphql' });
}
