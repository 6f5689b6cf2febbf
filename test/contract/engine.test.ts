import { connectClickHouse } from '../../src/engine/clickhouse.ts';
import { startEngine } from '../engine/engine-fixture.ts';
import { type ContractTarget, engineContract } from './engine.contract.ts';

async function withRunning(target: { url: string; user: string; password: string }, stop: () => Promise<void>) {
  const clickhouse = connectClickHouse({ ...target, database: 'default' });
  const close = async () => {
    await clickhouse.close();
    await stop();
  };
  return { ...target, running: (ids: readonly string[]) => clickhouse.running(ids), close } satisfies ContractTarget;
}

engineContract('the embedded engine behind its door', async () => {
  const engine = await startEngine();
  return await withRunning(engine, () => engine.stop());
});

// A real server: BACKWORK_TEST_CLICKHOUSE_URL=http://user:password@host:8123
const serverUrl = process.env['BACKWORK_TEST_CLICKHOUSE_URL'];
if (serverUrl !== undefined && serverUrl !== '') {
  engineContract('a ClickHouse server', async () => {
    const url = new URL(serverUrl);
    const [user, password] = [decodeURIComponent(url.username), decodeURIComponent(url.password)];
    return await withRunning({ url: url.origin, user, password }, async () => undefined);
  });
}
