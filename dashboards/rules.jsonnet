// The source of rules.yml:
//
//   jsonnet -S dashboards/rules.jsonnet > dashboards/rules.yml
//
// With your own address of the runbook, to which the alerts lead:
//
//   jsonnet -S --tla-str runbook=https://wiki.example.com/perennial dashboards/rules.jsonnet > rules.yml
local rules = import 'source/rules.libsonnet';

local heading = |||
  # The rules of Perennial for Prometheus 2.42 or newer. Made from dashboards/source/rules.libsonnet, which says why each
  # is as it is; dashboards/rules.jsonnet says how. What to do about an alert is in %s.
  #
  # A job whose name has "perennial" in it is known to be one of sidecars, even if none of them has ever answered.
|||;

// A rule as YAML; texts are blocks, so that nothing in them has to be quoted.
local block(mark, text, margin) = std.join('\n' + margin, [mark] + std.split(std.rstripChars(text, '\n'), '\n'));
local rule(one) =
  local kept(key) = if std.objectHas(one, key) then ['%s: %s' % [key, one[key]]] else [];
  std.join('\n        ', std.flattenArrays([
    kept('record'),
    kept('alert'),
    ['expr: ' + block('|', one.expr, '          ')],
    kept('for'),
    kept('keep_firing_for'),
    if std.objectHas(one, 'labels') then ['labels: { severity: %s }' % one.labels.severity] else [],
    if std.objectHas(one, 'annotations') then [
      'annotations:',
      '  summary: ' + one.annotations.summary,
      '  description: ' + block('>-', one.annotations.description, '            '),
      '  runbook_url: ' + one.annotations.runbook_url,
    ] else [],
  ]));
local group(one) = std.join('\n      - ', ['  - name: %s\n    rules:' % one.name] + [rule(each) for each in one.rules]);

function(runbook='deploy/RUNBOOK.md')
  heading % runbook + std.join('\n', ['groups:'] + [group(one) for one in rules(runbook).groups])
