/** Takes what other miners' replicas say, finds the replica of this miner that it is for, and answers where there is none. */
import { type Answer, decodeAnswer, encodeAnswer, type Verdict } from "../../protocol/answer.ts";
import { assertNever } from "../../protocol/assert-never.ts";
import { decodeExchange } from "../../protocol/exchange-messages.ts";
import { failureOf } from "../../protocol/failure.ts";
import type { MinerId } from "../../protocol/ids.ts";
import { decodeBody, mergeMessageSchema } from "../../protocol/merge-messages.ts";
import { decodeMicrobatch, type MicrobatchMessage } from "../../protocol/microbatch.ts";
import type { PeerMessage } from "../../transport/peer-link.ts";
import type { ReplicaOptions } from "./epoch-acts.ts";
import type { Replica } from "./replica.ts";

export interface MailroomOptions extends Pick<ReplicaOptions, "peers"> {
  readonly replicaOf: (stage: number) => Replica | undefined;
  readonly receiveBlob: (message: PeerMessage) => void;
  readonly dropped: (from: MinerId, reason: string) => void;
}

/** Messages that were not what their sender signed, by the way that they came. */
export interface Damage {
  /** From the sender as they were: nobody else can change them there. */
  readonly direct: number;
  /** Changed on the way, or by the sender. */
  readonly relayed: number;
}

const undamaged: Damage = { direct: 0, relayed: 0 };

export class Mailroom {
  readonly #options: MailroomOptions;
  readonly #damage = new Map<MinerId, Damage>();

  constructor(options: MailroomOptions) {
    this.#options = options;
  }

  damagedFrom(peer: MinerId): Damage {
    return this.#damage.get(peer) ?? undamaged;
  }

  receive(message: PeerMessage): void {
    try {
      this.#handOut(message);
    } catch (error) {
      const failure = failureOf(error);
      if (failure === undefined) throw error;
      if (failure.code === "bad-signature") this.#countDamage(message);
      this.#options.dropped(message.from, failure.message);
    }
  }

  #countDamage({ from, isDirect = false }: PeerMessage): void {
    const { direct, relayed } = this.damagedFrom(from);
    this.#damage.set(from, isDirect ? { direct: direct + 1, relayed } : { direct, relayed: relayed + 1 });
  }

  #handOut(message: PeerMessage): void {
    const { from, kind, body } = message;
    switch (kind) {
      case "forward":
      case "backward":
      case "flush": {
        const microbatch = decodeMicrobatch(body);
        const replica = this.#options.replicaOf(microbatch.stage);
        const verdict = replica === undefined ? "wrong-place" : replica.receive(from, kind, microbatch);
        if (verdict !== null) this.#answer(from, kind, microbatch, verdict);
        break;
      }
      case "answer": {
        const answer = decodeAnswer(body);
        this.#options.replicaOf(askingStage(answer))?.answered(from, answer);
        break;
      }
      case "merge": {
        const merge = decodeBody(mergeMessageSchema, body);
        this.#options.replicaOf(merge.at.stage)?.receiveMerge(from, merge);
        break;
      }
      case "exchange": {
        const exchange = decodeExchange(body);
        this.#options.replicaOf(exchange.stage)?.receiveExchange(from, exchange);
        break;
      }
      case "blob-request":
      case "blob-part":
        this.#options.receiveBlob(message);
        break;
      case "path":
        break; // the link's own business
      default:
        assertNever(kind);
    }
  }

  #answer(to: MinerId, about: Answer["about"], message: MicrobatchMessage, verdict: Verdict): void {
    const { epoch, attempt, step, microbatch, stage } = message;
    const answer = encodeAnswer({ epoch, attempt, step, microbatch, stage, about, verdict });
    void this.#options.peers.send(to, "answer", answer); // whoever misses it asks again
  }
}

/** The stage of the replica whose message is answered. */
function askingStage({ about, stage }: Answer): number {
  switch (about) {
    case "forward":
      return stage - 1;
    case "backward":
      return stage + 1;
    case "flush":
      return 0;
    default:
      return assertNever(about);
  }
}
