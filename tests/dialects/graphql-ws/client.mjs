// The client of subscriptions-transport-ws 0.11, which comes back by itself with the same connectionParams.

import { SubscriptionClient } from 'subscriptions-transport-ws';
import { WebSocket } from 'ws';

import { event, talk, tick } from '../lib/client.mjs';

export default function connect(url, token) {
  const connectionCallback = (error) => error && event('connection error', error);
  const options = { reconnect: true, connectionParams: { token }, connectionCallback };
  const client = new SubscriptionClient(`${url}/graphql`, options, WebSocket);
  client.onConnected(() => event('connected'));
  client.onReconnected(() => event('reconnected'));
  client.onDisconnected(() => event('disconnected'));
  client.onError((error) => event('error', error));

  client.request({ query: 'subscription { tick }' }).subscribe({
    next: ({ data, errors }) => (data ? tick(data.tick) : event('subscription error', errors)),
    error: (error) => event('subscription error', error),
    complete: () => event('subscription complete'),
  });
  const say = (n) =>
    new Promise((next, error) => {
      const query = 'mutation Say($n: Int!) { say(n: $n) }';
      client.request({ query, variables: { n } }).subscribe({ next, error });
    });
  const quiet = talk(say);
  return () => {
    quiet();
    client.close();
  };
}
