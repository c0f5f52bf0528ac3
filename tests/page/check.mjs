// Checks the status page in a real browser.
//
//   node check.mjs mock [FILTER]          against the played sidecar, in every scenario
//   node check.mjs URL [FILTER]           against a running one; checks that kill it say so on stdout and wait on stdin
//   node check.mjs shots DIRECTORY        screenshots of every scenario: light, dark, narrow
//
// One line for each check; status 1 if one failed.

import { createInterface } from 'node:readline/promises';
import * as checks from './checks.mjs';
import { launch, open, another } from './look.mjs';
import { Mock } from './mock.mjs';
import { SCENARIOS } from './scenarios.mjs';

/// What the head says of each scenario.
const HEADS = {
  calm: ['good', /^All 40 sessions up\. Next refresh in \d+ min\.$/],
  failing: ['watch', /^Route ably: refresh has failed 4 times; the token lasts \d min more\.$/, /3 of 40 sessions without a connection/, /37 of 40 sessions up\./],
  expired: ['bad', /^Route ably: the token ended 1 min ago; refresh has failed 31 times\.$/, /2 clients were closed/, /2 of 38 sessions up\./],
  unreached: ['bad', /^Route ably: the service has not been reached for 2 min 10 s, tried 5\d\d times: connect to main\.realtime\.ably\.net:443: Connection refused/, /No client is connected\./],
  refused: ['bad', /^Route ably: 214 of 214 clients were turned away in 5 min: 40101 invalid credentials\.$/, /No client is connected\./],
  full: ['bad', /^The limit of 448 sessions is reached: new clients are turned away\.$/, /Route ably: 31 of 479/, /no space left on device\./, /The certificate of the listener ends in 2 d\./, /All 448 sessions up\./],
  outlasted: ['bad', /^Route ably: the service has not been reached for 3 min/, /longer than reconnect/, /0 of 3 sessions up\./],
  draining: ['watch', /^Draining: no new clients, \d+ sessions left\.$/],
  clients: ['watch', /^Route jobs: refresh fails for 1 of 4312 credentials/],
  twelve: ['watch', /^Route chat: refresh has failed twice/, /The store \(redis\) cannot be used/, /The reload 6 min ago was refused.*line 12/, /sessions up/],
  nothing: ['watch', /^Route ably: the first token is being fetched\.$/, /No client is connected\./],
  hostile: ['bad', /^Not ready: route "<img/, /The reload was refused/],
  quick: ['good', /^All 2 sessions up\. Next refresh in (\d s|under 1 s)\.$|^All 2 sessions up\.$/],
};

/// The checks of a sidecar that is there.
const plain = () => [
  ['facts', checks.factsEqual], ['small and strict', checks.smallAndStrict], ['sideways', checks.nothingSideways],
  ['axe, light', (stage) => checks.noViolation(stage, 'light')], ['axe, dark', (stage) => checks.noViolation(stage, 'dark')],
  ['focus', checks.focusOrder], ['stays in place', checks.staysInPlace], ['filters', checks.filters],
];

/// What is checked in which scenario.
function played() {
  const all = [];
  for (const scenario of Object.keys(SCENARIOS)) {
    all.push([scenario, 'head and facts', (stage) => checks.says(stage, HEADS[scenario])]);
  }
  for (const [name, check] of plain().slice(1)) all.push([name.startsWith('axe') ? 'failing' : 'twelve', name, check]);
  for (const [scenario, scheme] of [['expired', 'dark'], ['clients', 'light'], ['hostile', 'light']]) {
    all.push([scenario, `axe, ${scheme}`, (stage) => checks.noViolation(stage, scheme)]);
  }
  all.push(['twelve', 'axe, folded', (stage) => checks.noViolation(stage, 'dark', 'folded')]);
  for (const scenario of ['clients', 'hostile', 'failing']) all.push([scenario, 'sideways', checks.nothingSideways]);
  all.push(['quick', 'runs down', checks.runsDown], ['calm', 'stays in place', checks.staysInPlace], ['hostile', 'is text', checks.hostileIsText]);
  all.push(['calm', 'lost', lost((mock) => mock.lose(), (mock) => mock.serve())]);
  all.push(['failing', 'silent', lost((mock) => (mock.silent = true), (mock) => (mock.silent = false), 6)]);
  all.push(['calm', 'streams end', checks.streamsEnd], ['calm', 'wakes up', checks.wakesUp]);
  return all;
}

const lost = (lose, bring, soon) => (stage) => checks.lostAndFound({ ...stage, soon, lose: () => lose(stage.mock), bring: () => bring(stage.mock) });

async function tried(name, check) {
  const from = Date.now();
  try {
    await check();
    console.log(`ok      ${name}  ${Date.now() - from} ms`);
    return true;
  } catch (error) {
    console.log(`FAILED  ${name}: ${error.message}`);
    return false;
  }
}

/// Several at once: a page mostly waits for its next snapshot.
const LANES = 5;
async function inTurns(jobs, lanes) {
  const left = [...jobs], results = [];
  const lane = async () => {
    for (let job = left.shift(); job; job = left.shift()) results.push(await job());
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return results;
}

async function againstMock(browser, filter) {
  const jobs = played().filter(([scenario, name]) => `${scenario}: ${name}`.includes(filter)).map(([scenario, name, check]) => async () => {
    // Quicker than the real one's second, but where the time between two snapshots is looked at.
    const mock = await new Mock(scenario, scenario === 'quick' ? 1000 : 400).serve();
    const well = await tried(`${scenario}: ${name}`, () => check({ browser, url: mock.url, mock }));
    await mock.end();
    return well;
  });
  return inTurns(jobs, LANES);
}

async function againstSidecar(browser, url, filter) {
  const stage = { browser, url };
  const wanted = ([name]) => name.includes(filter);
  const results = await inTurns([...plain(), ['runs down', checks.runsDown]].filter(wanted).map(([name, check]) => () => tried(name, () => check(stage))), LANES);
  const lines = createInterface({ input: process.stdin });
  const answers = lines[Symbol.asyncIterator]();
  const ask = (word) => async () => {
    console.log(`please  ${word}`);
    await answers.next();
  };
  if (wanted(['lost'])) results.push(await tried('lost', () => checks.lostAndFound({ ...stage, lose: ask('lose'), bring: ask('bring') })));
  lines.close();
  return results;
}

async function shots(browser, directory) {
  for (const scenario of Object.keys(SCENARIOS)) {
    const mock = await new Mock(scenario).serve();
    for (const [name, options] of [['light', { width: 1600 }], ['dark', { width: 1600, scheme: 'dark' }], ['narrow', { width: 360 }], ['narrow-dark', { width: 360, scheme: 'dark' }]]) {
      const it = await open(browser, mock.url, options);
      await another(it);
      await it.page.screenshot({ path: `${directory}/${scenario}-${name}.png`, fullPage: true });
      await it.close();
    }
    await mock.end();
  }
  return [true];
}

const [what, given = ''] = process.argv.slice(2);
if (what === undefined) throw new Error('mock, shots DIRECTORY, or the address of an admin server');
const browser = await launch();
const run = { mock: () => againstMock(browser, given), shots: () => shots(browser, given) }[what] ?? (() => againstSidecar(browser, what, given));
const results = await run();
await browser.close();
const well = results.filter(Boolean).length;
console.log(`${well} passed, ${results.length - well} failed`);
process.exit(well === results.length && well > 0 ? 0 : 1);
