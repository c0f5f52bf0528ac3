// What a dashboard of Grafana looks like as JSON: panels of four kinds, rows that lay them out, variables.
//
// Only what differs from Grafana's own defaults is written. tests/dashboards holds what comes out
// against Grafana's published schema.
local datasource = { type: 'prometheus', uid: '$datasource' };

local steps(pairs) = { mode: 'absolute', steps: [{ color: pair[0], value: pair[1] } for pair in pairs] };

local panel(kind, title, description, unit) = {
  type: kind,
  title: title,
  description: description,
  datasource: datasource,
  targets: [],
  fieldConfig: { defaults: { unit: unit, thresholds: steps([['text', null]]) }, overrides: [] },
};

local override(name, properties) = {
  matcher: { id: 'byName', options: name },
  properties: [{ id: id, value: properties[id] } for id in std.objectFields(properties)],
};

{
  // Over time.
  lines(title, description, unit):: panel('timeseries', title, description, unit) {
    fieldConfig+: { defaults+: {
      min: 0,
      color: { mode: 'palette-classic' },
      custom: { drawStyle: 'line', lineWidth: 1, fillOpacity: 8, showPoints: 'auto', spanNulls: true },
    } },
    options: {
      legend: { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [] },
      tooltip: { mode: 'multi', sort: 'desc' },
    },
  },

  // Now, as one large figure.
  figure(title, description, unit):: panel('stat', title, description, unit) {
    fieldConfig+: { defaults+: { color: { mode: 'thresholds' } } },
    options: {
      colorMode: 'value',
      graphMode: 'none',
      justifyMode: 'auto',
      orientation: 'auto',
      percentChangeColorMode: 'standard',
      reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
      showPercentChange: false,
      textMode: 'auto',
      wideLayout: true,
    },
  },

  // Now, one row for each value of the label `by`; columns, labels and queries alike, with their titles and units.
  table(title, description, by, columns):: panel('table', title, description, 'short') {
    options: { frameIndex: 0, showHeader: true, cellHeight: 'sm' },
    transformations: [
      { id: 'joinByField', options: { byField: by, mode: 'outer' } },
      { id: 'filterFieldsByName', options: { include: { pattern: '^(%s)$' % std.join('|', std.objectFields(columns)) } } },
    ],
    fieldConfig+: { overrides: [
      override(column, { displayName: columns[column][0], unit: columns[column][1] })
      for column in std.objectFields(columns)
    ] },
  },

  // ----- what is added to a panel

  // A query over time; of now, as one figure; of now, as one column of a table.
  query(expr, legend, how={ range: true }):: { targets+: [{ datasource: datasource, expr: expr, legendFormat: legend } + how] },
  now(expr, legend='__auto'):: $.query(expr, legend, { instant: true, range: false }),
  column(expr):: $.query(expr, '__auto', { instant: true, range: false, format: 'table' }),

  stacked:: { fieldConfig+: { defaults+: { custom+: { stacking: { mode: 'normal', group: 'A' }, fillOpacity: 30 } } } },
  bars:: $.stacked { fieldConfig+: { defaults+: { custom+: { drawStyle: 'bars', fillOpacity: 80, lineWidth: 0 } } } },
  // Colours from a value on; the first is null: from below.
  colours(pairs):: { fieldConfig+: { defaults+: { thresholds: steps(pairs) } } },
  // The same, as lines across the panel.
  marks(pairs):: $.colours(pairs) + { fieldConfig+: { defaults+: { custom+: { thresholdsStyle: { mode: 'dashed' } } } } },
  // What the axis shows in any case.
  shows(low, high):: { fieldConfig+: { defaults+: { custom+: { axisSoftMin: low, axisSoftMax: high } } } },
  up_to(max):: { fieldConfig+: { defaults+: { max: max } } },
  // The axis begins where the values do, and not at 0.
  no_floor:: { fieldConfig+: { defaults+: { min:: null } } },
  decimals(count):: { fieldConfig+: { defaults+: { decimals: count } } },
  // Words in the place of numbers, with their colours.
  words(of):: { fieldConfig+: { defaults+: { mappings: [{ type: 'value', options: {
    [value]: { text: of[value][0], color: of[value][1], index: 0 }
    for value in std.objectFields(of)
  } }] } } },
  // What stands there if no series is there, which is no fault.
  instead_of_nothing(word):: { fieldConfig+: { defaults+: { noValue: word } } },
  // One series in a colour of its own.
  coloured(name, colour):: { fieldConfig+: { overrides+: [override(name, { color: { mode: 'fixed', fixedColor: colour } })] } },
  // One column that leads elsewhere.
  leads(name, title, url):: { fieldConfig+: { overrides+: [override(name, { links: [{ title: title, url: url }] })] } },

  // ----- the dashboard

  // A variable whose values are those of a label of `metric`.
  variable(name, metric, of, several):: {
    type: 'query',
    name: name,
    label: of[0],
    description: of[1],
    datasource: datasource,
    // 1: values of a label.
    query: { qryType: 1, query: 'label_values(%s, %s)' % [metric, name], refId: name },
    refresh: 2,
    sort: 1,
    multi: several,
    includeAll: several,
  } + if several then { allValue: '.+', current: { text: ['All'], value: ['$__all'] } } else {},

  // Rows of panels: { title, height, panels: [[width, panel], …] }; a line is 24 wide.
  dashboard(uid, title, description, variables, links, rows):: {
    local place(done, row) =
      local heading = { type: 'row', title: row.title, collapsed: false, panels: [], gridPos: { x: 0, y: done.y, w: 24, h: 1 } };
      local put(at, one) =
        local wraps = at.x + one[0] > 24;
        local x = if wraps then 0 else at.x;
        local y = if wraps then at.y + row.height else at.y;
        { x: x + one[0], y: y, panels: at.panels + [one[1] { gridPos: { x: x, y: y, w: one[0], h: row.height } }] };
      local filled = std.foldl(put, row.panels, { x: 0, y: done.y + 1, panels: done.panels + [heading] });
      { y: filled.y + row.height, panels: filled.panels },
    local placed = std.foldl(place, rows, { y: 0, panels: [] }).panels,

    uid: uid,
    title: title,
    description: description,
    tags: ['perennial'],
    schemaVersion: 41,
    editable: true,
    graphTooltip: 1,
    refresh: '30s',
    time: { from: 'now-6h', to: 'now' },
    links: links,
    annotations: { list: [{
      name: 'Alerts',
      datasource: datasource,
      enable: true,
      hide: false,
      iconColor: 'red',
      target: { refId: 'Alerts', expr: 'ALERTS{alertname=~"Perennial.+", alertstate="firing"}' },
      titleFormat: '{{alertname}}',
      textFormat: '{{job}} {{instance}} {{route}}',
      step: '60s',
    }] },
    templating: { list: [{
      type: 'datasource',
      name: 'datasource',
      label: 'Prometheus',
      description: 'The Prometheus that scrapes the sidecars.',
      query: 'prometheus',
    }] + variables },
    // Panels are numbered, and the queries of each have letters.
    panels: std.mapWithIndex(function(index, one) one { id: index + 1 } + if std.objectHas(one, 'targets') then {
      targets: std.mapWithIndex(function(nth, query) query { refId: std.char(65 + nth) }, one.targets),
    } else {}, placed),
  },
}
