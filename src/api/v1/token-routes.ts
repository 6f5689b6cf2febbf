/** Ingest tokens and API keys of an organization. What opens something is shown once, when it is made, and never again. */
import { z } from '@hono/zod-openapi';
import { checkApiScopes } from '../../accounts/api-key.ts';
import type { ControlPlane } from '../../accounts/control-plane.ts';
import { isLive, OVERLAP_MS_DEFAULT, OVERLAP_MS_MAX, parseScopes, SCOPES, type Token } from '../../accounts/token.ts';
import { BackworkError } from '../../base/errors.ts';
import { userOf } from './account-routes.ts';
import { body, endpoint, json, type Router } from './endpoint.ts';
import { actorOf } from './principal.ts';
import {
  ApiKeyShape,
  NewApiKey,
  NewToken,
  OrgParam,
  orgAnd,
  PageQuery,
  page,
  pageOf,
  showApiKey,
  showToken,
  TokenShape,
} from './shapes.ts';

const TOKEN_TAGS = ['Ingest tokens'];
const KEY_TAGS = ['API keys'];
const HOUR_MS = 3_600_000;
const TokenParam = orgAnd('token', 'Id of the token: the 12 characters after `bw_ing_`.');
const KeyParam = orgAnd('key', 'Id of the key: the 12 characters after `bw_api_`.');
const ShownToken = TokenShape.extend({
  token: z.string().nullable().openapi({ description: 'Shown once; null when an Idempotency-Key is sent again.' }),
});
const Rotation = z
  .object({
    overlapHours: z
      .number()
      .min(0)
      .max(OVERLAP_MS_MAX / HOUR_MS)
      .default(OVERLAP_MS_DEFAULT / HOUR_MS)
      .openapi({ description: 'How long the old token stays good; 0 ends it now.' }),
  })
  .strict();
const WRITE = { kind: 'organization', role: 'admin', scope: 'tokens:write' } as const;

export function tokenRoutes(router: Router, plane: ControlPlane): void {
  listTokens(router, plane);
  createToken(router, plane);
  rotateAndRevoke(router, plane);
  listKeys(router, plane);
  createAndRevokeKeys(router, plane);
}

function listTokens(router: Router, plane: ControlPlane): void {
  const show = (token: Token) => showToken(token, isLive(token, plane.nowMs()));
  const access = { kind: 'organization', role: 'member', scope: 'tokens:read' } as const;
  endpoint(
    router,
    { access, rate: 'read' },
    {
      method: 'get',
      path: '/organizations/{org}/tokens',
      tags: TOKEN_TAGS,
      summary: 'Ingest tokens, dead ones too',
      request: { params: OrgParam, query: PageQuery },
      responses: { 200: json(pageOf(TokenShape), 'The oldest first.') },
    },
    async (c) => {
      const tokens = await plane.accounts.tokens.list(c.get('organization').id);
      return c.json(
        page(tokens, ({ id }) => id, show, c.req.valid('query')),
        200,
      );
    },
  );
  endpoint(
    router,
    { access, rate: 'read' },
    {
      method: 'get',
      path: '/organizations/{org}/tokens/{token}',
      tags: TOKEN_TAGS,
      summary: 'An ingest token',
      request: { params: TokenParam },
      responses: { 200: json(TokenShape, 'It.') },
    },
    async (c) => c.json(show(await tokenOf(plane, c.get('organization').id, c.req.valid('param').token)), 200),
  );
}

function createToken(router: Router, plane: ControlPlane): void {
  endpoint(
    router,
    { access: WRITE, rate: 'write', confirmed: true, creates: true },
    {
      method: 'post',
      path: '/organizations/{org}/tokens',
      tags: TOKEN_TAGS,
      summary: 'Make an ingest token',
      description: 'Good at once, in every ingest process. At most two live ones may have the same name.',
      request: { params: OrgParam, body: body(NewToken) },
      responses: { 201: json(ShownToken, 'Made.') },
    },
    async (c) => {
      const { id: orgId } = c.get('organization');
      const { name, scopes, expiresAt } = c.req.valid('json');
      const { token, stored } = plane.newToken('ing');
      const made = await plane.accounts.tokens.create({
        ...{ ...stored, orgId, name, createdAtMs: plane.nowMs() },
        scopes: scopes === undefined ? SCOPES : parseScopes(scopes.join(',')),
        expiresAtMs: expiresAt === undefined ? undefined : Date.parse(expiresAt),
      });
      await plane.audit(orgId, actorOf(c.get('principal')), 'token.create', made.id);
      return c.json({ ...showToken(made, true), token }, 201);
    },
  );
}

