/** Why a gateway is not reached, told apart by what there is to do about it. */
import { type Failure, type FailureCode, FailureError, failureOf } from "../../protocol/failure.ts";

type Cause = readonly [message: string, action: string, code?: FailureCode];

const noCertificate: Cause = [
  "No authority that this computer trusts has signed the network's certificate.",
  "Use the whole address that its owner gives, with #certificate=… at its end.",
  "bad-signature",
];
const noTls: Cause = [
  "What answers there speaks no TLS.",
  "If the network has no certificate, its address begins with ws://.",
];
const noNetwork: Cause = [
  "What answers there is no network.",
  "Check the address: it begins with wss:// where the network has a certificate, else with ws://.",
];
const noWay: Cause = ["No way leads there.", "Check this computer's connection to the internet, or to its LAN."];
const noAnswer: Cause = [
  "Nothing answers there.",
  "Check the address, and that its computer is on; a firewall in between may drop what is sent there.",
];

/** By the codes of Node, OpenSSL and `ws`. */
const causes: Readonly<Record<string, Cause>> = {
  ENOTFOUND: ["There is no computer of this name.", "Check the address, and this computer's internet connection."],
  EAI_AGAIN: ["The name could not be looked up.", "Check this computer's internet connection and its DNS server."],
  ECONNREFUSED: [
    "The computer is there, but nothing listens on this port.",
    "Check the port, and that the network is served (tah network serve).",
  ],
  ETIMEDOUT: noAnswer,
  EHOSTUNREACH: noWay,
  ENETUNREACH: noWay,
  ECONNRESET: noNetwork,
  HPE_INVALID_CONSTANT: noNetwork,
  EPROTO: noTls,
  ERR_SSL_WRONG_VERSION_NUMBER: noTls,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: noTls,
  DEPTH_ZERO_SELF_SIGNED_CERT: noCertificate,
  SELF_SIGNED_CERT_IN_CHAIN: noCertificate,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: noCertificate,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: noCertificate,
  ERR_TLS_CERT_ALTNAME_INVALID: [
    "The network's certificate is made for another name.",
    "Use the name that it is made for, or the whole address that its owner gives.",
    "bad-signature",
  ],
  CERT_HAS_EXPIRED: [
    "The network's certificate has expired.",
    "Check this computer's clock; else its owner has to renew it.",
    "bad-signature",
  ],
  CERT_NOT_YET_VALID: ["The network's certificate is not valid yet.", "Check this computer's clock.", "bad-signature"],
};

/** Of a connection that could not be made, or broke. All of it may mend by itself, so it is tried again. */
export function unreachable(error: Error): Failure {
  const known = failureOf(error);
  if (known !== undefined) return known;
  // Several addresses of one name were tried.
  const first = error instanceof AggregateError && error.errors[0] instanceof Error ? error.errors[0] : error;
  const found = "code" in first ? causes[String(first.code)] : undefined;
  const cause = found ?? (first.message === "Opening handshake has timed out" ? noAnswer : undefined);
  if (cause === undefined) return new FailureError("unreachable", first.message, { retry: true }).failure;
  const [message, action, code = "unreachable"] = cause;
  return new FailureError(code, message, { action, retry: true }).failure;
}

/** What the gateway answered instead of opening a session. */
export function notOpened(status: number | undefined): Failure {
  if (status === 429) {
    const message = "The network takes no more connections from this address for the moment.";
    const action = "Its owner may allow more.";
    return new FailureError("too-many-connections", message, { action, retry: true }).failure;
  }
  const isProxy = status === 502 || status === 503 || status === 504;
  const message = isProxy
    ? `The proxy in front of the network does not reach it (HTTP ${status}).`
    : `What answers there is no network (HTTP ${status}).`;
  const action = isProxy ? "Its owner has to start it." : "Check the address.";
  return new FailureError("unreachable", message, { action, retry: true }).failure;
}
