/**
 * What operators are given (OPERATING.md, alert rules, dashboard) says what the code does: each metric and label that is
 * used is on the page of a service that runs, each metric of the page is explained, each alarm leads to its section.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { METRICS, type MetricDefinition } from '../src/base/metrics-table.ts';
import { startService, type TestService } from './support/service.ts';

const root = join(import.meta.dirname, '..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const operating = read('OPERATING.md');
const rules = read('deploy/prometheus/alerts.yml');
const dashboard = JSON.parse(read('deploy/grafana/backwork.json')) as {
  panels: { id: number; title: string; type: string; targets?: { expr: string }[] }[];
};
/** Labels that Prometheus itself adds. */
const ADDED = ['le', 'job', 'instance'];

let service: TestService;
/** Metrics by their names on the page; of a histogram the three that queries use. */
const onPage = new Map<string, readonly string[]>();

beforeAll(async () => {
  service = await startService({ env: { BACKWORK_WORKERS: '2' } });
  const text = await (await fetch(`http://127.0.0.1:${service.ports.api}/metrics`)).text();
  for (const [, name = '', type] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    const labels = Object.entries<MetricDefinition>(METRICS).find(([one]) => one === name)?.[1].labels ?? [];
    if (type === 'histogram') for (const part of ['bucket', 'sum', 'count']) onPage.set(`${name}_${part}`, labels);
    else onPage.set(name, labels);
  }
});
afterAll(() => service.stopAndRemove());

interface Alert {
  readonly name: string;
  readonly expr: string;
  readonly text: string;
}

/** Of our own rules file, whose form is ours: a value stands on the line of its key, or folded below it. */
function alerts(): Alert[] {
  return rules
    .split(/^ +- alert: /m)
    .slice(1)
    .map((text) => {
      const expr = /^ +expr: (?:>-\n)?([\s\S]*?)(?=^ +(?:for|labels):)/m.exec(text)?.[1] ?? '';
      return { name: text.split('\n')[0] ?? '', expr: expr.trim(), text };
    });
}

/** Metrics of ours in a query, and the labels by which it selects or groups. */
function used(expr: string): { names: string[]; labels: string[] } {
  const names = [...expr.matchAll(/\bbackwork_[a-z_]+/g)].map(([name]) => name);
  const selected = [...expr.matchAll(/\{([^}]*)\}/g)].flatMap(([, pairs = '']) => [
    ...pairs.matchAll(/([a-z_]+)\s*=/g),
  ]);
  const grouped = [...expr.matchAll(/\b(?:by|ignoring|on) \(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(', '));
  return { names, labels: [...selected.map(([, label = '']) => label), ...grouped] };
}

function expectKnown(expr: string, where: string): void {
  const { names, labels } = used(expr);
  const known = new Set(ADDED);
  for (const name of names) {
    expect(onPage.has(name), `${where}: ${name}`).toBe(true);
    for (const label of onPage.get(name) ?? []) known.add(label);
  }
  for (const label of labels) expect(known.has(label), `${where}: label ${label}`).toBe(true);
}

describe('deploy/prometheus/alerts.yml', () => {
  it('asks for nothing that is not on the page of a running service', () => {
    expect(alerts().length).toBeGreaterThan(12);
    for (const { name, expr } of alerts()) {
      expect(expr, name).toMatch(/backwork/);
      expectKnown(expr, name);
    }
  });

  it('says in each summary only labels that its expression keeps', () => {
    for (const { name, expr, text } of alerts()) {
      const { names, labels } = used(expr);
      const kept = new Set([...labels, ...names.flatMap((metric) => onPage.get(metric) ?? [])]);
      for (const [, label = ''] of text.matchAll(/\$labels\.([a-z]+)/g))
        expect(kept.has(label), `${name}: ${label}`).toBe(true);
    }
  });

  it('leads each alarm to its section of OPERATING.md, and each section has its alarm', () => {
    const names = alerts().map(({ name }) => name);
    for (const { name, text } of alerts()) expect(text).toContain(`action: OPERATING.md#${name.toLowerCase()}\n`);
    const section = /^## Alarms\n([\s\S]*?)^## /m.exec(operating)?.[1] ?? '';
    expect([...section.matchAll(/^### (.*)$/gm)].map(([, title]) => title)).toEqual(names);
  });
});

describe('deploy/grafana/backwork.json', () => {
  it('shows nothing that is not on the page of a running service', () => {
    const queries = dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr })));
    expect(queries.length).toBeGreaterThan(30);
    for (const { title, expr } of queries) expectKnown(expr, title);
  });

  it('shows every metric, each panel under an id of its own', () => {
    const shown = new Set(
      dashboard.panels.flatMap(({ targets = [] }) => targets.flatMap(({ expr }) => used(expr).names)),
    );
    const missing = Object.keys(METRICS).filter(
      (name) => ![...shown].some((one) => one === name || one === `${name}_bucket`),
    );
    expect(missing).toEqual([]);
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
  });
});

describe('OPERATING.md', () => {
  it('holds the table of metrics as the metrics themselves say', () => {
    const rows = Object.entries<MetricDefinition>(METRICS).map(
      ([name, { type, labels, help }]) => `| \`${name}\` | ${type} | ${labels.join(', ')} | ${help} |`,
    );
    const table = ['| metric | type | labels | meaning |', '| --- | --- | --- | --- |', ...rows].join('\n');
    expect(/<!-- metrics:[^\n]*-->\n\n([\s\S]*?)\n\n<!-- \/metrics -->/.exec(operating)?.[1]).toBe(table);
  });

  it('names only metrics that exist', () => {
    for (const [name] of operating.matchAll(/\bbackwork_[a-z_]+/g))
      expect(onPage.has(name) || name in METRICS, name).toBe(true);
  });

  it('explains every reason for which a request can be refused', () => {
    const errors = read('src/base/errors.ts');
    const answers =
      /answers to a client that exports[\s\S]*?\/\/ what the telemetry store says/.exec(errors)?.[0] ?? '';
    const codes = [...answers.matchAll(/\| '([a-z-]+)'/g)].map(([, code = '']) => code);
    expect(codes.length).toBeGreaterThan(12);
    const section = /^## Why requests are refused\n([\s\S]*?)^## /m.exec(operating)?.[1] ?? '';
    for (const code of [...codes, 'internal']) expect(section, code).toContain(`\`${code}\``);
  });
});
