/**
 * The path of one request, as a list of steps, each with its exit:
 *
 *   accept ──► open:   authenticate   token → tenant            401, 403, 503 when accounts are away
 *              │       admit          the organization's limits 429, retryable, before the body is read
 *              │                      spool, bytes in flight    503, the same
 *              ▼
 *   accept ──► submit: read JSON      JSON → protobuf           400
 *              │       convert        OTLP → columns            400; single items rejected and counted
 *              │       spool          record, fdatasync         503
 *              ▼
 *   accept ◄── answer                 200 / OK only now: the record is synced
 *
 * Converting and appending happen without an await in between, so a record and its rows always belong to the same segment.
 */
import { freeNow } from '../base/byte-writer.ts';
import { BackworkError, retryLater } from '../base/errors.ts';
import { type FaultPoints, NO_FAULT_POINTS } from '../base/fault-points.ts';
import { BODY_BYTES_UNKNOWN, ERROR_MESSAGE_BYTES_MAX, SLICED_BODY_BYTES } from '../base/limits.ts';
import { expiresOnDay } from '../tables/retention.ts';
import type { TokenTable } from './authenticate/token-table.ts';
import { ByteBudget, type Reservation } from './byte-budget.ts';
import type { BuilderSet } from './convert/builders.ts';
import { ConverterPool, convertNow } from './convert/convert.ts';
import { JSON_GROWTH_MAX, jsonToProtobuf } from './convert/otlp-json.ts';
import { rejectedReason } from './convert/rejected-reason.ts';
import type { LargeWork } from './large/large-work.ts';
import type { LimitedRequest, OrganizationLimiter } from './limits/organization-limiter.ts';
import { RateBucket } from './limits/rate-bucket.ts';
import type { SpoolUse } from './limits/spool-use.ts';
import type {
  Admission,
  BodyEncoding,
  ConvertResult,
  ExportAnswer,
  IngestEvents,
  RecordHeader,
  RequestHead,
  RequestPath,
  RowOrigin,
  SegmentRows,
  Tenant,
} from './messages.ts';
import { type StoredBody, storeBody } from './spool/body.ts';
import type { Spool } from './spool/writer.ts';

export interface PipelineDeps {
  readonly tokens: TokenTable;
  readonly spool: Spool<BuilderSet>;
  readonly limiter: OrganizationLimiter;
  readonly spoolUse: SpoolUse;
  /** Bodies over SLICED_BODY_BYTES, and smaller ones whose rows grow large. */
  readonly large: LargeWork;
  /** Bodies in memory, over all requests of this process. */
  readonly inFlightBytesMax: number;
  /** Of inflated bodies, over all organizations; 0 is no limit. */
  readonly bytesPerSecondMax: number;
  /** One body, as the ports let it in; of JSON also as protobuf. */
  readonly bodyBytesMax: number;
  /** Wall clock: ReceivedAt, and from it the expiry. */
  readonly nowMs: () => number;
  readonly faults?: FaultPoints;
  readonly events?: IngestEvents;
}

