/** A benchmark's command line: one zod object says what flags there are, and what they may be. */
import { parseArgs } from "node:util";
import { z } from "zod";

const usageError = 2;

/** `--steps 300`. */
export const count = z.coerce.number().int().positive();

/** `--json`: given or not. */
export const given = z.boolean().default(false);

/** `--key-value-heads 2` sets `keyValueHeads`. A flag that is unknown or out of range ends the process with its name. */
export function readFlags<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  args: readonly string[] = process.argv.slice(2),
): z.output<z.ZodObject<Shape>> {
  const options = Object.entries(schema.shape).map(([name, type]) => [
    kebabCase(name),
    { type: type === given ? ("boolean" as const) : ("string" as const) },
  ]);
  try {
    const { values } = parseArgs({ args: [...args], options: Object.fromEntries(options) });
    return schema.parse(Object.fromEntries(Object.entries(values).map(([flag, value]) => [camelCase(flag), value])));
  } catch (error) {
    const problem = error instanceof z.ZodError ? describeIssues(error) : String(error);
    process.stderr.write(`${problem}\nflags: ${options.map(([flag]) => `--${flag}`).join(" ")}\n`);
    process.exit(usageError);
  }
}

function describeIssues(error: z.ZodError): string {
  return error.issues.map(({ path, message }) => `--${kebabCase(String(path[0]))}: ${message}`).join("\n");
}

export function kebabCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function camelCase(flag: string): string {
  return flag.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
