// Draws a dashboard's panels as a page, without Grafana: node draw.mjs DASHBOARD PROMETHEUS INSTANCE PAGE
//
// It is no Grafana: it shows what a panel has (title, values, units, thresholds, legend, place), so that a person sees
// what is empty, overlaps, or has the wrong unit. The last forty seconds, a point for each.
import { readFileSync, writeFileSync } from 'node:fs';

const [file, prometheus, instance, page] = process.argv.slice(2);
const dashboard = JSON.parse(readFileSync(file, 'utf8'));
const SPAN = 40, COLUMN = 60, LINE = 38;
const end = Math.floor(Date.now() / 1000);
const variables = { __rate_interval: '5s', __range: '30s', job: 'perennial', instance, route: '.+', datasource: 'Prometheus' };
const palette = ['#73bf69', '#f2cc0c', '#5794f2', '#ff9830', '#b877d9', '#8ab8ff', '#fade2a', '#ffa6b0', '#37872d', '#c4162a', '#6ed0e0'];
const colours = { green: '#73bf69', red: '#f2495c', orange: '#ff9830', blue: '#5794f2', purple: '#b877d9', text: '#ccccdc',
  'super-light-green': '#c8f2c2', 'dark-red': '#c4162a', 'light-red': '#ff7383', yellow: '#fade2a', 'light-blue': '#8ab8ff', 'dark-orange': '#fa6400', transparent: 'none' };
const colour = (name) => colours[name] ?? name;
const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

async function ask(target) {
  const query = target.expr.replace(/\$(\w+)/g, (whole, name) => variables[name] ?? whole);
  const span = target.range ? `_range?start=${end - SPAN}&end=${end}&step=1&` : '?';
  const answer = await (await fetch(`${prometheus}/api/v1/query${span}query=${encodeURIComponent(query)}`)).json();
  if (answer.status !== 'success') throw new Error(`${target.expr}: ${answer.error}`);
  return answer.data.result
    .map(({ metric, value, values }) => ({
      metric,
      refId: target.refId,
      name: target.legendFormat === '__auto' ? '' : target.legendFormat.replace(/\{\{(\w+)\}\}/g, (_, label) => metric[label] ?? ''),
      points: (values ?? [value]).map(([at, number]) => [at, Number(number)]).filter(([, number]) => Number.isFinite(number)),
    }))
    .filter(({ points }) => points.length);
}

// ----- how numbers are written

const short = (value, decimals = 3) => (Number.isInteger(value) ? String(value) : Number(value.toPrecision(decimals)).toString());
function scaled(value, by, names, digits) {
  let at = 0;
  while (Math.abs(value) >= by && at < names.length - 1) [value, at] = [value / by, at + 1];
  return `${short(value, digits)}${names[at]}`;
}
const units = {
  s: (value) => {
    const size = Math.abs(value);
    if (size < 1e-3 && size > 0) return `${short(value * 1e6)} µs`;
    if (size < 1 && size > 0) return `${short(value * 1e3)} ms`;
    return size < 60 ? `${short(value)} s` : size < 3600 ? `${short(value / 60)} mins` : `${short(value / 3600)} hours`;
  },
  percentunit: (value, decimals) => `${decimals === undefined ? short(value * 100, 4) : Number((value * 100).toFixed(decimals))}%`,
  bytes: (value) => scaled(value, 1024, [' B', ' KiB', ' MiB', ' GiB']),
  Bps: (value) => scaled(value, 1000, [' B/s', ' kB/s', ' MB/s']),
  mps: (value) => scaled(value, 1000, [' msg/s', 'K msg/s']),
  mpm: (value) => scaled(value, 1000, [' msg/min', 'K msg/min']),
  cpm: (value) => scaled(value, 1000, [' c/m', 'K c/m']),
  none: (value, decimals = 3) => short(Number(value.toFixed(decimals))),
  short: (value) => scaled(value, 1000, ['', ' K', ' Mil']),
};
function written(value, defaults) {
  const words = defaults.mappings?.find((mapping) => String(value) in mapping.options)?.options[String(value)];
  if (words) return words.text;
  if (!(defaults.unit in units)) throw new Error(`a unit that is not known: ${defaults.unit}`);
  return units[defaults.unit](value, defaults.decimals);
}
const step = (value, { steps }) => colour(steps.findLast((one) => one.value === null || value >= one.value).color);
const fixed = (panel, name) =>
  panel.fieldConfig.overrides
    .find((one) => one.matcher.options === name)
    ?.properties.find((property) => property.id === 'color')?.value.fixedColor;

