import { expect, it } from 'vitest';
import { createCors } from '../../../src/ingest/accept/cors.ts';

it.each([
  ['https://*.example.com', 'https://app.example.com', true],
  ['https://*.example.com', 'https://a.b.example.com', true],
  ['https://*.example.com', 'https://example.com', false],
  ['https://*.example.com', 'https://badexample.com', false],
  ['https://*.example.com', 'https://.example.com', false],
  ['https://*.example.com', 'https://app.exampleXcom', false],
  ['https://*.example.com', 'http://app.example.com', false],
  ['https://*.example.com', 'https://app.example.com:8443', false],
  ['https://*.example.com', 'https://app.example.com.evil.org', false],
  ['https://*.example.com', 'https://evil.org/app.example.com', false],
  ['http://*.localhost:3000', 'http://app.localhost:3000', true],
  ['https://app.example.com', 'https://app.example.com', true],
  ['https://app.example.com', 'https://app.example.com:8443', false],
  ['*', 'null', true],
])('%s and the origin %s: %s', (allowed, origin, allows) => {
  const headers = createCors(['https://other.org', allowed]).answerHeaders(origin);
  expect(headers['Access-Control-Allow-Origin']).toBe(allows ? origin : undefined);
});
