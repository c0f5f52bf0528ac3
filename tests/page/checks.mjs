// What must hold of the page, one check each. `stage` has the browser, the address, and for some the played sidecar.

import { factsAreShown } from './facts.mjs';
import { another, equal, level, open, quiet, sentence, sure, until } from './look.mjs';

/// Opens, waits for a snapshot of the stream, looks, and hears that nothing was wrong meanwhile.
async function within({ browser, url }, options, look) {
  const it = await open(browser, url, options);
  try {
    await another(it);
    await look(it);
    await quiet(it);
  } finally {
    await it.close();
  }
}

export async function factsEqual(stage) {
  await within(stage, {}, async (it) => {
    await factsAreShown(it);
    await another(it);
    await factsAreShown(it);
  });
}

/// The whole is small, and its policy lets nothing in from elsewhere.
export async function smallAndStrict(stage) {
  await within(stage, {}, async ({ noticed, policy }) => {
    const sizes = await until('all three parts', () => noticed.bytes.size === 3 && [...noticed.bytes.values()]);
    const total = sizes.reduce((sum, size) => sum + size);
    sure(`${total} bytes`, total > 1000 && total < 100 * 1024);
    for (const rule of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]) {
      sure(`the policy has ${rule}: ${policy}`, policy.split(';').map((it) => it.trim()).includes(rule));
    }
  });
}

export async function noViolation(stage, scheme, folded) {
  await within(stage, { scheme }, async ({ page }) => {
    if (!folded) await page.evaluate(() => document.querySelectorAll('details').forEach((it) => (it.open = true)));
    await accessible(page);
    if (folded) return;
    await page.setViewportSize({ width: 360, height: 740 });
    await accessible(page);
  });
}

