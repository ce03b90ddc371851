/**
 * Builds the native addon, native-bridge/build/train-at-home-native.node, with the C++ compiler that the system has. It is a
 * handful of compiler calls: every kernel file once per instruction set, everything else once, and a link. Nothing happens
 * when sources, flags and compiler are those of the last build. Like all of the set-up this runs on the system's Node.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
// Whole, because a Node that is too old to have availableParallelism must get as far as the check of its version.
import os from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { argv, env } from "node:process";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { runCaptured } from "./setup/child.mjs";
import { SetupFailure } from "./setup/failure.mjs";
import { root } from "./setup/folders.mjs";
import { runScript } from "./setup/run-script.mjs";

const sourceFolder = join(root, "native-bridge", "src");
const buildFolder = join(root, "native-bridge", "build");
const clangArchitecture = process.arch === "arm64" ? "aarch64" : "x86_64";
const addonName = "train-at-home-native.node";

/**
 * @typedef {object} Compilation one call of the compiler
 * @property {string} source
 * @property {string} object
 * @property {readonly string[]} flags
 */

/**
 * @typedef {object} Toolchain
 * @property {readonly [program: string, ...args: string[]]} command the compiler
 * @property {string} version what it says about itself
 * @property {Readonly<Record<string, readonly string[]>>} instructionSetFlags for each namespace of kernels
 * @property {readonly string[]} exactFlags for what must give the same bits everywhere
 * @property {(compilation: Compilation) => readonly string[]} compile the compiler's arguments
 * @property {(objects: readonly string[], output: string) => readonly (readonly string[])[]} link commands to run in order
 */

const avx512Flags = ["-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mfma", "-mprefer-vector-width=512"];
const gnuInstructionSets = {
  generic: [],
  avx2: ["-mavx2", "-mfma"],
  avx512: avx512Flags,
  avx512bf16: [...avx512Flags, "-mavx512bf16"],
};
/** It has instructions for matrix products, of which the codec has none. */
const productsOnlySet = "avx512bf16";
const microsoftInstructionSets = { generic: [], avx2: ["/arch:AVX2"], avx512: ["/arch:AVX512"] };

// Not -ffast-math: NaN and infinity must stay detectable, and sums keep the order they are written in.
const gnuFlags = [
  ...["-std=c++17", "-O3", "-fPIC", "-pthread", "-fvisibility=hidden", "-Wall", "-Wextra"],
  ...["-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-DNAPI_VERSION=8"],
];
const microsoftFlags = ["/nologo", "/std:c++17", "/O2", "/EHsc", "/MD", "/utf-8", "/fp:contract", "/DNAPI_VERSION=8"];

/**
 * Optimised less, and without the checks of every access that the address sanitizer or the processor makes anyway: the kernels
 * would take minutes to compile. Whatever is found ends the process.
 * @param {string} sanitizers
 */
const sanitizerFlags = (sanitizers) => [
  ...[`-fsanitize=${sanitizers}`, "-fno-sanitize=null,object-size,alignment", "-fno-sanitize-recover=all"],
  ...["-fno-omit-frame-pointer", "-g1", "-O1"],
];

/**
 * @typedef {object} BuildOptions
 * @property {boolean} quiet print nothing when all goes well
 * @property {string} [sanitizers] GCC's and Clang's, such as "address,undefined": an addon in a folder of its own, for tests
 */

/**
 * @param {BuildOptions} options
 * @returns {Promise<string>} the addon's file
 * @throws SetupFailure "no-compiler" or "native-build-failed"
 */
export async function buildNative({ quiet, sanitizers }) {
  const folder =
    sanitizers === undefined ? buildFolder : join(buildFolder, `sanitized-${sanitizers.replaceAll(",", "-")}`);
  const addonFile = join(folder, addonName);
  const stampFile = join(folder, "stamp");
  const extraFlags = sanitizers === undefined ? [] : sanitizerFlags(sanitizers);
  const toolchain = await findToolchain();
  const compilations = compilationsFor(toolchain, folder, extraFlags);
  const stamp = stampOf(toolchain, compilations);
  if (existsSync(addonFile) && existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) {
    if (!quiet) console.log("The native addon is up to date.");
    return addonFile;
  }
  if (!quiet) console.log(`Compiling ${compilations.length} files with ${toolchain.version} …`);
  rmSync(stampFile, { force: true });
  await runAll(compilations, async (compilation) => {
    mkdirSync(dirname(compilation.object), { recursive: true });
    await run([...toolchain.command, ...toolchain.compile(compilation)]);
  });
  // A running process may have the old addon mapped: it is replaced, never written over.
  const linked = `${addonFile}.${process.pid}`;
  const objects = compilations.map(({ object }) => object);
  for (const command of toolchain.link(objects, linked)) await run([...command, ...extraFlags]);
  renameSync(linked, addonFile);
  writeFileSync(stampFile, stamp);
  if (!quiet) console.log(`Built ${relative(root, addonFile)}.`);
  return addonFile;
}

