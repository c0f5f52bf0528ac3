// What a sidecar might say, for the page to be looked at and checked with: the shape of /status.json, played.
//
// Each scenario is a function of the time (seconds since the epoch) and of the time it began; it gives a whole
// snapshot. A played sidecar has been up since `began`, so tokens run down and are refreshed as one looks.

const HOUR = 3600;

/// A number between 0 and 1 that is the same each time: what looks like chance and can be repeated.
function chance(seed) {
  const x = Math.sin(seed * 127.1 + 311.7) * 43758.5453;
  return x - Math.floor(x);
}

const series = (length, each) => Array.from({ length }, (_, at) => each(at));
const outcomes = (ok = 0, failed = 0, rejected = 0) => ({ ok, failed, rejected });
const NO_CLOSES = {
  client: 0, upstream: 0, token_expired: 0, outage: 0, refused: 0, discontinued: 0,
  violation: 0, too_big: 0, slow: 0, drain: 0, operator: 0, internal: 0,
};
const NO_SESSIONS = { opening: 0, live: 0, exchanging: 0, resuming: 0, swapping: 0, parked: 0, closing: 0 };

/// A credential whose token lives for `lifetime` and is replaced a quarter before its end.
function credential(now, { name = '1a2b3c4d', lifetime = HOUR, age = 600, generation = 7, ...over } = {}) {
  const turn = lifetime * 0.75;
  const issued = now - (age % turn);
  return {
    name, state: 'valid', generation, issued, expires: issued + lifetime, last_refresh: issued, took: 0.023,
    next_refresh: issued + turn, fetching: false, refreshes: generation - 1, failures: 0, error: null, ...over,
  };
}

function route(now, { name = 'ably', credentials = [credential(now)], ...over } = {}) {
  return {
    name, path: '/', dialect: 'ably', upstream: 'wss://main.realtime.ably.net', share: 'route',
    credentials_total: credentials.length, credentials,
    sessions: { ...NO_SESSIONS, live: 40 }, oldest_live_expires: credentials[0]?.expires ?? null, uptime: 0.99997,
    refreshes: outcomes(12), closed: { ...NO_CLOSES, client: 4 },
    reauthentications: { exchange: outcomes(480), swap: outcomes(), resume: outcomes(3) },
    messages: { up: 10412, down: 2034877 }, lost: { up: 0, down: 0 }, held_bytes: { up: 0, down: 0 },
    longest_hold: null, fullest_queue: 0, limits: { hold: 10, reconnect: 60, queue: 1048576 },
    refresh_latencies: series(42, (at) => 0.018 + 0.02 * chance(at) + (at === 17 ? 0.09 : 0)),
    exchange_latencies: series(60, (at) => 0.008 + 0.009 * chance(at + 99)),
    holds: series(60, (at) => (at % 23 === 7 ? 0.05 + 0.3 * chance(at) : 0)), ...over,
  };
}

function event(id, at, level, message, route, fields = [], count = 1) {
  return { id, at, level, message, route, fields, count };
}

/// Fifty everyday events, a refresh and its exchanges in turn.
function everyday(now, routes = ['ably']) {
  return series(50, (at) => {
    const name = routes[at % routes.length];
    const when = now - 14 - at * 97;
    if (at % 9 === 5) return event(900 - at, when, 'warn', 'upstream lost', name, [['reason', 'reset by peer']], 3);
    if (at % 2 === 0) return event(900 - at, when, 'info', 'token refreshed', name, [['generation', `${60 - at}`], ['duration_ms', '23.4']]);
    return event(900 - at, when, 'info', 're-authenticated', name, [['method', 'exchange'], ['generation', '7']]);
  });
}

/// What the sidecar finds wrong; each is level, route, text.
function health(...conditions) {
  const found = conditions.map(([level, route, text]) => ({ level, key: text.slice(0, 12), route, text }));
  return { level: found[0]?.level ?? 'healthy', conditions: found };
}

function snapshot(now, began, { routes = [route(now)], ...over } = {}) {
  return {
    health: health(), sessions_limit: 10000, certificates: [],
    version: '0.1.0', now, started: began - 4930, address: '127.0.0.1:7370', ready: true, draining: false, problems: [],
    reload: { successful: true, at: null, error: null }, store: { kind: 'memory', up: true }, rehearsal: true, routes,
    events: everyday(now, routes.map((it) => it.name)), ...over,
  };
}

