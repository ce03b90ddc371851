/** For tests: an accusation as the gateway passes it on, which has found it proven. */
import type { Accusation } from "../../../protocol/accusation.ts";
import type { MinerId, PlaceRef } from "../../../protocol/ids.ts";
import { fakeHash } from "./fake-miner.ts";

export function fakeAccusation(accused: MinerId): (at: PlaceRef) => Accusation {
  const record = (content: string) => ({ sender: accused, content: fakeHash(content), signature: "00".repeat(64) });
  const proof: Accusation["proof"] = { type: "two-contents", records: [record("one"), record("other")] };
  return (at) => ({ type: "accuse", at, kind: "forward", step: 0, index: 0, proof });
}
