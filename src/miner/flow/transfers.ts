/**
 * Signs the numbers that this replica sends, and checks those that come, before anything is computed from them. What is not what its
 * sender signed is dropped and sent again, as if it had been lost; who signed what an honest miner never signs is told to the network.
 */
import type { Accusation } from "../../protocol/accusation.ts";
import { FailureError } from "../../protocol/failure.ts";
import type { MinerId } from "../../protocol/ids.ts";
import {
  contentOf,
  isSigned,
  originOf,
  recordBytes,
  type Transfer,
  type TransferKind,
  type TransferRecord,
} from "../../protocol/transfer-record.ts";
import type { Place } from "./place.ts";
import type { Routes } from "./routes.ts";

export interface TransfersOptions {
  readonly networkId: string;
  readonly place: Place;
  readonly self: MinerId;
  readonly routes: Pick<Routes, "belongs">;
  /** With this miner's key: ed25519, 64 bytes. */
  readonly sign: (bytes: Uint8Array) => Uint8Array;
  readonly accuse: (accusation: Accusation) => void;
}

/** Numbers of one kind, step and microbatch or part. */
export interface Sent {
  readonly kind: TransferKind;
  readonly step: number;
  readonly index: number;
  /** Of what is sent (`transfer-record.ts`). */
  readonly digest: string;
  /** What came with what it was computed from; null: nothing did. */
  readonly origin: TransferRecord | null;
}

/** Records are kept to be held against others about the same, the newest ones: a microbatch's copies come soon after each other. */
const mostKept = 4096;
/** Of one miner in an attempt at an epoch: one is enough, if it arrives. */
const mostAccusations = 3;

export class Transfers {
  readonly #options: TransfersOptions;
  /** By what they are about, and who signed them. */
  readonly #kept = new Map<string, TransferRecord>();
  readonly #accusations = new Map<MinerId, number>();
  #damaged = 0;

  constructor(options: TransfersOptions) {
    this.#options = options;
  }

  /** Messages that were not what their sender signed. */
  get damaged(): number {
    return this.#damaged;
  }

  /** The signature of the record, in hex. Throws when it would convict this miner of a lie: that is a bug. */
  sign({ digest, origin, ...sent }: Sent): string {
    const { place, self, sign } = this.#options;
    const transfer = this.#transfer(place.at.stage, sent);
    const content = contentOf(digest, origin);
    const before = this.#kept.get(keyOf(transfer, self));
    if (before?.content === content) return before.signature;
    if (before !== undefined) throw new Error("this replica has signed other numbers for the same before");
    const signature = Buffer.from(sign(recordBytes(transfer, content))).toString("hex");
    this.#keep(transfer, { sender: self, content, signature });
    return signature;
  }

  /**
   * The record of what a miner of `stage` sent. Throws `FailureError`: bad-signature when numbers or record were changed after they
   * were signed, if they ever were; unexpected-message when they were signed like this, and no honest miner would.
   */
  check(from: MinerId, stage: number, { digest, origin, ...sent }: Sent, signature: string): TransferRecord {
    const transfer = this.#transfer(stage, sent);
    const record: TransferRecord = { sender: from, content: contentOf(digest, origin), signature };
    if (!isSigned(transfer, record)) {
      this.#damaged += 1;
      throw new FailureError("bad-signature", "numbers that are not what their sender signed");
    }
    if (origin !== null) this.#checkOrigin(transfer, record, digest, origin);
    this.#keep(transfer, record);
    return record;
  }

  #checkOrigin(transfer: Transfer, record: TransferRecord, payload: string, origin: TransferRecord): void {
    const { place, routes } = this.#options;
    const from = originOf(transfer, place.stage.count);
    if (from === null || !routes.belongs(origin.sender, from.at.stage)) throw lie("numbers computed from a stranger's");
    if (!this.#isKnown(from, origin) && !isSigned(from, origin)) {
      this.#accuse(transfer, record.sender, { type: "false-origin", record, payload, origin });
      throw lie("numbers computed from what nobody sent");
    }
    this.#keep(from, origin);
  }

  /** Whether it was verified, or signed here, before. */
  #isKnown(transfer: Transfer, { sender, content, signature }: TransferRecord): boolean {
    const known = this.#kept.get(keyOf(transfer, sender));
    return known?.content === content && known.signature === signature;
  }

  /** Throws `FailureError` (unexpected-message) when the same miner signed something else before. */
  #keep(transfer: Transfer, record: TransferRecord): void {
    const key = keyOf(transfer, record.sender);
    const before = this.#kept.get(key);
    if (before !== undefined && before.content !== record.content) {
      this.#accuse(transfer, record.sender, { type: "two-contents", records: [before, record] });
      throw lie("other numbers than their sender signed before for the same");
    }
    this.#kept.set(key, record);
    const [oldest] = this.#kept.keys();
    if (oldest !== undefined && this.#kept.size > mostKept) this.#kept.delete(oldest);
  }

  #accuse({ at, kind, step, index }: Transfer, accused: MinerId, proof: Accusation["proof"]): void {
    const accusations = (this.#accusations.get(accused) ?? 0) + 1;
    this.#accusations.set(accused, accusations);
    if (accusations <= mostAccusations) this.#options.accuse({ type: "accuse", at, kind, step, index, proof });
  }

  #transfer(stage: number, { kind, step, index }: Pick<Sent, "kind" | "step" | "index">): Transfer {
    const { networkId, place } = this.#options;
    return { networkId, at: { ...place.at, stage }, kind, step, index };
  }
}

function keyOf({ at, kind, step, index }: Transfer, sender: MinerId): string {
  return `${kind} ${at.stage} ${step} ${index} ${sender}`;
}

function lie(what: string): FailureError {
  return new FailureError("unexpected-message", what);
}