function calm(now, began) {
  const one = credential(now, { age: now - began + 1980 });
  return snapshot(now, began, { routes: [route(now, { credentials: [one] })] });
}

/// The token endpoint is down: four attempts, a token that still lives for three minutes.
function failing(now, began) {
  const left = Math.max(0, 190 - (now - began));
  const expires = now + left;
  const one = credential(now, {
    state: left > 0 ? 'failing' : 'expired', issued: expires - HOUR, expires, last_refresh: expires - HOUR,
    next_refresh: now + 9, failures: 4, refreshes: 6,
    error: 'the token endpoint auth.example.com:443 cannot be reached: connection refused',
  });
  const failed = series(4, (at) => event(950 - at, now - 3 - 31 * at, 'warn', 'token not refreshed', 'ably',
    [['error', 'connection refused'], ['attempt', `${4 - at}`]]));
  const it = route(now, {
    credentials: [one], refreshes: outcomes(6, 4), sessions: { ...NO_SESSIONS, live: 37, resuming: 3 }, uptime: 0.9912,
    held_bytes: { up: 48211, down: 0 }, longest_hold: 22.4, fullest_queue: 31022, lost: { up: 0, down: 2 },
    closed: { ...NO_CLOSES, client: 4, outage: 1, token_expired: 2 },
    holds: series(60, (at) => (at > 51 ? (at - 50) * 2.1 : 0)),
  });
  const found = health(
    ['degraded', 'ably', `refresh has failed 4 times; the token lasts ${Math.ceil(left / 60)} min more`],
    ['degraded', 'ably', '3 of 40 sessions without a connection to the service, the longest for 22 s of 1 min'],
  );
  return snapshot(now, began, { health: found, routes: [it], events: [...failed, ...everyday(now).slice(4)].sort((a, b) => b.at - a.at) });
}

/// The service is away: the token is fine, and no client gets through.
function unreached(now, began) {
  const away = {
    since: began - 130, last: now - 2, failures: 517 + Math.floor(now - began),
    error: 'connect to main.realtime.ably.net:443: Connection refused (os error 111)',
  };
  const found = health(['unhealthy', 'ably', `the service has not been reached for 2 min 10 s, tried ${away.failures} times: ${away.error}`]);
  return snapshot(now, began, { health: found, routes: [route(now, { sessions: NO_SESSIONS, unreached: away })] });
}

/// A wrong key: the service lets nobody in.
function refused(now, began) {
  const found = health(['unhealthy', 'ably', '214 of 214 clients were turned away in 5 min: 40101 invalid credentials']);
  const it = route(now, { sessions: NO_SESSIONS, closed: { ...NO_CLOSES, refused: 214 } });
  const said = series(3, (at) => event(960 - at, now - 2 - at, 'warn', 'the service ended the session', 'ably', [['reason', '40101 invalid credentials']], 70));
  return snapshot(now, began, { health: found, routes: [it], events: [...said, ...everyday(now).slice(3)] });
}

/// Every place is taken, the disk is full, and the certificate of the listener ends.
function full(now, began) {
  const found = health(
    ['unhealthy', null, 'the limit of 448 sessions is reached: new clients are turned away'],
    ['degraded', 'ably', '31 of 479 clients were turned away in 5 min: a limit was reached'],
    ['degraded', null, 'the store (disk) cannot be used; sessions go on with the tokens in hand: no space left on device'],
    ['degraded', null, 'the certificate of the listener ends in 2 d'],
  );
  const store = { kind: 'disk', up: false, error: 'no space left on device' };
  return snapshot(now, began, { health: found, store, sessions_limit: 448, routes: [route(now, { sessions: { ...NO_SESSIONS, live: 448 } })] });
}

/// An outage that lasts for longer than `reconnect`: clients were closed.
function outlasted(now, began) {
  const found = health(
    ['unhealthy', 'ably', 'the service has not been reached for 3 min, tried 92 times: the service did not answer the handshake in time'],
    ['unhealthy', 'ably', '37 clients were closed in 5 min: the service was away for longer than reconnect (1 min)'],
    ['unhealthy', 'ably', '3 of 3 sessions without a connection to the service, the longest for 44 s of 1 min'],
  );
  const it = route(now, { sessions: { ...NO_SESSIONS, resuming: 3 }, longest_hold: 44, closed: { ...NO_CLOSES, outage: 37 }, uptime: 0.991 });
  return snapshot(now, began, { health: found, routes: [it] });
}

