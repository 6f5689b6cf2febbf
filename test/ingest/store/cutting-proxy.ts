/** A TCP proxy before the engine that cuts connections at chosen INSERTs; everything else passes. */
import { connect, createServer, type Socket } from 'node:net';

/**
 * pass: untouched. cutBefore: the engine never sees the INSERT. cutReply: the engine has answered, the store does not
 * hear it. detach: when the store's end is gone, the engine's stays open, so the INSERT goes on. orphan: the same, and
 * the store's end is cut as soon as the whole INSERT was passed on.
 */
export type InsertFate = 'pass' | 'cutBefore' | 'cutReply' | 'detach' | 'orphan';

export interface CuttingProxy {
  readonly url: string;
  /** Asked at each INSERT, with its number from 0. */
  fate: (insert: number) => InsertFate;
  /** INSERTs seen. */
  readonly inserts: () => number;
  close(): Promise<void>;
}

export async function startProxy(enginePort: () => number): Promise<CuttingProxy> {
  const sockets = new Set<Socket>();
  let inserts = 0;
  const proxy = {
    url: '',
    fate: (_insert: number): InsertFate => 'pass',
    inserts: () => inserts,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  const server = createServer((client) => {
    const engine = connect(enginePort(), '127.0.0.1');
    let cutReply = false;
    let detached = false;
    const both = [client, engine];
    for (const socket of both) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        if (!detached || socket === engine) for (const one of both) one.destroy();
      });
    }
    client.on('data', (chunk: Buffer) => {
      const fate = isInsert(chunk) ? proxy.fate(inserts++) : 'pass';
      if (fate === 'cutBefore') {
        client.destroy();
        return;
      }
      cutReply ||= fate === 'cutReply';
      detached ||= fate === 'detach' || fate === 'orphan';
      engine.write(chunk);
      // The body of the tests' INSERTs is small and follows at once.
      if (fate === 'orphan') setTimeout(() => client.destroy(), 100);
    });
    engine.on('data', (chunk: Buffer) => {
      if (cutReply) client.destroy();
      else client.write(chunk);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  proxy.url = `http://127.0.0.1:${address.port}`;
  return proxy;
}

/** The head of a request that inserts: its query stands in the URL. */
function isInsert(chunk: Buffer): boolean {
  return /^POST [^\r\n]*INSERT/.test(chunk.toString('latin1', 0, 4_096));
}