/**
 * The address sanitizer's library, which a program that was not built with it loads before all others.
 * @throws SetupFailure "no-compiler" or "native-build-failed"
 */
export async function sanitizerRuntime() {
  const { command, version } = await findToolchain();
  const [program = "", ...args] = command;
  const name = /clang/i.test(version) ? `libclang_rt.asan-${clangArchitecture}.so` : "libasan.so";
  const { output } = await runCaptured(program, [...args, `-print-file-name=${name}`]);
  const file = output.trim();
  if (!existsSync(file)) throw new SetupFailure("native-build-failed", `${version} comes without ${name}.`);
  return file;
}

/** @param {Toolchain} toolchain @param {string} folder @param {readonly string[]} extraFlags @returns {Compilation[]} */
function compilationsFor({ instructionSetFlags, exactFlags }, folder, extraFlags) {
  const objectOf = (/** @type {string} */ source, /** @type {string} */ set) =>
    join(folder, "objects", set, `${basename(source, ".cc")}.o`);
  const shared = sourcesIn(sourceFolder).map((source) => ({
    source,
    object: objectOf(source, "shared"),
    flags: extraFlags,
  }));
  const perSet = (/** @type {string} */ set, /** @type {string} */ part, /** @type {readonly string[]} */ flags) =>
    sourcesIn(join(sourceFolder, part)).map((source) => ({
      source,
      object: objectOf(source, set),
      flags: [`-DTAH_ISA=${set}`, ...flags, ...extraFlags],
    }));
  const sets = Object.entries(instructionSetFlags);
  return [
    ...shared,
    ...sets.flatMap(([set, flags]) => perSet(set, "kernels", flags)),
    ...sets.flatMap(([set, flags]) => (set === productsOnlySet ? [] : perSet(set, "codec", [...flags, ...exactFlags]))),
  ];
}

/** @param {string} folder */
function sourcesIn(folder) {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".cc"))
    .map((name) => join(folder, name));
}

/** @param {Toolchain} toolchain @param {readonly Compilation[]} compilations */
function stampOf(toolchain, compilations) {
  const hash = createHash("sha256").update(JSON.stringify([toolchain.command, toolchain.version]));
  for (const compilation of compilations) hash.update(JSON.stringify(toolchain.compile(compilation)));
  for (const folder of [sourceFolder, join(sourceFolder, "kernels"), join(sourceFolder, "codec")])
    for (const name of readdirSync(folder).filter((name) => /\.(cc|h)$/.test(name)))
      hash.update(`\0${name}\0`).update(readFileSync(join(folder, name)));
  return hash.digest("hex");
}

/**
 * The compiler that the environment names, or one of those that systems usually have.
 * @returns {Promise<Toolchain>}
 * @throws SetupFailure "no-compiler"
 */
export async function findToolchain() {
  const named = env.CXX?.split(" ").filter((word) => word !== "");
  const usual = process.platform === "win32" ? [["cl"]] : [["c++"], ["g++"], ["clang++"]];
  for (const [program = "", ...args] of named?.length ? [named, ...usual] : usual) {
    const isMicrosoft = /^cl(\.exe)?$/i.test(basename(program));
    const version = await versionOf(program, [...args, ...(isMicrosoft ? [] : ["--version"])]);
    if (version !== undefined) return (isMicrosoft ? microsoftToolchain : gnuToolchain)([program, ...args], version);
  }
  /** @type {Partial<Record<NodeJS.Platform, string>>} */
  const advice = {
    darwin: "run `xcode-select --install`",
    win32: "install Visual Studio Build Tools with “Desktop development with C++” and use its x64 Native Tools prompt",
  };
  const action =
    advice[process.platform] ?? "install one, such as with `sudo apt install g++` or `sudo dnf install gcc-c++`";
  throw new SetupFailure("no-compiler", `no C++ compiler was found: ${action}, then try again.`);
}

