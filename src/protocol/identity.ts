/**
 * Who a miner is: an ed25519 key pair. The public key is the miner's id; the private key never leaves its machine.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";
import { type BlobHash, blobHashSchema, type MinerId, minerIdSchema } from "./ids.ts";

export interface Identity {
  readonly minerId: MinerId;
  /** ed25519 signature over `bytes`, 64 bytes. */
  sign(bytes: Uint8Array): Uint8Array;
  /** PKCS #8 PEM, for storing with mode 0600. */
  exportPrivateKeyPem(): string;
}

export function createIdentity(): Identity {
  return identityOf(generateKeyPairSync("ed25519").privateKey);
}

/** Throws when `pem` is not an ed25519 private key. */
export function importIdentity(pem: string): Identity {
  const key = createPrivateKey(pem);
  if (key.asymmetricKeyType !== "ed25519") throw new Error(`expected an ed25519 key, got ${key.asymmetricKeyType}`);
  return identityOf(key);
}

/** Whose key this PEM is, private or public. Throws when it is no ed25519 key. */
export function minerIdOfPem(pem: string): MinerId {
  return minerIdOf(createPublicKey(pem));
}

/** The public key alone, as SPKI PEM. */
export function exportPublicKeyPem(minerId: MinerId): string {
  return publicKeyOf(minerId).export({ format: "pem", type: "spki" }).toString();
}

function minerIdOf(publicKey: KeyObject): MinerId {
  const { x } = publicKey.export({ format: "jwk" });
  return minerIdSchema.parse(Buffer.from(x ?? "", "base64url").toString("hex"));
}

function identityOf(privateKey: KeyObject): Identity {
  return {
    minerId: minerIdOf(createPublicKey(privateKey)),
    sign: (bytes) => sign(null, bytes, privateKey),
    exportPrivateKeyPem: () => privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
  };
}

/** Whether `signature` is that of `minerId` over `bytes`. Never throws: any malformed input is a wrong signature. */
export function verifySignature(minerId: MinerId, bytes: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== 64) return false;
  try {
    return verify(null, bytes, publicKeyOf(minerId), signature);
  } catch {
    return false; // not a point on the curve
  }
}

/** Reading a key takes as long as a verification, and the same few sign all the time. The one that was read first is forgotten first. */
const readKeys = new Map<MinerId, KeyObject>();
const mostReadKeys = 4096;

function publicKeyOf(minerId: MinerId): KeyObject {
  const known = readKeys.get(minerId);
  if (known !== undefined) return known;
  const x = Buffer.from(minerId, "hex").toString("base64url");
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  const [first] = readKeys.keys();
  if (first !== undefined && readKeys.size >= mostReadKeys) readKeys.delete(first);
  readKeys.set(minerId, key);
  return key;
}

/**
 * What a client signs to open a session: bound to this protocol, to this gateway's fresh nonce and to the role, so that a
 * signature is worth nothing anywhere else or a second time.
 */
export function sessionProof(nonce: Uint8Array, networkId: string, role: string): Uint8Array {
  return Buffer.concat([Buffer.from(`train-at-home session 1\n${networkId}\n${role}\n`), nonce]);
}

/** SHA-256. In pieces, since OpenSSL takes less than 2 GiB at once. */
export function hashBytes(bytes: Uint8Array): BlobHash {
  const hash = createHash("sha256");
  for (let offset = 0; offset < bytes.length; offset += hashPieceBytes)
    hash.update(bytes.subarray(offset, offset + hashPieceBytes));
  return blobHashSchema.parse(hash.digest("hex"));
}

const hashPieceBytes = 1 << 30;

/** Bytes of a typed array as they lie in memory; all supported machines are little-endian. */
export function bytesOf(values: Float32Array | Int32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** Bytes as f32 values; copies only when the bytes are not aligned. Throws when the length is not a multiple of 4. */
export function floatsOf(bytes: Uint8Array): Float32Array {
  if (bytes.byteLength % 4 !== 0)
    throw new RangeError(`${bytes.byteLength} bytes are not a whole number of f32 values`);
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  return new Float32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 4);
}
