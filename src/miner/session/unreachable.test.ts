import { expect, it } from "vitest";
import { FailureError } from "../../protocol/failure.ts";
import { notOpened, unreachable } from "./unreachable.ts";

const withCode = (code: string) => Object.assign(new Error(`something with ${code}`), { code });

it.each([
  ["ENOTFOUND", "unreachable", "no computer of this name"],
  ["EAI_AGAIN", "unreachable", "could not be looked up"],
  ["ECONNREFUSED", "unreachable", "nothing listens"],
  ["ETIMEDOUT", "unreachable", "Nothing answers"],
  ["ENETUNREACH", "unreachable", "No way leads there"],
  ["ECONNRESET", "unreachable", "no network"],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", "bad-signature", "No authority"],
  ["ERR_TLS_CERT_ALTNAME_INVALID", "bad-signature", "another name"],
  ["CERT_HAS_EXPIRED", "bad-signature", "expired"],
])("tells %s apart, and says what to do about it", (code, failureCode, words) => {
  const failure = unreachable(withCode(code));
  expect(failure).toMatchObject({ code: failureCode, message: expect.stringContaining(words), retry: true });
  expect(failure.action).not.toBe("");
});

it("looks into what several addresses of one name came to", () => {
  const error = new AggregateError([withCode("ECONNREFUSED"), withCode("ENETUNREACH")]);
  expect(unreachable(error).message).toContain("nothing listens");
});

it("passes on what is known already, and what nobody knows", () => {
  const { failure } = new FailureError("bad-signature", "another certificate");
  expect(unreachable(new FailureError("bad-signature", "another certificate"))).toEqual(failure);
  expect(unreachable(withCode("EWEIRD"))).toMatchObject({ code: "unreachable", message: "something with EWEIRD" });
});

it.each([
  [429, "too-many-connections", "no more connections"],
  [502, "unreachable", "proxy"],
  [404, "unreachable", "no network"],
  [undefined, "unreachable", "no network"],
])("says what HTTP %s instead of a session means", (status, code, words) => {
  expect(notOpened(status)).toMatchObject({ code, message: expect.stringContaining(words), retry: true });
});
