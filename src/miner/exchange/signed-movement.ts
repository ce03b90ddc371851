/** What a step moved, signed as it leaves and checked as it comes. */
import { type ExchangeMessage, encodeExchange, type MovedMessage } from "../../protocol/exchange-messages.ts";
import type { MinerId } from "../../protocol/ids.ts";
import { movedDigest } from "../../protocol/transfer-record.ts";
import type { Transfers } from "../flow/transfers.ts";

/** One message for each part; `payloads` empty: nothing was moved. The same for every receiver. */
export function signedMovement(
  header: Pick<ExchangeMessage, "epoch" | "attempt" | "stage" | "step">,
  { tokens, payloads }: { readonly tokens: number; readonly payloads: readonly Uint8Array[] },
  transfers: Pick<Transfers, "sign">,
): readonly Uint8Array[] {
  const parts = payloads.length;
  return (parts === 0 ? [new Uint8Array(0)] : payloads).map((payload, index) => {
    const digest = movedDigest({ tokens, parts, payload });
    const signature = transfers.sign({ kind: "moved", step: header.step, index, digest, origin: null });
    return encodeExchange({ ...header, type: "moved", tokens, part: index, parts, signature, payload });
  });
}

/** Throws `FailureError` (bad-signature, unexpected-message) as `Transfers.check` does. */
export function checkSignature(from: MinerId, message: MovedMessage, transfers: Pick<Transfers, "check">): void {
  const { stage, step, part: index, signature } = message;
  transfers.check(from, stage, { kind: "moved", step, index, digest: movedDigest(message), origin: null }, signature);
}
