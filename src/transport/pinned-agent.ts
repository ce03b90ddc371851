/**
 * HTTPS to a gateway whose certificate is known by its SHA-256, from the network's address, instead of by an authority: what its owner has
 * made without one. Nothing is sent before the certificate has been compared.
 */
import { createHash } from "node:crypto";
import { Agent } from "node:https";
import type { Duplex } from "node:stream";
import { type ConnectionOptions, connect } from "node:tls";
import { FailureError } from "../protocol/failure.ts";

type Connected = (error: Error | null, socket: Duplex) => void;

class PinnedAgent extends Agent {
  readonly #certificateSha256: string;

  /** `certificateSha256`: of the certificate in DER, in lower-case hex. */
  constructor(certificateSha256: string) {
    super({ keepAlive: true });
    this.#certificateSha256 = certificateSha256;
  }

  /** Hands the socket over once it leads to the right gateway; fails with `FailureError` (bad-signature) where it does not. */
  override createConnection(options: ConnectionOptions, connected: Connected): undefined {
    // Chain and name are not looked at: the one certificate is compared as a whole.
    const socket = connect({ ...options, rejectUnauthorized: false });
    const fail = (error: Error) => connected(error, socket);
    socket.once("error", fail);
    socket.once("secureConnect", () => {
      socket.off("error", fail);
      const certificate = socket.getPeerX509Certificate()?.raw ?? new Uint8Array();
      if (createHash("sha256").update(certificate).digest("hex") === this.#certificateSha256) connected(null, socket);
      else {
        socket.destroy();
        fail(otherCertificate());
      }
    });
  }
}

/** Undefined: the gateway's certificate must be one that this computer trusts. */
export function agentFor(certificateSha256: string | null): PinnedAgent | undefined {
  return certificateSha256 === null ? undefined : new PinnedAgent(certificateSha256);
}

function otherCertificate(): FailureError {
  return new FailureError("bad-signature", "The gateway has another certificate than this network's address says.", {
    action: "Ask the network's owner for its address of today; somebody may be listening in.",
  });
}
