/**
 * The TCP proxy of the fault tests, between the store and the engine's door. It passes bytes and looks only at where a
 * request begins; what happens to it is decided at each request by `fate`. A client of HTTP/1.1 has one request at a time
 * on a connection, so what arrives after an answer begins the next one.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';

/** A request and its answer, as the proxy sees them. */
export interface Exchange {
  /** Of its kind, from 0. */
  readonly number: number;
  /** `question`: which BatchIds a table holds. */
  readonly kind: 'insert' | 'question' | 'other';
  /** `query_id` of the URL, '' when there is none. */
  readonly queryId: string;
  /** Breaks both connections now. */
  cut(): void;
}

/**
 * pass: untouched. cut-before: the server sees nothing of it. cut-reply: the server has answered, the client does not hear
 * it. drop: the server has answered, and the client waits for it in vain. holdMs: the answer comes so much later.
 * change: the client gets this in place of the answer, then the connection ends. answer: the same, and the server sees
 * nothing of the request.
 */
export type Fate =
  | 'pass'
  | 'cut-before'
  | 'cut-reply'
  | 'drop'
  | { readonly holdMs: number }
  | { readonly change: (answer: Buffer) => Buffer }
  | { readonly answer: Buffer };

export interface TcpProxy {
  readonly port: number;
  fate: (exchange: Exchange) => Fate;
  /** INSERTs on their way now, and the most there ever were at once. */
  readonly inserts: { readonly running: number; readonly most: number };
  /** Breaks every connection and takes no more, or takes them again. */
  setOpen(open: boolean): void;
  close(): Promise<void>;
}

export async function startTcpProxy(serverPort: () => number): Promise<TcpProxy> {
  const proxy = new FaultProxy(serverPort);
  await proxy.listen();
  return proxy;
}

class FaultProxy implements TcpProxy {
  port = 0;
  fate: (exchange: Exchange) => Fate = () => 'pass';
  readonly inserts = { running: 0, most: 0 };
  readonly #serverPort: () => number;
  readonly #listener: Server;
  readonly #sockets = new Set<Socket>();
  readonly #seen = { insert: 0, question: 0, other: 0 };
  #open = true;

  constructor(serverPort: () => number) {
    this.#serverPort = serverPort;
    this.#listener = createServer((client) => this.#connection(client));
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#listener.listen(0, '127.0.0.1', resolve));
    const address = this.#listener.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    this.port = address.port;
  }

  setOpen(open: boolean): void {
    this.#open = open;
    if (!open) for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.setOpen(false);
    await new Promise((resolve) => this.#listener.close(resolve));
  }

  #connection(client: Socket): void {
    if (!this.#open) {
      client.destroy();
      return;
    }
    const server = connect(this.#serverPort(), '127.0.0.1');
    const passage = new Passage(client, server, (head, cut) => this.#exchange(head, cut));
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        passage.end();
      });
    }
    client.on('data', (chunk: Buffer) => passage.fromClient(chunk));
    server.on('data', (chunk: Buffer) => passage.fromServer(chunk));
  }

  #exchange(head: string, cut: () => void): Begun {
    const kind = kindOf(head);
    const queryId = /[?&]query_id=([^&\s]*)/.exec(head)?.[1] ?? '';
    const fate = this.fate({ number: this.#seen[kind]++, kind, queryId, cut });
    if (kind !== 'insert') return { fate, over: () => undefined };
    this.inserts.most = Math.max(this.inserts.most, ++this.inserts.running);
    let running = true;
    const over = () => {
      if (running) this.inserts.running--;
      running = false;
    };
    return { fate, over };
  }
}

interface Begun {
  readonly fate: Fate;
  /** Called at least once when it is over, however it ends. */
  readonly over: () => void;
}

const NO_EXCHANGE: Begun = { fate: 'pass', over: () => undefined };

/** One connection: what has begun on it, and what becomes of its bytes. */
class Passage {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #begin: (head: string, cut: () => void) => Begun;
  #begun = NO_EXCHANGE;
  #answered = true;
  #answer: Buffer[] = [];

  constructor(client: Socket, server: Socket, begin: (head: string, cut: () => void) => Begun) {
    this.#client = client;
    this.#server = server;
    this.#begin = begin;
  }

  fromClient(chunk: Buffer): void {
    if (this.#answered) {
      this.#begun.over();
      this.#answered = false;
      this.#answer = [];
      this.#begun = this.#begin(chunk.toString('latin1', 0, 8_192), () => this.end());
    }
    const { fate } = this.#begun;
    if (fate === 'cut-before') this.end();
    else if (typeof fate === 'object' && 'answer' in fate) this.#answerWhenSent(chunk, fate);
    else this.#server.write(chunk);
  }

  fromServer(chunk: Buffer): void {
    const { fate } = this.#begun;
    if (fate === 'cut-reply') this.end();
    else if (fate === 'drop') return;
    else if (typeof fate === 'object' && 'change' in fate) this.#change(chunk, fate);
    else if (typeof fate === 'object' && 'holdMs' in fate) setTimeout(() => this.#pass(chunk), fate.holdMs);
    else this.#pass(chunk);
  }

  end(): void {
    this.#begun.over();
    this.#client.destroy();
    this.#server.destroy();
  }

  #pass(chunk: Buffer): void {
    this.#answered = true;
    this.#begun.over();
    this.#client.write(chunk);
  }

  /** The whole answer has to be there before it can be changed; those of INSERTs come in one piece or few. */
  #change(chunk: Buffer, fate: Extract<Fate, { change: unknown }>): void {
    this.#answer.push(chunk);
    const answer = Buffer.concat(this.#answer);
    if (isWhole(answer)) this.#replace(fate.change(answer));
  }

  /** A body in chunks ends with an empty one; bodies of INSERTs are sent so. */
  #answerWhenSent(chunk: Buffer, fate: Extract<Fate, { answer: unknown }>): void {
    const ended = chunk.subarray(-5).equals(LAST_CHUNK);
    if (ended) this.#replace(fate.answer);
  }

  /** Ends it too: a server that saw no request, or another answer, must not meet the next one. */
  #replace(bytes: Buffer): void {
    this.#answered = true;
    this.#client.write(bytes, () => this.end());
  }
}

const LAST_CHUNK = Buffer.from('0\r\n\r\n');

function isWhole(answer: Buffer): boolean {
  const end = answer.indexOf('\r\n\r\n');
  if (end < 0) return false;
  const length = /content-length: *(\d+)/i.exec(answer.toString('latin1', 0, end))?.[1];
  if (length !== undefined) return answer.length >= end + 4 + Number(length);
  return answer.subarray(-5).equals(LAST_CHUNK);
}

/** The query of an INSERT stands in the URL, that of a question in the body, which comes with the head or just after. */
function kindOf(head: string): Exchange['kind'] {
  if (/^POST [^\r\n]*INSERT/.test(head)) return 'insert';
  return /BatchId IN/.test(head) ? 'question' : 'other';
}
