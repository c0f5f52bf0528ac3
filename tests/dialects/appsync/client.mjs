// aws-amplify 6 with a token of an OpenID provider, which is the same for ever. One subscription has the ticks; each
// five seconds another one is started over the same socket.
//
// amplify insists on wss: see lib/browser.mjs.

import { Amplify } from 'aws-amplify';
import { generateClient } from 'aws-amplify/api';
import { decodeJWT } from 'aws-amplify/auth';
import { Hub } from 'aws-amplify/utils';

import '../lib/browser.mjs';
import { again, also, event, opened, tick } from '../lib/client.mjs';

export default function connect(url, token) {
  const endpoint = `${url.replace('ws:', 'https:')}/graphql`;
  const tokenProvider = { getTokens: async () => ({ accessToken: decodeJWT(token) }) };
  Amplify.configure({ API: { GraphQL: { endpoint, defaultAuthMode: 'oidc' } } }, { Auth: { tokenProvider } });
  // A further subscription goes by way of Connecting to Connected: that is no change.
  let state = 'Disconnected';
  Hub.listen('api', ({ payload: { event: name, data } }) => {
    if (name !== 'ConnectionStateChange' || ['Connecting', state].includes(data.connectionState)) return;
    state = data.connectionState;
    event(state);
  });

  const client = generateClient();
  const subscriptions = [];
  function subscribe(name, next) {
    const ticks = client.graphql({ query: 'subscription { tick }' });
    const error = ({ errors }) => event(name, 'error', errors?.[0]);
    subscriptions.push(ticks.subscribe({ next: ({ data }) => next(data.tick), error }));
  }
  subscribe('subscription 1', tick);
  let number = 1;
  const quiet = again(() => {
    const mine = ++number;
    let first = true;
    subscribe(`subscription ${mine}`, (n) => {
      if (first) opened(mine);
      else also(n);
      first = false;
    });
  });
  return () => {
    quiet();
    for (const subscription of subscriptions) subscription.unsubscribe();
    // The socket is closed a second after its last subscription.
    return new Promise((resolve) => setTimeout(resolve, 1500));
  };
}
