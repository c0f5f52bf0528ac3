// @mattermost/client with the WebSocket of `ws`, and a token for its challenge.

import mattermost from '@mattermost/client';

import '../lib/browser.mjs';
import { event, talk, tick } from '../lib/client.mjs';

export default function connect(url, token) {
  const client = new mattermost.WebSocketClient();
  client.addFirstConnectListener(() => event('connected'));
  client.addReconnectListener(() => event('connected again'));
  client.addMissedMessageListener(() => event('missed messages'));
  client.addCloseListener((count) => event('closed', count));
  client.addMessageListener(({ event: name, data }) => name === 'tick' && tick(data.n));
  client.initialize(`${url}/api/v4/websocket`, token);
  const say = (n) =>
    new Promise((resolve, reject) => {
      setTimeout(() => reject('no answer'), 5000);
      client.sendMessage('say', { n }, resolve);
    });
  const quiet = talk(say);
  return () => {
    quiet();
    client.close();
  };
}
