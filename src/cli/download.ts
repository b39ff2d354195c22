// hone download: a model, an adapter or a data set of the hub into the cache, or into a folder of one's own.
import { Command, Option } from "commander";
import { UserError } from "../base/error.ts";
import { formatBytes, formatCount } from "../base/format.ts";
import { matchesGlob } from "../base/glob.ts";
import { chooseFiles } from "../hosts/hub-model-files.ts";
import { type HubReference, parseHubReference, type RepoKind } from "../hosts/hub-reference.ts";
import type { HubFile } from "../hosts/hub.ts";
import { type CachedRepo, openRepo } from "../hosts/node-hub.ts";
import { fetchInto, missingIn } from "../hosts/node-hub-local.ts";
import { type Asking, asking, bring, chooseData, progressTeller, sayWarning } from "./hub.ts";
import { EXIT, type ExitCode, type Runner, type Session } from "./session.ts";

interface DownloadFlags {
  readonly repoType: RepoKind;
  readonly revision?: string;
  readonly localDir?: string;
  readonly split: string;
}

export function downloadCommand(run: Runner): Command {
  return new Command("download")
    .description(
      "Download a model, an adapter or a data set of the hub, verified; what was broken off goes on.",
    )
    .argument("<repo>", "org/name, org/name@revision, or a link copied from its page")
    .argument(
      "[files...]",
      "names, folders or patterns of files (default: those that Hone needs; '*' is all)",
    )
    .addOption(
      new Option("--repo-type <kind>", "what the repo holds")
        .choices(["model", "dataset"] satisfies RepoKind[])
        .default("model"),
    )
    .option("--revision <name>", "a branch, a tag or a commit (default: main)")
    .option(
      "--local-dir <folder>",
      "put plain files there instead of into the cache that Python shares",
    )
    .option("--split <name>", "of a data set, the split alone", "all")
    .addHelpText(
      "after",
      "\nPrints the folder. HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE act as in Python.",
    )
    .addHelpText("after", "\nExample:\n  hone download internlm/internlm2-chat-1_8b")
    .action((repo: string, files: readonly string[], flags: DownloadFlags) =>
      run((session) => download(session, repo, files, flags)),
    );
}

async function download(
  { output }: Session,
  repo: string,
  patterns: readonly string[],
  flags: DownloadFlags,
): Promise<ExitCode> {
  const folder = await asking(repo, flags.repoType, output, async (asked) => {
    const { place, signal } = asked;
    const { cached, files } = await choose({ ...asked, output }, patterns, flags);
    const ordered = files.toSorted((a, b) => a.bytes - b.bytes);
    if (flags.localDir === undefined) {
      await bring(place, cached, ordered, { output, signal });
      return cached.folder;
    }
    const { repo: name, revision, commit } = cached.repo;
    const missing = await missingIn(flags.localDir, ordered);
    const bytes = missing.reduce((sum, file) => sum + file.bytes, 0);
    const event = { repo: name, revision, commit, folder: flags.localDir };
    output.say(
      `Downloading ${name}: ${formatCount(missing.length)} of ${formatCount(files.length)} files, ${formatBytes(bytes)}, into ${flags.localDir}`,
    );
    output.emit("download", { ...event, files: missing.map((file) => file.name), bytes });
    await fetchInto(place, cached, missing, flags.localDir, {
      signal,
      onProgress: progressTeller(output, name),
    });
    output.emit("downloaded", event);
    return flags.localDir;
  });
  output.print(`${folder}\n`);
  return EXIT.done;
}

interface Choosing extends Asking {
  readonly output: Session["output"];
}

async function choose(
  { place, reference: named, signal, output }: Choosing,
  patterns: readonly string[],
  { repoType, revision, split }: DownloadFlags,
): Promise<{ readonly cached: CachedRepo; readonly files: readonly HubFile[] }> {
  const reference = revision === undefined ? named : atRevision(named, revision, place.hubUrl);
  if (patterns.length === 0 && repoType === "dataset") {
    const { cached, choice } = await chooseData(place, reference, split, {
      output,
      signal,
      isFresh: true,
    });
    const card = cached.repo.files.filter(({ name }) => name === "README.md");
    return { cached, files: [...new Set([...card, ...choice.files])] };
  }
  const cached = await openRepo(place, reference, { signal, isFresh: true });
  sayWarning(cached, output);
  const { files, repo } = cached.repo;
  const chosen =
    patterns.length > 0
      ? matching(files, patterns, repo)
      : chooseFiles(files, reference.path, repo).files;
  return { cached, files: chosen };
}

/** Refuses what is no revision, as it does in org/name@revision. */
function atRevision(reference: HubReference, revision: string, hubUrl: string): HubReference {
  const text = `${reference.repo}@${encodeURIComponent(revision)}`;
  return { ...reference, revision: parseHubReference(text, hubUrl, reference.kind).revision };
}

function matching(
  files: readonly HubFile[],
  patterns: readonly string[],
  repo: string,
): readonly HubFile[] {
  const found = new Set<HubFile>();
  for (const pattern of patterns) {
    const folder = `${pattern.replace(/\/+$/, "")}/`;
    const own = files.filter(
      ({ name }) =>
        // As huggingface_hub has it, "*" alone goes into folders too.
        pattern === "*" ||
        name === pattern ||
        name.startsWith(folder) ||
        matchesGlob(name, pattern),
    );
    if (own.length === 0) {
      const shown = files.slice(0, 12).map(({ name }) => name);
      throw new UserError(
        `${repo} has no file ${pattern}; it has ${shown.join(", ")}${files.length > shown.length ? ", …" : ""}.`,
        "Check the name on its page.",
      );
    }
    for (const file of own) found.add(file);
  }
  return [...found];
}
