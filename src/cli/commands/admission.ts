/** `tah network invite|ban|unban|bans|hotkeys`: whom a network lets in, and who vouches for them, on the computer that serves it, whether it runs or not. */
import { randomBytes } from "node:crypto";
import type { Command } from "commander";
import { z } from "zod";
import { ban, banSchema, readBans, unban } from "../../network/admission/bans.ts";
import { readHotkeys } from "../../network/hotkeys.ts";
import { existingNetworkIdentity } from "../../network/network-identity.ts";
import { type Invitation, invitationToken, maximumUses } from "../../protocol/admission.ts";
import { type MinerId, shortId } from "../../protocol/ids.ts";
import { networkFolder } from "../network-folders.ts";
import {
  type CommonOptions,
  minerIdValue,
  networkUrlValue,
  valueParser,
  wholeNumber,
  withCommonOptions,
} from "../option-types.ts";
import type { Output } from "../output.ts";
import type { InvitationResult } from "../output-schemas.ts";

const secondsPerDay = 86_400;
const usesValue = valueParser(wholeNumber.pipe(z.int().min(1).max(maximumUses)));
const daysValue = valueParser(wholeNumber.pipe(z.int().min(1).max(3650)));
const reasonValue = valueParser(banSchema.shape.reason);

interface InviteOptions extends CommonOptions {
  readonly address?: string;
  readonly uses: number;
  readonly days: number;
}

interface BanOptions extends CommonOptions {
  readonly reason: string;
}

export function addAdmissionCommands(network: Command, output: Output): void {
  withCommonOptions(network.command("invite"))
    .description("Make an invitation to a network that is served with --admission invitation.")
    .option("--address <url>", "the network's, to print what the invited type", networkUrlValue)
    .option("--uses <number>", "machines that it lets in", usesValue, 1)
    .option("--days <number>", "until it expires", daysValue, 7)
    .action((options: InviteOptions) => output.result(invite(options), inviteText));

  withCommonOptions(network.command("ban").argument("<key>", "of the miner", minerIdValue))
    .description("Keep a miner's key out of this network; a running network sends it away within seconds.")
    .requiredOption("--reason <text>", "what the miner is told", reasonValue)
    .action((minerId: MinerId, options: BanOptions) => {
      const folder = existingNetwork(options);
      const banned = { minerId, reason: options.reason, atMs: Date.now() };
      ban(folder, banned);
      output.result(banned, () => `${shortId(minerId)} is banned: ${options.reason}`);
    });

  withCommonOptions(network.command("unban").argument("<key>", "of the miner", minerIdValue))
    .description("Lift a ban.")
    .action((minerId: MinerId, options: CommonOptions) => {
      unban(existingNetwork(options), minerId);
      output.result({ minerId }, () => `${shortId(minerId)} may come back.`);
    });

  withCommonOptions(network.command("bans"))
    .description("Whom this network has banned, and why.")
    .action((options: CommonOptions) => {
      output.result({ bans: readBans(existingNetwork(options)) }, ({ bans }) =>
        bans.length === 0 ? "Nobody is banned." : bans.map(({ minerId, reason }) => `${minerId}  ${reason}`).join("\n"),
      );
    });

  withCommonOptions(network.command("hotkeys"))
    .description("The Bittensor hotkeys whose owners vouch for miners of this network.")
    .action((options: CommonOptions) => {
      const folder = networkFolder(options);
      const networkId = existingNetworkIdentity(folder).minerId;
      output.result({ hotkeys: readHotkeys(folder, { networkId, nowMs: Date.now() }) }, ({ hotkeys }) =>
        hotkeys.length === 0
          ? "No miner has proven a hotkey."
          : hotkeys.map(({ minerId, address, until }) => `${minerId}  ${address}  until ${until}`).join("\n"),
      );
    });
}

function invite({ address, uses, days, ...options }: InviteOptions): InvitationResult {
  const expiresAtSeconds = Math.floor(Date.now() / 1000) + days * secondsPerDay;
  const invitation: Invitation = { id: randomBytes(8).toString("hex"), uses, expiresAtSeconds };
  const token = invitationToken(invitation, existingNetworkIdentity(networkFolder(options)));
  return { ...invitation, token, address: address === undefined ? null : withInvitation(address, token) };
}

/** Beside what the address holds already, such as the fingerprint of a certificate. */
function withInvitation(address: string, token: string): string {
  return `${address}${address.includes("#") ? "," : "#"}invitation=${token}`;
}

function inviteText({ uses, expiresAtSeconds, token, address }: InvitationResult): string {
  const machines = uses === 1 ? "one machine" : `${uses} machines`;
  const until = new Date(expiresAtSeconds * 1000).toISOString().slice(0, 16).replace("T", " ");
  const joined = address ?? withInvitation("ws://HOST:PORT", token);
  return `For ${machines}, until ${until} UTC:\ntah mine --network '${joined}'`;
}

/** Where there is no network, nobody can be banned from it. */
function existingNetwork(options: CommonOptions): string {
  const folder = networkFolder(options);
  existingNetworkIdentity(folder);
  return folder;
}