function draining(now, began) {
  const left = Math.max(0, 31 - Math.floor(now - began));
  const it = route(now, {
    sessions: { ...NO_SESSIONS, live: left, closing: left > 0 ? 4 : 0 }, closed: { ...NO_CLOSES, client: 4, drain: 40 - left },
  });
  const problems = ['going away: no new clients are accepted'];
  const said = event(951, now - 9, 'info', 'draining', null, [['sessions', '40'], ['within', '10s']]);
  return snapshot(now, began, { health: health(['degraded', null, `draining: no new clients, ${left} sessions left`]), ready: false, draining: true, problems, routes: [it], events: [said, ...everyday(now).slice(1)] });
}

/// share = "client", with many.
function clients(now, began) {
  const many = series(50, (at) => credential(now, {
    name: (0x10000000 + Math.floor(chance(at + 1) * 0xefffffff)).toString(16), lifetime: 2 * HOUR,
    age: now - began + 5400 - 60 * at, generation: 1 + Math.floor(4 * chance(at + 7)),
    ...(at === 0 ? { state: 'failing', failures: 2, error: 'the service refused the refresh: 401', issued: now - 7129, expires: now + 71, last_refresh: now - 7129, next_refresh: now + 4 } : {}),
    ...(at === 3 ? { fetching: true } : {}),
  })).sort((a, b) => a.expires - b.expires);
  const jobs = route(now, {
    name: 'jobs', path: '/jobs', dialect: 'handshake', upstream: 'wss://jobs.example.com', share: 'client',
    credentials: many, credentials_total: 4312, sessions: { ...NO_SESSIONS, live: 4290, swapping: 14, parked: 8 },
    reauthentications: { exchange: outcomes(), swap: outcomes(9120, 4, 1), resume: outcomes(3) },
    refreshes: outcomes(9140, 11, 1), exchange_latencies: [], lost: { up: 2, down: 0 },
    closed: { ...NO_CLOSES, client: 811, upstream: 12, refused: 2 },
  });
  return snapshot(now, began, { health: health(['degraded', 'jobs', 'refresh fails for 1 of 4312 credentials; the first token lasts 1 min 11 s more']), routes: [jobs], store: { kind: 'redis', up: true } });
}

/// Twelve routes: one fails, one is a plain proxy, one has not been used.
function twelve(now, began) {
  const names = ['ably', 'jobs', 'feed', 'chat', 'prices', 'presence', 'telemetry', 'orders', 'alerts', 'audit', 'plain', 'spare'];
  const routes = names.map((name, at) => route(now, {
    name, path: `/${name}`, upstream: `wss://${name}.example.com`, dialect: at % 3 ? 'handshake' : 'ably',
    credentials: [credential(now, { name: `${at}f2b3c4d`.slice(-8), age: now - began + 211 * (at + 1), generation: at + 2 })],
    sessions: { ...NO_SESSIONS, live: Math.floor(400 * chance(at)) },
  }));
  routes[3].credentials = [credential(now, { state: 'failing', failures: 2, age: now - began + 2400, error: 'the token endpoint answered 503' })];
  Object.assign(routes[10], { dialect: 'none', share: 'none', credentials: [], credentials_total: 0, refresh_latencies: [],
    exchange_latencies: [], reauthentications: { exchange: outcomes(), swap: outcomes(), resume: outcomes() }, refreshes: outcomes() });
  Object.assign(routes[11], { sessions: NO_SESSIONS, uptime: null, exchange_latencies: [], holds: series(60, () => 0) });
  const why = 'perennial.toml, line 12: unknown key `upstraem`; did you mean `upstream`?';
  const found = health(
    ['degraded', 'chat', 'refresh has failed twice; the token lasts 20 min more'],
    ['degraded', null, 'the store (redis) cannot be used; sessions go on with the tokens in hand'],
    ['degraded', null, `the reload 6 min ago was refused, the configuration before it stays: ${why}`],
  );
  return snapshot(now, began, { health: found, routes, reload: { successful: false, at: now - 340, error: 'perennial.toml, line 12: unknown key `upstraem`; did you mean `upstream`?' },
    store: { kind: 'redis', up: false } });
}

