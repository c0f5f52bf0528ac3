// @jupyterlab/services: a kernel that is started over HTTP, and its connection. Each five seconds the running kernels
// are asked for over HTTP, and a second session of the kernel is opened and closed, with the same token.

import { KernelAPI, KernelManager, ServerConnection } from '@jupyterlab/services';
import { WebSocket } from 'ws';

import { again, event, opened, talk, tick } from '../lib/client.mjs';

const TICKS = `
import os, sys, threading, time
def tick():
    n = 0
    while True:
        n += 1
        sys.stdout.write(f'tick {n}\\n')
        sys.stdout.flush()
        time.sleep(0.2)
threading.Thread(target=tick, daemon=True).start()
def say(n):
    with open(os.environ['RIG_SAID'], 'a') as said:
        said.write(f'{n}\\n')
`;

export default async function connect(url, token) {
  const baseUrl = `${url.replace('ws:', 'http:')}/`;
  const settings = ServerConnection.makeSettings({ baseUrl, wsUrl: `${url}/`, token, appendToken: true, WebSocket });
  const model = await KernelAPI.startNew({ name: 'python3' }, settings);
  const manager = new KernelManager({ serverSettings: settings, standby: 'never' });
  const kernel = manager.connectTo({ model });
  kernel.connectionStatusChanged.connect((_, status) => event(status));
  let rest = '';
  kernel.iopubMessage.connect((_, { header, content }) => {
    if (header.msg_type !== 'stream') return;
    const lines = (rest + content.text).split('\n');
    rest = lines.pop();
    for (const line of lines) tick(Number(line.replace('tick ', '')));
  });
  const run = async (code) => {
    const { content } = await kernel.requestExecute({ code }).done;
    if (content.status !== 'ok') throw new Error(content.evalue);
  };
  await kernel.info;
  await run(TICKS);

  let number = 1;
  const quiet = [
    talk((n) => run(`say(${n})`)),
    again(async () => {
      const mine = ++number;
      try {
        await KernelAPI.listRunning(settings);
        const second = manager.connectTo({ model });
        await second.info;
        second.dispose();
        opened(mine);
      } catch (error) {
        event(`kernel ${mine}`, error);
      }
    }),
  ];
  return async () => {
    for (const stop of quiet) stop();
    await KernelAPI.shutdownKernel(model.id, settings).catch(() => {});
    kernel.dispose();
  };
}