/** The RequestPath of one ingest process, and what its bodies have reserved now. */
export function createPipeline(deps: PipelineDeps): RequestPath & { readonly inFlightBytes: () => number } {
  const inFlight = new ByteBudget(
    deps.inFlightBytesMax,
    () => performance.now(),
    () => deps.limiter.isShared,
  );
  const converters = new ConverterPool();
  const rate = new RateBucket();
  return {
    inFlightBytes: () => inFlight.bytes,
    open(head: RequestHead): Admission | Promise<Admission> {
      const tenant = deps.tokens.tenant(head.authorization, head.signal);
      if (tenant instanceof Promise) return tenant.then((found) => admitOf(found, head));
      return admitOf(tenant, head);
    },
  };

  function admitOf(tenant: Tenant, head: RequestHead): Admission {
    try {
      return admit(tenant, head);
    } catch (error) {
      if (error instanceof BackworkError) error.orgId = tenant.orgId;
      throw error;
    }
  }

  function admit(tenant: Tenant, head: RequestHead): Admission {
    const bytes = head.bodyBytesDeclared ?? BODY_BYTES_UNKNOWN;
    if (deps.bytesPerSecondMax > 0) checkRate();
    const limited = deps.limiter.admit(tenant.orgId, tenant.limits, head.bodyBytesDeclared);
    try {
      const refusal = deps.spool.refusal(bytes);
      if (refusal !== undefined) throw refusal;
      const reservation = inFlight.open(bytes, limited.use);
      return new AdmittedRequest(deps, inFlight, converters, { tenant, head, reservation, limited, rate });
    } catch (error) {
      limited.giveBack();
      limited.ended();
      throw error;
    }
  }

  function checkRate(): void {
    const { bytesPerSecondMax } = deps;
    const waitMs = rate.waitMs(bytesPerSecondMax, performance.now());
    if (waitMs > 0) throw retryLater('overloaded', `this process takes ${bytesPerSecondMax} bytes a second`, waitMs);
  }
}

/** What the JSON reader left out, and what it says. */
interface Read {
  readonly rejected: number;
  readonly message: string;
}

const NOTHING_READ: Read = { rejected: 0, message: '' };

interface Stored {
  readonly result: ConvertResult;
  readonly read: Read;
}

interface Admitted {
  readonly rate: RateBucket;
  readonly tenant: Tenant;
  readonly head: RequestHead;
  readonly reservation: Reservation;
  readonly limited: LimitedRequest;
}

class AdmittedRequest implements Admission {
  readonly tenant: Tenant;
  readonly #deps: PipelineDeps;
  readonly #inFlight: ByteBudget;
  readonly #converters: ConverterPool;
  readonly #head: RequestHead;
  readonly #reservation: Reservation;
  readonly #limited: LimitedRequest;
  readonly #rate: RateBucket;
  #answered: (() => void) | undefined;

  constructor(deps: PipelineDeps, inFlight: ByteBudget, converters: ConverterPool, admitted: Admitted) {
    this.#deps = deps;
    this.#inFlight = inFlight;
    this.#converters = converters;
    this.tenant = admitted.tenant;
    this.#head = admitted.head;
    this.#reservation = admitted.reservation;
    this.#limited = admitted.limited;
    this.#rate = admitted.rate;
  }

  expect(bytes: number): void {
    try {
      this.#inFlight.expect(this.#reservation, bytes);
    } catch (error) {
      this.#limited.giveBack();
      throw error;
    }
  }

  reserve(bytes: number): void {
    try {
      this.#inFlight.hold(this.#reservation, bytes);
    } catch (error) {
      this.#limited.giveBack();
      throw error;
    }
  }

  release(answerSent: boolean): void {
    this.#inFlight.close(this.#reservation);
    this.#limited.ended();
    if (answerSent) this.#answered?.();
  }

  async submit(body: Buffer, encoding: BodyEncoding): Promise<ExportAnswer> {
    const bytes = body.length;
    this.#limited.received(bytes);
    this.#rate.charge(bytes);
    try {
      return await this.#store(body, encoding);
    } catch (error) {
      if (error instanceof BackworkError && error.retryable) {
        this.#limited.giveBack();
        this.#rate.charge(-bytes);
      }
      throw error;
    }
  }

