/** Bytes that no encoder wrote. An expected failure: they came from a peer, and nothing of them is used. */
export class MalformedPayloadError extends Error {
  override readonly name = "MalformedPayloadError";
}