async function accessible(page) {
  const found = await page.evaluate(async () => {
    // Rows are all alike, and it takes its time over each: some of each kind do.
    const like = ['#events tr:nth-child(n+13)', '.credentials tbody tr:nth-child(n+7)', 'article:nth-child(n+5)'].map((it) => [it]);
    const { violations } = await window.axe.run({ include: [['html']], exclude: like }, { resultTypes: ['violations'] });
    return violations.map((it) => `${it.id}: ${it.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 120)} ${node.failureSummary}`).join(' | ')}`);
  });
  equal('axe', found, []);
}

/// 1280 pixels at 200 % are 640; at 400 %, 320.
export async function nothingSideways(stage) {
  await within(stage, {}, async ({ page }) => {
    await page.evaluate(() => document.querySelectorAll('details').forEach((it) => (it.open = true)));
    for (const width of [320, 360, 640, 1000, 1600]) {
      await page.setViewportSize({ width, height: 800 });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      sure(`${wide} pixels wide in a window of ${width}`, wide <= width);
    }
  });
}

/// Tab goes through everything that takes part, in the order of the document, visibly, and out again.
export async function focusOrder(stage) {
  await within(stage, {}, async ({ page }) => {
    const wanted = await page.evaluate(() => [...document.querySelectorAll('a, input, select, summary, [tabindex="0"]')]
      .filter((it) => it.checkVisibility()).map((it, at) => (it.dataset.stop = at)));
    sure('there is something to focus', wanted.length > 5);
    const stops = [];
    for (let presses = 0; presses < wanted.length + 5; presses += 1) {
      await page.keyboard.press('Tab');
      const stop = await page.evaluate(() => {
        const it = document.activeElement;
        if (it === document.body || it.dataset.stop === undefined) return null;
        const { outlineStyle, outlineWidth } = getComputedStyle(it);
        return { at: Number(it.dataset.stop), seen: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 };
      });
      if (stop === null) break;
      sure(`stop ${stop.at} shows its focus`, stop.seen);
      stops.push(stop.at);
    }
    equal('stops', stops, wanted);
  });
}

/// The bar's value runs down from one snapshot to the next, and its end between two.
export async function runsDown(stage) {
  await within(stage, { motion: 'no-preference' }, async (it) => {
    const look = () => it.page.evaluate(() => {
      const bar = document.querySelector('.credential > .bar');
      const { width } = bar.firstElementChild.getBoundingClientRect();
      return { of: window.seen.snapshots.length, value: Number(bar.getAttribute('aria-valuenow')), most: Number(bar.getAttribute('aria-valuemax')), width };
    });
    // Not over a refresh, where it is filled again.
    await until('a value that ran down', async () => {
      const first = await look();
      await another(it);
      const second = await look();
      return second.value < first.value && first.value - second.value < 3;
    });
    await until('an end that moved between two snapshots', async () => {
      const first = await look();
      await it.page.waitForTimeout(200);
      const second = await look();
      return second.of === first.of && second.width < first.width;
    });
  });
  await within(stage, { motion: 'reduce' }, async ({ page }) => {
    const { moving, shown, value } = await page.evaluate(() => {
      const bar = document.querySelector('.credential > .bar'), [fill] = bar.children;
      const shown = fill.getBoundingClientRect().width / bar.getBoundingClientRect().width;
      return { moving: document.getAnimations().length, shown, value: bar.getAttribute('aria-valuenow') / bar.getAttribute('aria-valuemax') };
    });
    equal('what moves for who wants nothing to move', moving, 0);
    sure(`a bar that does not move is where its value is: ${shown} for ${value}`, Math.abs(shown - value) < 0.02);
  });
}

/// What is focused, scrolled to, and selected stays, and so do the nodes.
export async function staysInPlace(stage) {
  await within(stage, { height: 500 }, async (it) => {
    await it.page.evaluate(() => {
      document.getElementById('only-route').focus();
      const name = document.querySelector('article h3');
      getSelection().selectAllChildren(name);
      window.scrollTo(0, 120);
      window.kept = [name, name.firstChild, document.querySelector('.bar'), document.querySelector('.states dd'), document.querySelector('#only-route option:last-child'), document.querySelector('footer')];
    });
    const place = () => it.page.evaluate(() => [document.activeElement.id, String(getSelection()), Math.round(scrollY), window.kept.every((node) => node.isConnected)]);
    const before = await place();
    await another(it, 3);
    equal('focus, selection, scroll and nodes', await place(), before);
    sure('something was selected', before[1].length > 0 && before[2] > 0 && before[3]);
  });
}

export async function filters(stage) {
  await within(stage, {}, async (it) => {
    const { page } = it, rows = () => page.evaluate(() => [...document.querySelectorAll('#events tr')].map((row) => [row.dataset.level, row.querySelector('.of').textContent]));
    const all = await rows();
    await page.getByLabel('Warnings only').check();
    const warnings = await rows();
    equal('warnings', warnings, all.filter(([of]) => of === 'warn' || of === 'error'));
    await another(it);
    equal('warnings, a snapshot later', (await rows()).every(([of]) => of !== 'info'), true);
    await page.getByLabel('Warnings only').uncheck();
    const name = all.map(([, route]) => route).find((route) => route !== '');
    if (name === undefined) return;
    await page.getByLabel('Route', { exact: true }).selectOption(name);
    equal('of one route', [...new Set((await rows()).map(([, route]) => route))], [name]);
  });
}

/// What the head says of a scenario: its level, its sentence, and that the rest is told below; then each fact.
export async function says(stage, [wantedLevel, wanted, ...more]) {
  await within(stage, {}, async (it) => {
    equal('level', await level(it), wantedLevel);
    const said = await sentence(it);
    sure(`"${said}" is like ${wanted}`, wanted.test(said));
    const rest = (await it.page.evaluate(() => document.getElementById('notices').textContent)).replaceAll('\u00a0', ' ');
    for (const one of more) sure(`"${rest}" is like ${one}`, one.test(rest));
    const shape = await it.page.evaluate(() => document.getElementById('mark').getAttribute('href'));
    equal('shape', shape, `#mark-${wantedLevel}`);
    await factsAreShown(it);
    // Read out when the state changes, not as its durations run.
    await another(it, 2);
    const spoken = await it.page.evaluate(() => window.seen.spoken);
    // A machine so busy that the played sidecar is silent for seconds: that is said, and that it is over.
    const silences = spoken.filter((text) => text.startsWith('no word')).length;
    sure(`read out: ${JSON.stringify(spoken)}`, spoken.length >= 1 && spoken.length <= 1 + 2 * silences);
  });
}

