/** With which code a session closes, by what its client did. */
import type { Failure } from "../../protocol/failure.ts";
import { closeCodes } from "../../protocol/local-api.ts";

export const internalFailure: Failure = {
  code: "unexpected-message",
  message: "The network met a bug while handling this message.",
  action: "",
  retry: false,
};

export function closeCodeOf(failure: Failure): number {
  switch (failure.code) {
    case "bad-signature":
    case "not-authorised":
    case "banned":
    case "admission-refused":
      return closeCodes.notAuthorised;
    case "too-many-connections":
      return closeCodes.tooMany;
    case "message-too-large":
      return closeCodes.tooLarge;
    default:
      return closeCodes.malformed;
  }
}