/// Names and errors from outside that want to be more than text.
function hostile(now, began) {
  const image = '<img src=x onerror="document.title=1">';
  const script = '"></td><script>document.body.remove()</script>';
  const one = credential(now, { name: `${image}`, state: 'failing', failures: 1, error: `${script} \u202Etxet desrever \u0000 {{7*7}} ${'long'.repeat(120)}` });
  const routes = [
    route(now, { name: image, path: '/"onmouseover="alert(1)', upstream: 'javascript:alert(1)', credentials: [one] }),
    route(now, { name: '__proto__', path: '/&amp;&lt;', credentials: [credential(now, { name: 'constructor' })] }),
  ];
  const events = [
    event(3, now - 1, 'error', image, image, [[script, image], ['\u202E', '\u0007bell']]),
    event(2, now - 2, 'warn', script, '__proto__', [['href', 'javascript:alert(1)']], 99999),
    event(1, now - 3, 'info', 'x'.repeat(4000), null),
  ];
  const found = health(
    ['unhealthy', null, `not ready: route "${image}": ${script}`],
    ['degraded', image, `refresh has failed once: ${script}`],
    ['degraded', null, `the reload was refused: ${script}`],
  );
  return snapshot(now, began, { health: found, routes, events, version: '<b>0.1.0</b>', address: image, ready: false, problems: [`route "${image}": ${script}`],
    reload: { successful: false, at: now - 1, error: script }, store: { kind: script, up: false } });
}

/// It has just begun: no token, no session, no event, nothing measured.
function nothing(now, began) {
  const none = credential(now, { state: 'missing', generation: 0, issued: null, expires: null, last_refresh: null, took: null,
    next_refresh: null, fetching: true, refreshes: 0 });
  const fresh = { sessions: NO_SESSIONS, uptime: null, oldest_live_expires: null, refreshes: outcomes(), closed: NO_CLOSES,
    reauthentications: { exchange: outcomes(), swap: outcomes(), resume: outcomes() }, messages: { up: 0, down: 0 },
    refresh_latencies: [], exchange_latencies: [], holds: series(60, () => 0) };
  const routes = [
    route(now, { ...fresh, credentials: [none] }),
    route(now, { ...fresh, name: 'jobs', path: '/jobs', dialect: 'handshake', share: 'client', credentials: [], credentials_total: 0 }),
  ];
  return snapshot(now, began, { health: health(['degraded', 'ably', 'the first token is being fetched']), started: began, ready: false, problems: ['route "ably": its credential has no valid token'], routes, events: [] });
}

/// A token that lives for ten seconds, as in the demo, and was refreshed in time: the bar can be watched.
function quick(now, began) {
  const turns = Math.floor((now - began) / 7.5);
  const one = credential(now, { lifetime: 10, age: now - began, generation: 1 + turns });
  return snapshot(now, began, { routes: [route(now, { credentials: [one], sessions: { ...NO_SESSIONS, live: 2 } })] });
}

/// Trouble: it expired, and no refresh succeeded.
function expired(now, began) {
  const one = credential(now, { state: 'expired', issued: began - HOUR - 40, expires: began - 40, last_refresh: began - HOUR - 40,
    next_refresh: now + 12, failures: 31, error: 'the token endpoint answered 403: change the secret in /run/secrets/client' });
  const it = route(now, { credentials: [one], refreshes: outcomes(6, 30, 1), sessions: { ...NO_SESSIONS, live: 2, resuming: 36 },
    longest_hold: 41 + Math.floor(now - began) % 15, fullest_queue: 640000, held_bytes: { up: 4048211, down: 31000 }, uptime: 0.82,
    closed: { ...NO_CLOSES, client: 4, token_expired: 2 } });
  const found = health(
    ['unhealthy', 'ably', 'the token ended 1 min ago; refresh has failed 31 times'],
    ['unhealthy', 'ably', '2 clients were closed in 5 min because a token had expired'],
  );
  return snapshot(now, began, { health: found, ready: false, problems: ['route "ably": its credential has no valid token'], routes: [it] });
}

export const SCENARIOS = { calm, failing, unreached, refused, full, outlasted, draining, clients, twelve, hostile, nothing, quick, expired };
