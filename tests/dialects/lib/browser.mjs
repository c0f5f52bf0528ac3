// The global WebSocket that libraries for browsers look for: that of `ws`, which takes no options then.
// Some insist on wss, whatever they are told; it takes the TLS off again.

import { WebSocket } from 'ws';

globalThis.WebSocket = class extends WebSocket {
  constructor(url, protocols) {
    super(String(url).replace(/^wss:/, 'ws:'), protocols);
  }
};
