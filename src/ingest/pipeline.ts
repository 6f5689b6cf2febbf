/**
 * The path of one request, as a list of steps, each with its exit:
 *
 *   accept ──► open:   authenticate   token → tenant            401, 403, 503 when accounts are away
 *              │       admit          bytes in flight, spool    503, retryable, before the body is read
 *              ▼
 *   accept ──► submit: read JSON      JSON → protobuf           400
 *              │       convert        OTLP → columns            400; single items rejected and counted
 *              │       spool          record, fdatasync         503
 *              ▼
 *   accept ◄── answer                 200 / OK only now: the record is synced
 *
 * Converting and appending happen without an await in between, so a record and its rows always belong to the same segment.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { BODY_BYTES_UNKNOWN, ERROR_MESSAGE_BYTES_MAX, SLICE_BYTES, SLICED_BODY_BYTES } from '../base/limits.ts';
import { expiresOnDay } from '../tables/retention.ts';
import type { TokenTable } from './authenticate/token-table.ts';
import { ByteBudget, type Reservation } from './byte-budget.ts';
import type { BuilderSet } from './convert/builders.ts';
import { ConverterPool, convertNow, convertSliced } from './convert/convert.ts';
import { type JsonConverted, jsonToProtobuf, jsonToProtobufInSlices } from './convert/otlp-json.ts';
import type {
  Admission,
  BodyEncoding,
  ConvertResult,
  ExportAnswer,
  RecordHeader,
  RequestHead,
  RequestPath,
  RowOrigin,
  SegmentRows,
  Tenant,
} from './messages.ts';
import { type StoredBody, storeBody, storeLargeBody } from './spool/body.ts';
import type { Spool } from './spool/writer.ts';

export interface PipelineDeps {
  readonly tokens: TokenTable;
  readonly spool: Spool<BuilderSet>;
  /** Bodies in memory, over all requests of this process. */
  readonly inFlightBytesMax: number;
  /** One body, as the ports let it in; of JSON also as protobuf. */
  readonly bodyBytesMax: number;
  /** Wall clock: ReceivedAt, and from it the expiry. */
  readonly nowMs: () => number;
}

/** The RequestPath of one ingest process. */
export function createPipeline(deps: PipelineDeps): RequestPath {
  const inFlight = new ByteBudget(deps.inFlightBytesMax);
  const converters = new ConverterPool();
  return {
    open(head: RequestHead): Admission | Promise<Admission> {
      const tenant = deps.tokens.tenant(head.authorization, head.signal);
      if (tenant instanceof Promise) return tenant.then((found) => admit(found, head));
      return admit(tenant, head);
    },
  };

  function admit(tenant: Tenant, head: RequestHead): Admission {
    const bytes = head.bodyBytesDeclared ?? BODY_BYTES_UNKNOWN;
    const refusal = deps.spool.refusal(bytes);
    if (refusal !== undefined) throw refusal;
    const reservation = inFlight.open(bytes);
    return new AdmittedRequest(deps, inFlight, converters, tenant, head, reservation);
  }
}

class AdmittedRequest implements Admission {
  readonly tenant: Tenant;
  readonly #deps: PipelineDeps;
  readonly #inFlight: ByteBudget;
  readonly #converters: ConverterPool;
  readonly #head: RequestHead;
  readonly #reservation: Reservation;
  #answered: (() => void) | undefined;

  constructor(
    deps: PipelineDeps,
    inFlight: ByteBudget,
    converters: ConverterPool,
    tenant: Tenant,
    head: RequestHead,
    reservation: Reservation,
  ) {
    this.#deps = deps;
    this.#inFlight = inFlight;
    this.#converters = converters;
    this.tenant = tenant;
    this.#head = head;
    this.#reservation = reservation;
  }

  reserve(bytes: number): void {
    this.#inFlight.hold(this.#reservation, bytes);
  }

  release(answerSent: boolean): void {
    this.#inFlight.close(this.#reservation);
    if (answerSent) this.#answered?.();
  }

  async submit(body: Buffer, encoding: BodyEncoding): Promise<ExportAnswer> {
    const read = encoding === 'json' ? await this.#readJson(body) : { protobuf: body, rejected: 0, message: '' };
    const refusal = this.#deps.spool.refusal(read.protobuf.length);
    if (refusal !== undefined) throw refusal;
    const origin = this.#origin();
    const result = await this.#makeDurable(read.protobuf, origin, read.rejected, body.length);
    // Where the JSON reader left out every item, that the converter found none is no news.
    const nothingLeft = read.rejected > 0 && result.accepted + result.rejected === 0;
    return {
      rejected: result.rejected + read.rejected,
      message: nothingLeft ? read.message : joinMessages(read.message, result.message),
    };
  }

  async #readJson(body: Buffer): Promise<JsonConverted> {
    const { signal } = this.#head;
    const { bodyBytesMax } = this.#deps;
    if (body.length <= SLICED_BODY_BYTES) return jsonToProtobuf(signal, body, bodyBytesMax);
    const steps = jsonToProtobufInSlices(signal, body, SLICE_BYTES, bodyBytesMax);
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
      await nextTurn();
    }
  }

  #origin(): RowOrigin {
    const receivedAtMs = this.#deps.nowMs();
    const { orgId, placement } = this.tenant;
    const retentionDays = this.tenant.retentionDays[this.#head.signal];
    return { orgId, receivedAtMs, placement, retentionDays, expiresOnDay: expiresOnDay(receivedAtMs, retentionDays) };
  }

  /** Resolves once the request's record is synced; a request without items needs none. */
  async #makeDurable(
    protobuf: Buffer,
    origin: RowOrigin,
    rejectedBefore: number,
    bytesReceived: number,
  ): Promise<ConvertResult> {
    const { spool } = this.#deps;
    const { signal } = this.#head;
    if (protobuf.length <= SLICED_BODY_BYTES) {
      const result = convertNow(this.#converters, signal, protobuf, origin, spool.rows);
      if (result !== undefined) {
        if (result.accepted + result.rejected + rejectedBefore === 0) return result;
        const stored = storeBody(protobuf);
        await this.#append(origin, result, rejectedBefore, stored, bytesReceived);
        return result;
      }
    }
    const { result, rows } = await convertSliced(signal, protobuf, origin);
    if (result.accepted + result.rejected + rejectedBefore === 0) return result;
    const stored = await storeLargeBody(protobuf);
    await this.#append(origin, result, rejectedBefore, stored, bytesReceived, rows);
    return result;
  }

  #append(
    origin: RowOrigin,
    result: ConvertResult,
    rejectedBefore: number,
    stored: StoredBody,
    bytesReceived: number,
    ownRows?: SegmentRows,
  ): Promise<void> {
    const header: RecordHeader = {
      ...origin,
      tokenId: this.tenant.tokenId,
      signal: this.#head.signal,
      itemsAccepted: result.accepted,
      itemsRejected: result.rejected + rejectedBefore,
      bytesReceived,
      fingerprint: stored.fingerprint,
      ownBatches: ownRows !== undefined,
    };
    const { durable, answered } = this.#deps.spool.append(header, stored, ownRows);
    this.#answered = answered;
    return durable;
  }
}

/** What the JSON reader and the converter have to say, as one text. */
function joinMessages(fromJson: string, fromConversion: string): string {
  if (fromJson === '' || fromConversion === '') return fromJson + fromConversion;
  return `${fromJson}; ${fromConversion}`.slice(0, ERROR_MESSAGE_BYTES_MAX);
}