// ----- the kinds of panels

function stat(panel, series, width, height) {
  const defaults = panel.fieldConfig.defaults;
  const value = series[0].points.at(-1)[1];
  const words = defaults.mappings?.find((mapping) => String(value) in mapping.options)?.options[String(value)];
  const text = panel.options.textMode === 'name' ? series[0].name : written(value, defaults);
  const size = Math.min(48, (width - 16) / (text.length * 0.6));
  return `<text x="${width / 2}" y="${height / 2 + size / 3}" text-anchor="middle" style="font-size:${size}px;fill:${colour(words?.color ?? step(value, defaults.thresholds))}">${escape(text)}</text>`;
}

// Five round numbers at most.
function ticks(low, high) {
  if (high <= low) high = low + 1;
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const by = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const from = Math.floor(low / by) * by;
  return Array.from({ length: 12 }, (_, n) => from + n * by).filter((at, n, all) => n === 0 || all[n - 1] < high);
}

function timeseries(panel, series, width, height) {
  const { defaults } = panel.fieldConfig;
  const { custom, thresholds } = defaults;
  const marks = custom.thresholdsStyle ? thresholds.steps.filter((one) => one.value !== null) : [];
  const stacked = custom.stacking?.mode === 'normal';
  const seconds = Array.from({ length: SPAN + 1 }, (_, n) => end - SPAN + n);
  const below = new Map(seconds.map((at) => [at, 0]));
  const shapes = series.map((one, nth) => {
    const paint = colour(fixed(panel, one.name) ?? palette[nth % palette.length]);
    const points = one.points.map(([at, value]) => {
      const base = stacked ? below.get(at) : 0;
      if (stacked) below.set(at, base + value);
      return [at, base + value, base];
    });
    return { ...one, paint, points };
  });
  const all = shapes.flatMap((one) => one.points.map(([, value]) => value));
  // As in Grafana, a threshold does not stretch the axis.
  const { axisSoftMin = Infinity, axisSoftMax = -Infinity } = custom;
  const low = defaults.min ?? Math.min(...all, axisSoftMin);
  const scale = ticks(low, defaults.max ?? Math.max(...all, axisSoftMax));
  const [floor, ceiling] = [scale[0], scale.at(-1)];
  // The legend wraps, as Grafana's does; beyond a third of the panel that one scrolls.
  const rows = [[]];
  let used = 0;
  for (const { name, paint } of shapes) {
    const wide = 30 + name.length * 6.4;
    if (used + wide > width) [used] = [0, rows.push([])];
    rows.at(-1).push({ name, paint, at: used + 8 });
    used += wide;
  }
  const legend = rows.length * 17 + 8, left = 92, bottom = height - legend - 18;
  const x = (at) => left + ((at - end + SPAN) / SPAN) * (width - left - 12);
  const y = (value) => bottom - ((value - floor) / (ceiling - floor)) * (bottom - 8);
  const grid = scale.map((value) =>
    `<line x1="${left}" x2="${width - 12}" y1="${y(value)}" y2="${y(value)}" stroke="#34343b"/><text x="${left - 6}" y="${y(value) + 4}" text-anchor="end">${escape(written(Number(value.toPrecision(6)), defaults))}</text>`);
  const times = [0, 10, 20, 30, 40].map((n) => `<text x="${x(end - n)}" y="${bottom + 14}" text-anchor="${n ? 'middle' : 'end'}">${n ? `-${n}s` : 'now'}</text>`);
  const lines = marks.filter((one) => one.value >= floor && one.value <= ceiling).map((one) =>
    `<line x1="${left}" x2="${width - 12}" y1="${y(one.value)}" y2="${y(one.value)}" stroke="${colour(one.color === 'transparent' ? thresholds.steps[0].color : one.color)}" stroke-dasharray="8 5" stroke-width="1.5"/>`);
  const drawn = shapes.map(({ points, paint }) => {
    if (custom.drawStyle === 'bars') {
      const bar = ((width - left - 12) / SPAN) * 0.7;
      return points.filter(([, value, base]) => value > base).map(([at, value, base]) => `<rect x="${x(at) - bar / 2}" y="${y(value)}" width="${bar}" height="${y(base) - y(value)}" fill="${paint}" opacity="0.85"/>`).join('');
    }
    const path = points.map(([at, value], n) => `${n ? 'L' : 'M'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join('');
    const back = points.map(([at, , base]) => `L${x(at).toFixed(1)} ${y(Math.max(base, floor)).toFixed(1)}`).reverse().join('');
    return `<path d="${path}${back}Z" fill="${paint}" opacity="${custom.fillOpacity / 100}"/><path d="${path}" fill="none" stroke="${paint}" stroke-width="1.5"/>`;
  });
  const names = rows.flatMap((row, nth) => row.map(({ name, paint, at }) => {
    const line = height - legend + 14 + nth * 17;
    return `<rect x="${at}" y="${line - 6}" width="12" height="4" fill="${paint}"/><text x="${at + 16}" y="${line}">${escape(name)}</text>`;
  }));
  const over = legend > height / 3 ? '<text class="over" x="4" y="14">the legend scrolls</text>' : '';
  return [...grid, ...times, ...drawn, ...lines, ...names, over].join('');
}

function table(panel, series) {
  const by = panel.transformations.find((one) => one.id === 'joinByField').options.byField;
  const wanted = new RegExp(panel.transformations.find((one) => one.id === 'filterFieldsByName').options.include.pattern);
  const rows = new Map();
  for (const { metric, refId, points } of series) {
    const row = rows.get(metric[by]) ?? {};
    Object.assign(row, metric, { [`Value #${refId}`]: points.at(-1)[1] });
    rows.set(metric[by], row);
  }
  const columns = [...new Set([...rows.values()].flatMap(Object.keys))].filter((name) => wanted.test(name));
  const property = (column, id) => panel.fieldConfig.overrides.filter((one) => one.matcher.options === column).flatMap((one) => one.properties).find((one) => one.id === id)?.value;
  const cell = (row, column) => (typeof row[column] === 'number' ? written(row[column], { unit: property(column, 'unit') }) : row[column]);
  const head = columns.map((column) => `<th>${escape(property(column, 'displayName') ?? column)}</th>`).join('');
  const body = [...rows.values()].map((row) => `<tr>${columns.map((column) => `<td>${escape(cell(row, column) ?? '')}</td>`).join('')}</tr>`);
  return `<table><tr>${head}</tr>${body.join('')}</table>`;
}

async function figure(panel) {
  const { x, y, w, h } = panel.gridPos;
  const place = `grid-column:${x + 1}/span ${w};grid-row:${y + 1}/span ${h}`;
  if (panel.type === 'row') return `<h2 style="${place}">${escape(panel.title)}</h2>`;
  const series = (await Promise.all(panel.targets.map(ask))).flat();
  const [width, height] = [w * COLUMN - 10, h * LINE - 38];
  let inside = `<p>${escape(panel.fieldConfig.defaults.noValue ?? 'No data')}</p>`;
  if (series.length && panel.type === 'table') inside = table(panel, series);
  else if (series.length) inside = `<svg width="${width}" height="${height}">${{ stat, timeseries }[panel.type](panel, series, width, height)}</svg>`;
  return `<figure style="${place}" title="${escape(panel.description)}"><figcaption>${escape(panel.title)}</figcaption>${inside}</figure>`;
}

const figures = await Promise.all(dashboard.panels.map(figure));
writeFileSync(page, `<!doctype html><meta charset="utf-8"><title>${escape(dashboard.title)}</title><style>
body{background:#111217;color:#ccccdc;font:13px sans-serif;margin:8px;width:${24 * COLUMN}px}
main{display:grid;grid-template-columns:repeat(24,${COLUMN}px);grid-auto-rows:${LINE}px}
figure{margin:3px;background:#181b1f;border:1px solid #2c2c34;overflow:hidden}figcaption{padding:6px 8px;font-weight:600}
h2{font-size:14px;margin:8px 4px}svg text{font:11px sans-serif;fill:#9a9aa8}
table{width:100%;text-align:left;border-spacing:0 4px;padding:0 8px}.over{fill:red}</style>
<h1>${escape(dashboard.title)}</h1><p>Drawn by tests/dashboards/draw.mjs, not by Grafana.</p><main>${figures.join('\n')}</main>`);
