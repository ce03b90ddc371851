/** The certificate that a gateway is known by, and its key, as files. */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { fileFailure } from "../../disk/atomic-file.ts";
import { FailureError } from "../../protocol/failure.ts";

/** PEM files: the certificate with those that lead to a known authority, and its private key. */
export interface TlsFiles {
  readonly certificate: string;
  readonly key: string;
}

/** Throws `FailureError` (file-unreadable, invalid-option) when they are no certificate with its key. */
export function readTls(tls: TlsFiles): { readonly cert: string; readonly key: string } {
  const pair = { cert: readPem(tls.certificate), key: readPem(tls.key) };
  try {
    createSecureContext(pair);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FailureError(
      "invalid-option",
      `${tls.certificate} and ${tls.key} are no certificate with its key: ${why}`,
      {
        action: "Give two PEM files, with the whole chain in the first one.",
        cause,
      },
    );
  }
  return pair;
}

/**
 * What goes behind the network's address (`network-address.ts`): the fingerprint of a certificate that only itself has signed, which
 * nobody could know otherwise; empty for others. Throws as `readTls`.
 */
export function certificateFragment(tls: TlsFiles): string {
  const certificate = new X509Certificate(readTls(tls).cert);
  if (!certificate.checkIssued(certificate)) return "";
  return `#certificate=${certificate.fingerprint256.replaceAll(":", "").toLowerCase()}`;
}

function readPem(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw fileFailure(`${file} cannot be read`, cause);
  }
}
