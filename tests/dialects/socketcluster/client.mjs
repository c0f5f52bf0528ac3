// socketcluster-client, with a token that it shows at each handshake.

import socketCluster from 'socketcluster-client';
import { WebSocket } from 'ws';

import { event, talk, tick } from '../lib/client.mjs';

export default function connect(url, token) {
  const { hostname, port } = new URL(url);
  // Where a browser would keep the token.
  const authEngine = {
    async saveToken() {},
    async removeToken() {
      event('token removed');
    },
    async loadToken() {
      return token;
    },
  };
  const socket = socketCluster.create({ hostname, port, authEngine, protocolVersion: 2, wsOptions: {}, WebSocket });
  const listen = async (name, what) => {
    for await (const it of socket.listener(name)) event(what, it?.reason ?? it?.error);
  };
  listen('connect', 'connected');
  listen('disconnect', 'disconnected');
  listen('deauthenticate', 'deauthenticated');
  listen('error', 'error');
  const channel = socket.subscribe('ticks');
  (async () => {
    for await (const n of channel) tick(n);
  })();
  (async () => {
    for await (const { message } of channel.listener('kickOut')) event('kicked out', message);
  })();
  (async () => {
    for await (const { error } of channel.listener('subscribeFail')) event('subscribe failed', error);
  })();
  const quiet = talk((n) => socket.invoke('say', n));
  return () => {
    quiet();
    socket.disconnect();
  };
}
