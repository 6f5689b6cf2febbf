/** Listening, with the one error an operator meets every day in our words. */
import type { Server } from 'node:net';
import { BackworkError } from '../../base/errors.ts';
import type { ListenAddress } from './accept-server.ts';

/** Resolves with the port. Throws BackworkError `port-busy`; other errors as Node gives them. */
export function listen(server: Server, address: ListenAddress, what: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void => {
      const { host, port } = address;
      const busy = error.code === 'EADDRINUSE';
      reject(busy ? new BackworkError('port-busy', `${host}:${port} (${what}) is in use`, { cause: error }) : error);
    };
    server.once('error', failed);
    server.listen({ host: address.host, port: address.port, reusePort: address.reusePort }, () => {
      server.removeListener('error', failed);
      const bound = server.address();
      resolve(typeof bound === 'object' && bound !== null ? bound.port : address.port);
    });
  });
}
