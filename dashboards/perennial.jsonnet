// The source of perennial-fleet.json, perennial-sidecar.json and rules.yml:
//
//   jsonnet -S -m dashboards dashboards/perennial.jsonnet
//
// With your own address of the runbook, which alerts and dashboards lead to:
//
//   jsonnet -S -m dashboards --tla-str runbook=https://wiki.example.com/perennial dashboards/perennial.jsonnet
local grafana = import 'source/grafana.libsonnet';
local panels = import 'source/panels.libsonnet';
local rules = import 'source/rules.libsonnet';

function(runbook='deploy/RUNBOOK.md')
  local job(several) = grafana.variable('job', 'perennial_build_info', ['Job', 'The scrape job.'], several);
  local instance(several) =
    grafana.variable('instance', 'perennial_build_info{job=~"$job"}', ['Sidecar', 'Where it is scraped.'], several);
  local route =
    grafana.variable('route', 'perennial_sessions{job=~"$job", instance=~"$instance"}', ['Route', 'As [[route]] names it.'], true);
  local link = { asDropdown: false, icon: 'external link', includeVars: true, keepTime: true, tags: [], targetBlank: false };
  local links = [
    link { type: 'dashboards', title: 'Perennial', tooltip: 'The other dashboard, of the same choice.', tags: ['perennial'] },
    link { type: 'link', title: 'Runbook', tooltip: 'What to do about an alert.', url: runbook, includeVars: false, keepTime: false, targetBlank: true, icon: 'doc' },
  ];
  local json(value) = std.manifestJsonEx(value, ' ') + '\n';

  {
    'perennial-fleet.json': json(grafana.dashboard(
      'perennial-fleet',
      'Perennial: fleet',
      'Are clients kept alive? All sidecars together, by route.',
      [job(true), instance(true), route],
      links,
      panels.fleet,
    )),
    'perennial-sidecar.json': json(grafana.dashboard(
      'perennial-sidecar',
      'Perennial: sidecar',
      'One sidecar in its detail, by route.',
      [job(true), instance(false), route],
      links,
      panels.sidecar,
    )),
    'rules.yml': |||
      # Made from dashboards/source/rules.libsonnet; how, dashboards/perennial.jsonnet says.
    ||| + std.manifestYamlDoc(rules(runbook), quote_keys=false) + '\n',
  }
