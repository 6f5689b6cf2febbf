/** What is stored of an organization and until when, as the tables say. */
import { z } from '@hono/zod-openapi';
import type { ControlPlane } from '../../accounts/control-plane.ts';
import { retentionProof } from '../../housekeeping/retention-proof.ts';
import { endpoint, json, type Router } from './endpoint.ts';
import { iso, OrgParam } from './shapes.ts';
import type { Telemetry } from './v1.ts';

const Time = z.iso.datetime();
const RetentionShape = z
  .object({
    table: z.string(),
    rows: z.int(),
    bytes: z.int().openapi({ description: 'On the disk, compressed.' }),
    bytesEstimated: z.boolean().openapi({ description: 'In a shared placement: its part of the rows.' }),
    oldest: Time.openapi({ description: 'When the oldest row was received.' }),
    nextDrop: Time.openapi({ description: 'When the next rows go: at most a bucket and a day after their retention.' }),
    rowsOverdue: z.int().openapi({ description: 'Rows whose day has come and that are still there.' }),
  })
  .openapi('Retention');

export function retentionRoutes(router: Router, plane: ControlPlane, telemetry: Telemetry): void {
  endpoint(
    router,
    { access: { kind: 'organization', role: 'viewer', scope: 'organization:read' }, rate: 'read' },
    {
      method: 'get',
      path: '/organizations/{org}/retention',
      tags: ['Plans'],
      summary: 'What is stored, since when and until when',
      description: 'Asked of the tables themselves, now. Tables without a row are left out.',
      request: { params: OrgParam },
      responses: { 200: json(z.object({ items: z.array(RetentionShape) }), 'By table.') },
    },
    async (c) => {
      const { id } = c.get('organization');
      const found = await retentionProof(await telemetry.clickhouse(), telemetry.tables, id, plane.nowMs());
      const items = found.map(({ oldestMs, nextDropMs, ...rest }) => ({
        ...rest,
        oldest: iso(oldestMs),
        nextDrop: iso(nextDropMs),
      }));
      return c.json({ items }, 200);
    },
  );
}
