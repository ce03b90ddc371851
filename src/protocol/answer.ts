/**
 * What a replica answers to a microbatch message or a flush marker of another one, so that the sender knows whether it may
 * forget it, has to send it again, or must find another replica. A fixed little-endian record of 20 bytes:
 *
 *     offset  bytes  field
 *          0      4  epoch
 *          4      4  attempt
 *          8      4  step
 *         12      4  microbatch; 0 for a flush marker
 *         16      2  stage of the replica that answers
 *         18      1  the kind of message that is answered (see `answeredKinds`)
 *         19      1  verdict (see `verdicts`)
 */
import { FailureError } from "./failure.ts";

export const answeredKinds = ["forward", "backward", "flush"] as const;
export type AnsweredKind = (typeof answeredKinds)[number];

export const verdicts = [
  /** It is here, or was before: the sender need not send it again. */
  "accepted",
  /** No room at the moment: try another replica, or this one later. */
  "full",
  /** Its step, epoch or attempt is over. */
  "stale",
  /** This miner does not hold that stage in this epoch. */
  "wrong-place",
  /** It was accepted, but will not come back: its numbers were not finite, or no replica further on takes it. */
  "lost",
] as const;
export type Verdict = (typeof verdicts)[number];

export interface Answer {
  readonly epoch: number;
  readonly attempt: number;
  readonly step: number;
  readonly microbatch: number;
  readonly stage: number;
  readonly about: AnsweredKind;
  readonly verdict: Verdict;
}

const answerBytes = 20;

export function encodeAnswer(answer: Answer): Uint8Array {
  const bytes = Buffer.alloc(answerBytes);
  [answer.epoch, answer.attempt, answer.step, answer.microbatch].forEach((field, index) => {
    bytes.writeUInt32LE(field, index * 4);
  });
  bytes.writeUInt16LE(answer.stage, 16);
  bytes.writeUInt8(answeredKinds.indexOf(answer.about), 18);
  bytes.writeUInt8(verdicts.indexOf(answer.verdict), 19);
  return bytes;
}

/** Throws `FailureError` (malformed-message). */
export function decodeAnswer(bytes: Uint8Array): Answer {
  if (bytes.length !== answerBytes) throw malformed(`${bytes.length} bytes`);
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const about = answeredKinds[view.readUInt8(18)];
  const verdict = verdicts[view.readUInt8(19)];
  if (about === undefined || verdict === undefined) throw malformed("an unknown kind or verdict");
  return {
    epoch: view.readUInt32LE(0),
    attempt: view.readUInt32LE(4),
    step: view.readUInt32LE(8),
    microbatch: view.readUInt32LE(12),
    stage: view.readUInt16LE(16),
    about,
    verdict,
  };
}

function malformed(what: string): FailureError {
  return new FailureError("malformed-message", `Received an answer with ${what}.`);
}
