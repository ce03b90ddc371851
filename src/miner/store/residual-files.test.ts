import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runIdSchema } from "../../protocol/ids.ts";
import { ResidualFiles } from "./residual-files.ts";

const of = { runId: runIdSchema.parse("run"), stage: 1, parameters: 1000 };
const payload = Uint8Array.from({ length: 1000 }, (_, index) => index % 251);

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "residuals-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function files(maxBytes = 1 << 20): ResidualFiles {
  return new ResidualFiles(join(folder, "error-feedback"), maxBytes);
}

const fileOf = (stage = of.stage) => join(folder, "error-feedback", `run-${stage}.bin`);

describe("error feedback on disk", () => {
  it("is there after a restart, for the stage and the run that it is of", async () => {
    expect(await files().read(of)).toBe("none");
    await files().write(of, 7, payload);
    expect(await files().read(of)).toEqual(Buffer.from(payload));
    expect(await files().read({ ...of, stage: 2 })).toBe("none");
    expect(await files().read({ ...of, runId: runIdSchema.parse("another") })).toBe("none");
  });

  it("is damaged when any of its bytes is another, when it is cut short, or of a stage of another size", async () => {
    await files().write(of, 7, payload);
    expect(await files().read({ ...of, parameters: 999 })).toBe("damaged");
    const whole = readFileSync(fileOf());
    for (let index = 0; index < whole.length; index += 61) {
      const bytes = Buffer.from(whole);
      bytes[index] = (bytes[index] ?? 0) ^ 1;
      writeFileSync(fileOf(), bytes);
      // What changes nothing but the epoch in the header harms nobody.
      if (bytes.toString("latin1").replace(/"epoch":\d/, "") !== whole.toString("latin1").replace(/"epoch":\d/, ""))
        expect(await files().read(of), `byte ${index}`).toBe("damaged");
      writeFileSync(fileOf(), whole.subarray(0, index));
      expect(await files().read(of), `${index} bytes`).toBe("damaged");
    }
  });

  it("leaves no draft beside it, and forgets what was not written for longest when there is too much", async () => {
    const store = files(2500);
    for (const stage of [0, 1, 2]) {
      await store.write({ ...of, stage }, 7, payload);
      utimesSync(fileOf(stage), 1000 + stage, 1000 + stage);
    }
    expect(readdirSync(join(folder, "error-feedback")).sort()).toEqual(["run-1.bin", "run-2.bin"]);
    await store.write({ ...of, stage: 3 }, 8, new Uint8Array(5000));
    expect(readdirSync(join(folder, "error-feedback"))).toEqual(["run-3.bin"]);
  });

  it("that cannot be written is a failure that says why", async () => {
    writeFileSync(join(folder, "error-feedback"), "a file where a folder should be");
    await expect(files().write(of, 7, payload)).rejects.toMatchObject({ failure: { code: "file-unreadable" } });
  });
});