/**
 * The first line of what a compiler says about itself; undefined when it cannot be run, or only offers to be installed.
 * @param {string} program @param {readonly string[]} args
 */
async function versionOf(program, args) {
  try {
    const { code, output } = await runCaptured(program, args);
    return code === 0 ? output.trim().split(/\r?\n/)[0] : undefined;
  } catch (error) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (error);
    if (code === "ENOENT" || code === "EACCES") return undefined;
    throw error;
  }
}

/** GCC and Clang. @param {Toolchain["command"]} command @param {string} version @returns {Toolchain} */
function gnuToolchain(command, version) {
  const { include_dir: includeFolder } = nodeApiHeaders();
  const isMac = process.platform === "darwin";
  const systemFlags = isMac ? ["-DTAH_ACCELERATE", "-DACCELERATE_NEW_LAPACK"] : [];
  const linkFlags = isMac
    ? ["-bundle", "-undefined", "dynamic_lookup", "-framework", "Accelerate"]
    : ["-shared", "-pthread"];
  return {
    command,
    version,
    instructionSetFlags: kernelSets(gnuInstructionSets),
    exactFlags: ["-ffp-contract=off"],
    compile: ({ source, object, flags }) => [
      ...gnuFlags,
      ...systemFlags,
      ...flags,
      "-isystem",
      includeFolder,
      "-c",
      source,
      "-o",
      object,
    ],
    link: (objects, output) => [[...command, ...linkFlags, ...objects, "-o", output]],
  };
}

/** Visual C++; Node's exports come from import libraries made here. @returns {Toolchain} */
function microsoftToolchain(/** @type {Toolchain["command"]} */ command, /** @type {string} */ version) {
  const { include_dir: includeFolder, def_paths: definitions } = nodeApiHeaders();
  const machine = `/MACHINE:${process.arch === "arm64" ? "ARM64" : "X64"}`;
  const imports = Object.entries(definitions).map(([name, file]) => ({
    file,
    library: join(buildFolder, `${name}.lib`),
  }));
  return {
    command,
    version,
    instructionSetFlags: kernelSets(microsoftInstructionSets),
    exactFlags: ["/fp:precise"],
    compile: ({ source, object, flags }) => [
      ...[...microsoftFlags, ...flags, `/I${includeFolder}`],
      ...["/c", source, `/Fo${object}`],
    ],
    link: (objects, output) => [
      ...imports.map(({ file, library }) => ["lib", "/NOLOGO", machine, `/DEF:${file}`, `/OUT:${library}`]),
      ["link", "/NOLOGO", "/DLL", machine, ...objects, ...imports.map(({ library }) => library), `/OUT:${output}`],
    ],
  };
}

/** The AVX kernels exist on x86-64 only. @param {Toolchain["instructionSetFlags"]} sets */
function kernelSets(sets) {
  return process.arch === "x64" ? sets : { generic: sets.generic ?? [] };
}

/** @returns {{ include_dir: string, def_paths: Record<string, string> }} */
function nodeApiHeaders() {
  return createRequire(import.meta.url)("node-api-headers");
}

/**
 * Runs a task for every item, as many at once as there are processors.
 * @template Item @param {readonly Item[]} items @param {(item: Item) => Promise<void>} task
 */
async function runAll(items, task) {
  const waiting = items.values();
  const worker = async () => {
    for (const item of waiting) await task(item);
  };
  await Promise.all(Array.from({ length: os.availableParallelism() }, worker));
}

/** @param {readonly string[]} command */
async function run([program = "", ...args]) {
  const { code, output } = await runCaptured(program, args);
  if (code === 0) return;
  mkdirSync(buildFolder, { recursive: true });
  const log = join(buildFolder, "failure.log");
  writeFileSync(log, `${[program, ...args].join(" ")}\n${output}`);
  const firstError = output.split("\n").find((line) => /error/i.test(line)) ?? `${program} ended with code ${code}`;
  throw new SetupFailure("native-build-failed", `the native addon did not compile: ${firstError.trim()} (see ${log})`);
}

if (argv[1] !== undefined && import.meta.url === pathToFileURL(argv[1]).href)
  await runScript(async () => {
    const { values } = parseArgs({ options: { sanitize: { type: "string" } } });
    await buildNative({ quiet: false, sanitizers: values.sanitize });
    return 0;
  });