  async #store(body: Buffer, encoding: BodyEncoding): Promise<ExportAnswer> {
    // Known no more once a large body was given away.
    const bytesReceived = body.length;
    const refusal = this.#deps.spool.refusal(bytesReceived);
    if (refusal !== undefined) throw refusal;
    const { read, result } = await this.#makeDurable(body, encoding);
    (this.#deps.faults ?? NO_FAULT_POINTS).reached('answer-due');
    // Where the JSON reader left out every item, that the converter found none is no news.
    const nothingLeft = read.rejected > 0 && result.accepted + result.rejected === 0;
    const rejected = result.rejected + read.rejected;
    this.#limited.stored(result.accepted + rejected);
    const message = nothingLeft ? read.message : joinMessages(read.message, result.message);
    this.#deps.events?.accepted({
      orgId: this.tenant.orgId,
      signal: this.#head.signal,
      protocol: this.#head.protocol,
      items: result.accepted,
      rejected,
      rejectedReason: rejected === 0 ? '' : rejectedReason(message),
      bytes: bytesReceived,
    });
    return { rejected, message };
  }

  #origin(): RowOrigin {
    const receivedAtMs = this.#deps.nowMs();
    const { orgId, placement } = this.tenant;
    const retentionDays = this.tenant.retentionDays[this.#head.signal];
    return { orgId, receivedAtMs, placement, retentionDays, expiresOnDay: expiresOnDay(receivedAtMs, retentionDays) };
  }

  /** Resolves once the request's record is synced; a request without items needs none. */
  async #makeDurable(body: Buffer, encoding: BodyEncoding): Promise<Stored> {
    const { spool, bodyBytesMax } = this.#deps;
    const { signal } = this.#head;
    const bytesReceived = body.length;
    if (bytesReceived > SLICED_BODY_BYTES) return this.#makeLargeDurable(body, encoding, bytesReceived, NOTHING_READ);
    const read =
      encoding === 'json' ? jsonToProtobuf(signal, body, bodyBytesMax) : { protobuf: body, rejected: 0, message: '' };
    const { protobuf } = read;
    if (protobuf.length > SLICED_BODY_BYTES) return this.#makeLargeDurable(protobuf, 'protobuf', bytesReceived, read);
    const origin = this.#origin();
    const result = convertNow(this.#converters, signal, protobuf, origin, spool.rows);
    if (result === undefined) return this.#makeLargeDurable(protobuf, 'protobuf', bytesReceived, read);
    if (result.accepted + result.rejected + read.rejected > 0) {
      const stored = storeBody(protobuf);
      // Its rows and its compressed form are copies.
      if (stored.codec !== 'none') freeNow(protobuf);
      if (body !== protobuf) freeNow(body);
      await this.#append(origin, result, read.rejected, stored, bytesReceived);
    }
    return { result, read };
  }

  /** `before`: what was read of it already. `body` is given away. */
  async #makeLargeDurable(body: Buffer, encoding: BodyEncoding, bytesReceived: number, before: Read): Promise<Stored> {
    const { large, bodyBytesMax } = this.#deps;
    const { length } = body;
    const protobufBytesMax = encoding === 'json' ? Math.min(bodyBytesMax, JSON_GROWTH_MAX * length) : 0;
    const origin = this.#origin();
    const { rows, stored, ...outcome } = await large.run({
      signal: this.#head.signal,
      encoding,
      body,
      protobufBytesMax: bodyBytesMax,
      origin,
      rejectedBefore: before.rejected,
      onTurn: () => this.reserve(length + protobufBytesMax),
    });
    const read = { rejected: before.rejected + outcome.rejected, message: before.message + outcome.message };
    const { result } = outcome;
    if (stored !== undefined) await this.#append(origin, result, read.rejected, stored, bytesReceived, rows);
    return { result, read };
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
    const { durable, answered, sequence, bytes } = this.#deps.spool.append(header, stored, ownRows);
    if (bytes > 0) {
      this.#deps.spoolUse.appended(sequence, this.#limited.use, bytes);
      this.#deps.limiter.appended(this.#limited.use, bytes);
    }
    this.#answered = answered;
    return durable;
  }
}

/** What the JSON reader and the converter have to say, as one text. */
function joinMessages(fromJson: string, fromConversion: string): string {
  if (fromJson === '' || fromConversion === '') return fromJson + fromConversion;
  return `${fromJson}; ${fromConversion}`.slice(0, ERROR_MESSAGE_BYTES_MAX);
}
