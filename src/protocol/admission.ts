/**
 * What a network may ask of a miner that it does not know yet: an invitation by the network's owner, or work that makes keys cost
 * something. See "Admission" in docs/protocol.md.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { type Identity, verifySignature } from "./identity.ts";
import { type MinerId, minerIdSchema } from "./ids.ts";

/** Each bit doubles the work; 28 take minutes on a fast processor, and a miner works in between at other things. */
export const maximumWorkBits = 28;
const solutionBytes = 8;

export const admissionNeedSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("invitation") }),
  z.strictObject({ kind: z.literal("proof-of-work"), bits: z.int().min(1).max(maximumWorkBits) }),
]);
export type AdmissionNeed = Readonly<z.infer<typeof admissionNeedSchema>>;

export const admissionProofSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("invitation"), token: z.string().max(200) }),
  z.strictObject({
    kind: z.literal("proof-of-work"),
    solution: z.instanceof(Uint8Array).refine((bytes) => bytes.length === solutionBytes, { error: "has 8 bytes" }),
  }),
]);
export type AdmissionProof = Readonly<z.infer<typeof admissionProofSchema>>;

/**
 * Whether SHA-256 over network, miner and `solution` begins with so many zero bits (Back 2002, "Hashcash"). Bound to the key and
 * not to the session: a key costs its work once, so that a miner that reconnects is let in at once, and one that was banned pays anew.
 */
export function isWorkDone(networkId: string, minerId: MinerId, solution: Uint8Array, bits: number): boolean {
  const digest = createHash("sha256")
    .update(`train-at-home work 1\n${networkId}\n${minerId}\n`)
    .update(solution)
    .digest();
  return Math.clz32(digest.readUInt32BE()) >= bits;
}

/** The solution with this number, of which there are more than any work needs. */
export function workSolution(number: number): Uint8Array<ArrayBuffer> {
  const solution = new Uint8Array(solutionBytes);
  new DataView(solution.buffer).setBigUint64(0, BigInt(number));
  return solution;
}

export interface Invitation {
  /** Hex digits that tell it from other invitations. */
  readonly id: string;
  /** Keys that it lets in. */
  readonly uses: number;
  /** Whole seconds since 1970. */
  readonly expiresAtSeconds: number;
}

const layoutVersion = 1;
const idBytes = 8;
/** Version u8, id 8 bytes, uses u16, expiry u32, little endian. */
const invitationBytes = 1 + idBytes + 2 + 4;
const signatureBytes = 64;
export const maximumUses = 0xffff;

/** The invitation as people pass it on: base64url of its 15 bytes and the network's signature over them. */
export function invitationToken(invitation: Invitation, network: Identity): string {
  const bytes = Buffer.alloc(invitationBytes);
  bytes.writeUInt8(layoutVersion);
  bytes.write(invitation.id, 1, "hex");
  bytes.writeUInt16LE(invitation.uses, 1 + idBytes);
  bytes.writeUInt32LE(invitation.expiresAtSeconds, 1 + idBytes + 2);
  return Buffer.concat([bytes, network.sign(signedBytes(bytes))]).toString("base64url");
}

/** Null: not an invitation that this network has signed. Whether it has expired, or is used up, is another question. */
export function readInvitation(token: string, networkId: string): Invitation | null {
  const bytes = Buffer.from(token, "base64url");
  if (bytes.length !== invitationBytes + signatureBytes || bytes[0] !== layoutVersion) return null;
  const content = bytes.subarray(0, invitationBytes);
  const network = minerIdSchema.safeParse(networkId);
  if (!network.success || !verifySignature(network.data, signedBytes(content), bytes.subarray(invitationBytes)))
    return null;
  return {
    id: content.toString("hex", 1, 1 + idBytes),
    uses: content.readUInt16LE(1 + idBytes),
    expiresAtSeconds: content.readUInt32LE(1 + idBytes + 2),
  };
}

function signedBytes(content: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from("train-at-home invitation 1\n"), content]);
}
