// The client of graphql-ws 6: a subscription, and a mutation each second over the same socket. It retries five times,
// 800 ms apart, with the same connectionParams.

import { createClient } from 'graphql-ws';
import { WebSocket } from 'ws';

import { event, talk, tick } from './client.mjs';

const RETRIES = 5;
const PAUSE = 800;

export function connect(url, connectionParams) {
  const client = createClient({
    url: `${url}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams,
    retryAttempts: RETRIES,
    retryWait: () => new Promise((resolve) => setTimeout(resolve, PAUSE)),
    on: {
      connected: () => event('connected'),
      closed: (close) => event(close),
      error: (error) => event('error', error),
    },
  });
  client.subscribe(
    { query: 'subscription { tick }' },
    {
      next: ({ data, errors }) => (data ? tick(data.tick) : event('subscription error', errors)),
      error: (error) => event('subscription error', error),
      complete: () => event('subscription complete'),
    },
  );
  const say = (n) =>
    new Promise((resolve, reject) => {
      const query = 'mutation Say($n: Int!) { say(n: $n) }';
      const sink = { next: resolve, error: reject, complete: () => reject('no answer') };
      client.subscribe({ query, variables: { n } }, sink);
    });
  const quiet = talk(say);
  return () => {
    quiet();
    return client.dispose();
  };
}
