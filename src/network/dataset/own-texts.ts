/** A person's own text: a `.txt` file is one document, each line of a `.jsonl` file is one, in its field "text". */
import { readdir, readFile, stat } from "node:fs/promises";
import { extname, join } from "node:path";
import { z } from "zod";
import { FailureError } from "../../protocol/failure.ts";

/** JavaScript strings end at about 2²⁹ characters. */
const maxFileBytes = 400 << 20;

const lineSchema = z.object({ text: z.string() });

/** `path` is a file, or a folder of such files. Rejects with `FailureError`: file-unreadable, dataset-invalid. */
export async function readOwnTexts(path: string): Promise<readonly string[]> {
  const files = await findFiles(path);
  const texts: string[] = [];
  for (const file of files) {
    const content = await readUtf8(file);
    if (extname(file) === ".jsonl") texts.push(...parseLines(content, file));
    else texts.push(content);
  }
  if (texts.every((text) => text.trim() === ""))
    throw invalid(`${path} holds no text.`, "Name a file with text, or leave --data out to train on the bundled text.");
  return texts;
}

async function findFiles(path: string): Promise<readonly string[]> {
  const information = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    throw unreadable(path, cause);
  });
  const isText = (name: string) => [".txt", ".jsonl"].includes(extname(name));
  if (information.isDirectory()) {
    const names = (await readdir(path)).filter(isText).sort();
    if (names.length === 0) throw invalid(`${path} holds no .txt or .jsonl files.`);
    return names.map((name) => join(path, name));
  }
  if (!isText(path)) throw invalid(`${path} is neither a .txt nor a .jsonl file.`);
  return [path];
}

async function readUtf8(path: string): Promise<string> {
  const bytes = await readFile(path).catch((cause: NodeJS.ErrnoException) => {
    throw unreadable(path, cause);
  });
  if (bytes.length > maxFileBytes)
    throw invalid(`${path} is larger than ${maxFileBytes >> 20} MiB.`, "Split it into several files of one folder.");
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FailureError("dataset-invalid", `${path} is not UTF-8 text.`, {
      action: "Convert it to UTF-8.",
      cause,
    });
  }
}

function parseLines(content: string, path: string): string[] {
  return content.split("\n").flatMap((line, index) => {
    if (line.trim() === "") return [];
    const where = `${path}, line ${index + 1}`;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      throw invalid(`${where} is not JSON.`, "Each line is one JSON object.");
    }
    const parsed = lineSchema.safeParse(value);
    if (!parsed.success) throw invalid(`${where} has no field "text" that is a string.`);
    return [parsed.data.text];
  });
}

function unreadable(path: string, cause: NodeJS.ErrnoException): FailureError {
  const missing = cause.code === "ENOENT";
  return new FailureError(
    "file-unreadable",
    missing ? `There is no ${path}.` : `Cannot read ${path}: ${cause.message}`,
    {
      action: "Check the path after --data.",
      cause,
    },
  );
}

function invalid(message: string, action = "Give --data a .txt or .jsonl file, or a folder of them."): FailureError {
  return new FailureError("dataset-invalid", message, { action });
}
