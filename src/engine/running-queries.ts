/**
 * The door's own list of queries, by the ids that clients give: chDB keeps none. A query is on it from the moment its
 * headers are read until the engine has ended it, waiting or running, whether or not its client is still there: what
 * is not on the list will not be applied any more (R7 of the reliability reference rests on that).
 */
import { exception } from './exception.ts';

export interface RunningQueries {
  /** Puts a query on the list. Throws 216 when its id is there already. */
  add(queryId: string, stop: () => void): { readonly done: () => void };
  ids(): string[];
  /** Stops the query; false when there is none of this id. */
  kill(queryId: string): boolean;
}

export function runningQueries(): RunningQueries {
  const queries = new Map<string, () => void>();
  return {
    add(queryId, stop) {
      if (queries.has(queryId)) {
        const message = `Query with id = ${queryId} is already running`;
        throw exception('QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING', message);
      }
      queries.set(queryId, stop);
      return { done: () => void queries.delete(queryId) };
    },
    ids: () => [...queries.keys()],
    kill(queryId) {
      const stop = queries.get(queryId);
      stop?.();
      return stop !== undefined;
    },
  };
}