/// Names and errors are text: no element, no attribute and no script came of them.
export async function hostileIsText(stage) {
  await within(stage, {}, async ({ page }) => {
    const found = await page.evaluate(() => ({
      images: document.querySelectorAll('main img, header img, footer img').length,
      scripts: document.querySelectorAll('script').length,
      bold: document.querySelectorAll('b').length,
      handlers: [...document.querySelectorAll('*')].filter((it) => [...it.attributes].some(({ name }) => name.startsWith('on') || name === 'style' && it.closest('article') === null)).length,
      links: [...document.querySelectorAll('a')].filter((it) => !/^(\/|#)/.test(it.getAttribute('href'))).length,
      heading: document.querySelector('article h3').textContent,
      shown: document.body.innerText.includes('<script>document.body.remove()</script>'),
      steering: /[\u0000\u0007\u202e]/.test(document.documentElement.textContent),
    }));
    equal('hostile', found, { images: 0, scripts: 1, bold: 0, handlers: 0, links: 0, heading: '<img src=x onerror="document.title=1">', shown: true, steering: false });
  });
}

/// A lost connection is said at once, what is shown looks old, and it comes back by itself.
/// `lose` and `bring` do it to the sidecar; `soon` is how long it may take to be said (s).
export async function lostAndFound({ browser, url, lose, bring, soon = 3 }) {
  const it = await open(browser, url);
  try {
    await another(it);
    const before = await it.page.evaluate(() => getComputedStyle(document.querySelector('article')).backgroundImage);
    await lose();
    await until('no word', async () => (await level(it)) === 'lost');
    const first = await it.page.evaluate(() => window.seen.sentences.find((text) => text.startsWith('No word')));
    const after = Number(first.match(/for (?:under )?(\d+)/)?.[1]);
    sure(`said at last: ${first}`, after < soon);
    sure('it says so', /^No word from the sidecar for /.test(await sentence(it)));
    await until('for 2 s', async () => /for [2-9] s\. What is shown is of \d\d:\d\d:\d\d\./.test(await sentence(it)));
    const old = await it.page.evaluate(() => getComputedStyle(document.querySelector('article')).backgroundImage);
    sure('what is shown looks old', before === 'none' && old !== 'none');
    await accessible(it.page);
    const spoken = await it.page.evaluate(() => window.seen.spoken.filter((text) => text.startsWith('no word')).length);
    equal('read out once', spoken, 1);
    await bring();
    await until('word again', async () => (await level(it)) !== 'lost');
    await another(it);
    await factsAreShown(it);
    equal('refused by the policy', await it.page.evaluate(() => window.seen.refused), []);
  } finally {
    await it.close();
  }
}

/// A page that was asleep itself does not call that a silence of the sidecar's.
export async function wakesUp(stage) {
  await within(stage, {}, async (it) => {
    // No snapshot waits for it when it wakes, as after a closed lid.
    stage.mock.mute = true;
    await it.page.evaluate(() => {
      const end = performance.now() + 4500;
      while (performance.now() < end);
    });
    await it.page.waitForTimeout(300);
    stage.mock.mute = false;
    await another(it, 2);
    equal('said', (await it.page.evaluate(() => window.seen.sentences)).filter((text) => /No word/.test(text)), []);
  });
}

/// Streams end after a quarter of an hour: nobody notices. Where all places are taken, it asks instead.
export async function streamsEnd(stage) {
  const it = await open(stage.browser, stage.url);
  try {
    await another(it);
    stage.mock.endStreams();
    await another(it, 2);
    stage.mock.places = 0;
    stage.mock.endStreams();
    const asOf = () => it.page.evaluate(() => document.getElementById('as-of').textContent);
    const from = await asOf();
    await until('the time goes on without a stream', async () => (await asOf()) !== from);
    const next = await asOf();
    await until('and on', async () => (await asOf()) !== next);
    stage.mock.places = 8;
    await another(it);
    equal('said', (await it.page.evaluate(() => window.seen.sentences)).filter((text) => /No word.* for (under )?[12]\s/.test(text)), []);
  } finally {
    stage.mock.places = 8;
    await it.close();
  }
}