function rotateAndRevoke(router: Router, plane: ControlPlane): void {
  endpoint(
    router,
    { access: WRITE, rate: 'write', confirmed: true, creates: true },
    {
      method: 'post',
      path: '/organizations/{org}/tokens/{token}/rotation',
      tags: TOKEN_TAGS,
      summary: 'Put a new token in the place of one',
      request: { params: TokenParam, body: body(Rotation) },
      responses: { 201: json(ShownToken.extend({ oldEndsAt: z.iso.datetime() }), 'The new one.') },
    },
    async (c) => {
      const { id: orgId } = c.get('organization');
      const { id } = await tokenOf(plane, orgId, c.req.valid('param').token);
      const { token, stored } = plane.newToken('ing');
      const when = { overlapMs: c.req.valid('json').overlapHours * HOUR_MS, nowMs: plane.nowMs() };
      const { old, next } = await plane.accounts.tokens.rotate(id, stored, when);
      await plane.audit(orgId, actorOf(c.get('principal')), 'token.rotate', id);
      const oldEndsAt = new Date(old.revokedAtMs ?? old.expiresAtMs ?? when.nowMs).toISOString();
      return c.json({ ...showToken(next, true), token, oldEndsAt }, 201);
    },
  );
  endpoint(
    router,
    { access: WRITE, rate: 'write' },
    {
      method: 'delete',
      path: '/organizations/{org}/tokens/{token}',
      tags: TOKEN_TAGS,
      summary: 'Revoke an ingest token',
      description: 'Within a second no ingest process takes it any more. It stays in the list.',
      request: { params: TokenParam },
      responses: { 200: json(TokenShape, 'Revoked.') },
    },
    async (c) => {
      const { id: orgId } = c.get('organization');
      const { id } = await tokenOf(plane, orgId, c.req.valid('param').token);
      const revoked = await plane.accounts.tokens.revoke(id, plane.nowMs());
      await plane.audit(orgId, actorOf(c.get('principal')), 'token.revoke', id);
      return c.json(showToken(revoked, false), 200);
    },
  );
}

function listKeys(router: Router, plane: ControlPlane): void {
  endpoint(
    router,
    { access: { kind: 'organization', role: 'admin' }, rate: 'read' },
    {
      method: 'get',
      path: '/organizations/{org}/api-keys',
      tags: KEY_TAGS,
      summary: 'API keys, dead ones too',
      request: { params: OrgParam, query: PageQuery },
      responses: { 200: json(pageOf(ApiKeyShape), 'The oldest first.') },
    },
    async (c) => {
      const keys = await plane.accounts.apiKeys.list(c.get('organization').id);
      return c.json(
        page(keys, ({ id }) => id, showApiKey, c.req.valid('query')),
        200,
      );
    },
  );
}

function createAndRevokeKeys(router: Router, plane: ControlPlane): void {
  const { apiKeys } = plane.accounts;
  endpoint(
    router,
    { access: { kind: 'organization', role: 'admin' }, rate: 'write', confirmed: true, creates: true },
    {
      method: 'post',
      path: '/organizations/{org}/api-keys',
      tags: KEY_TAGS,
      summary: 'Make an API key for a script',
      description: 'It belongs to the organization and goes on when you leave. A key cannot make keys.',
      request: { params: OrgParam, body: body(NewApiKey) },
      responses: { 201: json(ApiKeyShape.extend({ key: z.string().nullable() }), 'Made; the key is shown once.') },
    },
    async (c) => {
      const { id: orgId } = c.get('organization');
      const { name, scopes, expiresAt } = c.req.valid('json');
      const { token, stored } = plane.newToken('api');
      const made = await apiKeys.create({
        ...{ ...stored, orgId, name, createdBy: userOf(c).id, createdAtMs: plane.nowMs() },
        scopes: checkApiScopes(scopes),
        expiresAtMs: expiresAt === undefined ? undefined : Date.parse(expiresAt),
      });
      await plane.audit(orgId, userOf(c).id, 'api-key.create', made.id);
      return c.json({ ...showApiKey(made), key: token }, 201);
    },
  );
  endpoint(
    router,
    { access: { kind: 'organization', role: 'admin' }, rate: 'write' },
    {
      method: 'delete',
      path: '/organizations/{org}/api-keys/{key}',
      tags: KEY_TAGS,
      summary: 'Revoke an API key',
      request: { params: KeyParam },
      responses: { 200: json(ApiKeyShape, 'Revoked.') },
    },
    async (c) => {
      const { id: orgId } = c.get('organization');
      const revoked = await apiKeys.revoke(orgId, c.req.valid('param').key, plane.nowMs());
      await plane.audit(orgId, userOf(c).id, 'api-key.revoke', revoked.id);
      return c.json(showApiKey(revoked), 200);
    },
  );
}

/** One of another organization is not there. */
async function tokenOf(plane: ControlPlane, orgId: string, id: string): Promise<Token> {
  const token = await plane.accounts.tokens.find(id);
  if (token?.orgId !== orgId) throw new BackworkError('not-found', 'there is no such token');
  return token;
}
