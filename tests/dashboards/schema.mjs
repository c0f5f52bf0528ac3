// Holds dashboards against Grafana's published schema: node schema.mjs FILE…
//
// The schema is TypeScript, so each file becomes a literal that has to satisfy it, and each panel has to satisfy
// the type of its kind as well. The compiler then knows every name, type and word that is wrong. Grafana's own
// types ask for members of an enum where JSON has their words: `Plain` is a type with words in their place. What a
// query and an annotation of Prometheus have beside is not published, and stands here.
import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const kinds = {
  timeseries: 'Panel<Timeseries.Options, Partial<Timeseries.FieldConfig>>',
  stat: 'Panel<Stat.Options>',
  table: 'Panel<Table.Options>',
};
const raw = '@grafana/schema/dist/esm/raw/composable';
const preface = `
import type { AnnotationQuery, Dashboard as Any, DataQuery, Panel as AnyPanel } from '@grafana/schema';
import type * as Timeseries from '${raw}/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
import type * as Stat from '${raw}/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as Table from '${raw}/table/panelcfg/x/TablePanelCfg_types.gen';
type Query = DataQuery & { expr: string; legendFormat?: string; instant?: boolean; range?: boolean; format?: 'table' };
type Annotation = AnnotationQuery<Query> & { titleFormat?: string; textFormat?: string; step?: string };
type Dashboard = Omit<Any, 'annotations'> & { annotations: { list: Annotation[] } };
type Panel<Options, Custom = {}> =
  Omit<AnyPanel<Options, Custom>, 'options' | 'targets'> & { options: Options; targets: Query[] };
type Plain<T> = unknown extends T ? T
  : T extends string ? \`\${T}\`
  : T extends number ? (number extends T ? number : \`\${T}\` extends \`\${infer N extends number}\` ? N : never)
  : T extends boolean | null | undefined ? T
  : T extends (infer U)[] ? Plain<U>[]
  : { [K in keyof T]: Plain<T[K]> };
`;

function source(path) {
  const dashboard = JSON.parse(readFileSync(path, 'utf8'));
  const panels = dashboard.panels.filter((panel) => panel.type !== 'row');
  const unknown = panels.find((panel) => !(panel.type in kinds));
  if (unknown) throw new Error(`${path}: a panel of an unknown kind: ${unknown.type}`);
  // A type of its own for each, so that the words of one are not looked for in another.
  const each = panels.map((panel) => `(${JSON.stringify(panel, null, 1)}) satisfies Plain<${kinds[panel.type]}>;`);
  return `${preface}(${JSON.stringify(dashboard, null, 1)}) satisfies Plain<Dashboard>;\n${each.join('\n')}\n`;
}

const here = dirname(fileURLToPath(import.meta.url));
const files = new Map(process.argv.slice(2).map((path) => [join(here, `${basename(path)}.ts`), source(path)]));
const options = {
  noEmit: true,
  strict: true,
  skipLibCheck: true,
  types: [],
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
};
// The files are not on the disk.
const host = ts.createCompilerHost(options);
const { fileExists, getSourceFile } = host;
host.fileExists = (path) => files.has(path) || fileExists(path);
host.getSourceFile = (path, ...more) =>
  files.has(path) ? ts.createSourceFile(path, files.get(path), options.target) : getSourceFile(path, ...more);
const faults = ts.getPreEmitDiagnostics(ts.createProgram([...files.keys()], options, host));
for (const fault of faults) {
  const line = fault.file?.text.slice(0, fault.start).split('\n').length;
  const said = fault.file?.text.split('\n')[line - 1]?.trim();
  console.log(`${fault.file && basename(fault.file.fileName)}: ${said}: ${ts.flattenDiagnosticMessageText(fault.messageText, ' ')}`);
}
process.exitCode = faults.length ? 1 : 0;
