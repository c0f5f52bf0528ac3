// The browser and what it notices: errors, violations of the policy, requests to elsewhere, snapshots as they came.

import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });

/// Longer than anything here takes, shorter than anybody's patience (ms).
export const PATIENCE = 15000;

/// What must be so soon; else the check fails and names what it waited for.
export async function until(what, so) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const it = await so();
    if (it) return it;
    if (Date.now() > end) throw new Error(`this never came: ${what}`);
    await new Promise((again) => setTimeout(again, 20));
  }
}

export function equal(what, is, should) {
  const [a, b] = [JSON.stringify(is), JSON.stringify(should)];
  if (a !== b) throw new Error(`${what}: shown ${a}, should be ${b}`);
}

export function sure(what, so) {
  if (!so) throw new Error(what);
}

/// Runs in the page before anything of its own: remembers what came, what was said and what was refused.
function remember() {
  const seen = { snapshots: [], sentences: [], spoken: [], refused: [] };
  Object.defineProperty(window, 'seen', { value: seen });
  document.addEventListener('securitypolicyviolation', (it) => seen.refused.push(`${it.violatedDirective}: ${it.blockedURI}`));
  const Stream = window.EventSource;
  window.EventSource = class extends Stream {
    constructor(...given) {
      super(...given);
      this.addEventListener('status', ({ data }) => seen.snapshots.push(data));
    }
  };
  document.addEventListener('DOMContentLoaded', () => {
    for (const [id, kept] of [['sentence', seen.sentences], ['spoken', seen.spoken]]) {
      const node = document.getElementById(id);
      new MutationObserver(() => kept.push(node.textContent)).observe(node, { childList: true, characterData: true, subtree: true });
    }
  });
}

/// A page in a browser of its own, with what it noticed in `noticed`.
export async function open(browser, url, { scheme = 'light', width = 1280, height = 900, motion = 'no-preference' } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, reducedMotion: motion });
  const page = await context.newPage();
  const noticed = { errors: [], requests: [], failed: [], bytes: new Map() };
  page.on('console', (it) => ['error', 'warning'].includes(it.type()) && noticed.errors.push(it.text()));
  page.on('pageerror', (it) => noticed.errors.push(String(it.stack)));
  page.on('dialog', (it) => {
    noticed.errors.push(`a dialog: ${it.message()}`);
    it.dismiss();
  });
  page.on('request', (it) => noticed.requests.push(it.url()));
  page.on('response', async (it) => {
    const path = new URL(it.url()).pathname;
    if (['/', '/page.css', '/page.js'].includes(path)) noticed.bytes.set(path, (await it.body()).length);
  });
  await page.addInitScript(remember);
  await page.addInitScript({ path: AXE });
  const answer = await page.goto(url);
  return { page, noticed, policy: answer.headers()['content-security-policy'] ?? '', url, close: () => context.close() };
}

/// Waits for the snapshot after the one that is there.
export async function another({ page }, more = 1) {
  const before = await page.evaluate(() => window.seen.snapshots.length);
  await until('another snapshot', () => page.evaluate((from) => window.seen.snapshots.length >= from, before + more));
}

export const sentence = ({ page }) => page.evaluate(() => document.getElementById('sentence').textContent.replaceAll('\u00a0', ' '));
export const level = ({ page }) => page.evaluate(() => document.documentElement.dataset.level);

/// Only for the page's own parts, none of them refused, and nothing in the console.
export async function quiet({ page, noticed, url }) {
  equal('console', noticed.errors, []);
  equal('refused by the policy', await page.evaluate(() => window.seen.refused), []);
  const home = new URL(url).origin;
  const strange = noticed.requests.filter((it) => !it.startsWith('data:') &&
    !['/', '/page.css', '/page.js', '/status.json', '/events'].some((path) => it === home + path));
  equal('requests to elsewhere', strange, []);
}
