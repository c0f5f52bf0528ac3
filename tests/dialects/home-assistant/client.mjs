// home-assistant-js-websocket, with what its documentation calls a long-lived token.

import { callService, createConnection, createLongLivedTokenAuth } from 'home-assistant-js-websocket';

import '../lib/browser.mjs';
import { also, event, talk, tick } from '../lib/client.mjs';

// The library fails with numbers; these are its names for them.
const NAMES = ['', 'cannot connect', 'invalid auth', 'connection lost'];
const named = (error) => NAMES[error] ?? error;

export default async function connect(url, token) {
  const auth = createLongLivedTokenAuth(url.replace('ws', 'http'), token);
  const connection = await createConnection({ auth }).catch((error) => event('not connected:', named(error)));
  if (!connection) return null;
  event('ready');
  connection.addEventListener('ready', () => event('ready'));
  connection.addEventListener('disconnected', () => event('disconnected'));
  connection.addEventListener('reconnect-error', (_, error) => event('reconnect-error', named(error)));

  await connection.subscribeEvents(({ data }) => tick(data.n), 'tick');
  await connection.subscribeEvents(({ data }) => also(data.n), 'beat');
  const failed = (error) => Promise.reject(named(error.code ?? error));
  const say = (n) => callService(connection, 'rig', 'say', { n }).catch(failed);
  const quiet = talk(say);
  return () => {
    quiet();
    connection.close();
  };
}
