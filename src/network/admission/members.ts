/**
 * Who came in by an invitation: `members.json` in a network's state folder. Only the running network writes it. A key that is in it
 * stays in, also when its invitation has expired; only a ban keeps it out.
 */
import { join } from "node:path";
import { z } from "zod";
import { readFileIfPresent, writeFileAtomically } from "../../disk/atomic-file.ts";
import { FailureError } from "../../protocol/failure.ts";
import { type MinerId, minerIdSchema } from "../../protocol/ids.ts";

const memberSchema = z.strictObject({
  minerId: minerIdSchema,
  /** Of the invitation. */
  invitation: z.string(),
  atMs: z.number(),
});
type Member = Readonly<z.infer<typeof memberSchema>>;

export class Members {
  readonly #path: string;
  readonly #members: Map<MinerId, Member>;

  /** Throws `FailureError` (state-corrupt, file-unreadable). */
  constructor(stateFolder: string) {
    this.#path = join(stateFolder, "members.json");
    this.#members = new Map(readMembers(this.#path).map((member) => [member.minerId, member]));
  }

  has(minerId: MinerId): boolean {
    return this.#members.has(minerId);
  }

  /** Keys that came in by this invitation. */
  broughtBy(invitation: string): number {
    let count = 0;
    for (const member of this.#members.values()) if (member.invitation === invitation) count += 1;
    return count;
  }

  /** On disk when it returns. Throws `FailureError` (disk-full, file-unreadable): then nobody was added. */
  add(member: Member): void {
    const members = [...this.#members.values(), member];
    writeFileAtomically(this.#path, `${JSON.stringify(members)}\n`);
    this.#members.set(member.minerId, member);
  }
}

function readMembers(path: string): readonly Member[] {
  const text = readFileIfPresent(path);
  if (text === null) return [];
  try {
    return z.array(memberSchema).parse(JSON.parse(text));
  } catch (cause) {
    throw new FailureError("state-corrupt", `${path} is not a list of members.`, {
      action: "Restore it from a backup, or move it away and invite everyone anew.",
      cause,
    });
  }
}
