/** HTTP or, with a certificate, HTTPS, without patience with who connects and then says nothing. */
import { unwatchFile, watchFile } from "node:fs";
import { createServer as createHttpServer, type Server } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { FailureError } from "../../protocol/failure.ts";
import { readTls, type TlsFiles } from "./tls-files.ts";

/** Well under the open files that an ordinary system allows a process. */
const maxConnections = 4096;
/** A request's head is small. Its body, a blob, may take as long as it arrives. */
const patience = { requestTimeout: 0, headersTimeout: 10_000, connectionsCheckingInterval: 2000 };
const handshakeTimeoutMs = 10_000;
const watchIntervalMs = 1000;

/** Throws `FailureError` (file-unreadable, invalid-option) when the certificate or its key cannot be used. */
export function createServer(tls: TlsFiles | null, log: (text: string) => void): Server {
  const server = tls === null ? createHttpServer(patience) : createCertifiedServer(tls, log);
  server.maxConnections = maxConnections;
  return server;
}

/** Rejects with `FailureError`: port-in-use, invalid-option when the host cannot be listened on. */
export function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => reject(listenFailure(error, host, port));
    server.once("error", fail);
    server.listen(port, host, () => {
      server.off("error", fail);
      resolve();
    });
  });
}

function createCertifiedServer(tls: TlsFiles, log: (text: string) => void): Server {
  const options = { ...patience, handshakeTimeout: handshakeTimeoutMs, minVersion: "TLSv1.2" } as const;
  const server = createHttpsServer({ ...options, ...readTls(tls) });
  /** Certificates are renewed while the network runs; half a pair, or a broken file, is not taken over. */
  const renew = () => {
    try {
      server.setSecureContext({ ...readTls(tls), minVersion: "TLSv1.2" });
      log("the certificate was read anew");
    } catch (error) {
      log(`the certificate stays as it was: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  const files = [tls.certificate, tls.key];
  for (const file of files) watchFile(file, { interval: watchIntervalMs, persistent: false }, renew);
  server.once("close", () => {
    for (const file of files) unwatchFile(file, renew);
  });
  return server;
}

function listenFailure(cause: NodeJS.ErrnoException, host: string, port: number): FailureError {
  if (cause.code === "EADDRINUSE")
    return new FailureError("port-in-use", `Port ${port} of ${host} is in use by another program.`, {
      action: "Choose another one with --port, or end the other program.",
      cause,
    });
  return new FailureError("invalid-option", `Cannot listen on ${host}:${port}: ${cause.message}`, { cause });
}
