/** For tests: what a miner sends that lies, and signs its lie. */
import { decodeExchange, encodeExchange } from "../../protocol/exchange-messages.ts";
import { decodeMicrobatch, encodeMicrobatch } from "../../protocol/microbatch.ts";
import {
  contentOf,
  movedDigest,
  payloadDigest,
  recordBytes,
  type Transfer,
  type TransferKind,
  type TransferRecord,
} from "../../protocol/transfer-record.ts";
import type { PeerMessage } from "../../transport/peer-link.ts";
import { type FakeMember, type FakeSwarm, fakeNetworkId } from "./fake-swarm.ts";

export interface Lie {
  /** Changes the numbers in place. */
  readonly payload?: (payload: Uint8Array) => void;
  readonly origin?: TransferRecord;
}

/** What the message would be, had its sender told that lie: a copy of its body, with a signature that holds. */
export function lying(swarm: FakeSwarm, liar: FakeMember, { kind, body }: PeerMessage, lie: Lie): Uint8Array {
  const signed = (kind: TransferKind, stage: number, step: number, index: number, content: string) => {
    const transfer: Transfer = { networkId: fakeNetworkId, at: { ...swarm.at, stage }, kind, step, index };
    return Buffer.from(liar.sign(recordBytes(transfer, content))).toString("hex");
  };
  const copy = Uint8Array.from(body);
  if (kind === "exchange") {
    const moved = decodeExchange(copy);
    if (moved.type !== "moved") return copy;
    lie.payload?.(moved.payload);
    const signature = signed("moved", moved.stage, moved.step, moved.part, contentOf(movedDigest(moved), null));
    return encodeExchange({ ...moved, signature });
  }
  if (kind !== "forward" && kind !== "backward") throw new Error(`nothing in "${kind}" is signed`);
  const message = decodeMicrobatch(copy);
  lie.payload?.(message.payload);
  const origin = lie.origin ?? message.origin;
  const stage = message.stage + (kind === "forward" ? -1 : 1);
  const content = contentOf(payloadDigest(message.payload), origin);
  const signature = signed(kind, stage, message.step, message.microbatch, content);
  return encodeMicrobatch({ ...message, origin, signature });
}
