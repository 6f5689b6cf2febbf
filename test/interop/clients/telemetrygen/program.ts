/**
 * telemetrygen's program: one call for the traces, one for the logs and one for each kind of metric, with the same
 * resource. An export that fails ends telemetrygen with an error (of traces it is only logged, and the rows are missing).
 */
import { spawnSync } from 'node:child_process';
import { CALLS } from './known-calls.ts';

const [binary = ''] = process.argv.slice(2);
const environment = (name: string): string => process.env[`INTEROP_${name}`] ?? '';

const COMMON = [
  '--otlp-endpoint',
  new URL(environment('ENDPOINT')).host,
  '--otlp-insecure',
  '--otlp-header',
  `authorization="Bearer ${environment('TOKEN')}"`,
  '--otlp-attributes',
  `interop.run="${environment('RUN')}"`,
  ...(environment('PROTOCOL') === 'grpc' ? [] : ['--otlp-http']),
];

if (environment('MODE') !== 'once') throw new Error(`telemetrygen has no mode ${environment('MODE')}`);
for (const call of CALLS) {
  const { status, error } = spawnSync(binary, [...call, ...COMMON], { stdio: ['ignore', 2, 2] });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`telemetrygen ${call[0]} ended with ${status}`);
}
console.log('{}');
