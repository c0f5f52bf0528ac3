// @microsoft/signalr under Node, with a token for the negotiation and for the WebSocket. It joins a group by an
// invocation, as applications do.

import { HttpTransportType, HubConnectionBuilder, LogLevel } from '@microsoft/signalr';

import { event, talk, tick } from '../lib/client.mjs';

export default async function connect(url, token) {
  const options = { accessTokenFactory: () => token, transport: HttpTransportType.WebSockets };
  const hub = new HubConnectionBuilder()
    .withUrl(`${url.replace(/^ws/, 'http')}/hub`, options)
    .withAutomaticReconnect()
    .configureLogging(LogLevel.None)
    .build();
  hub.on('tick', tick);
  hub.onreconnecting((error) => event('reconnecting', error));
  hub.onreconnected(() => event('reconnected'));
  hub.onclose((error) => event('closed', error));
  await hub.start();
  event('connected');
  await hub.invoke('Join', 'ticks');
  const quiet = talk((n) => hub.invoke('Say', n));
  return () => {
    quiet();
    return hub.stop();
  };
}
