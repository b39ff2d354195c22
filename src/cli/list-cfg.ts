// hone list-cfg: the ready-made configs, with what each is for.
import { Command } from "commander";
import { formatCount } from "../base/format.ts";
import { zooParts } from "../xtuner/zoo.ts";
import { listConfigs, ownConfigs, type ReadyConfig } from "./config-zoo.ts";
import { EXIT, type ExitCode, type Runner, type Session } from "./session.ts";
import { wrapWords } from "./terminal.ts";

export function listConfigsCommand(run: Runner): Command {
  return new Command("list-cfg")
    .description("List the ready-made configs.")
    .option("-p, --pattern <text>", "only names with this text in them, whatever its case")
    .addHelpText("after", "\nExample:\n  hone list-cfg -p internlm2_1_8b")
    .action(({ pattern }: { readonly pattern?: string }) =>
      run((session) => printConfigs(session, pattern)),
    );
}

function printConfigs({ output }: Session, pattern: string | undefined): Promise<ExitCode> {
  const configs = listConfigs();
  const wanted = pattern?.toLowerCase() ?? "";
  const found = configs.filter(({ name }) => name.toLowerCase().includes(wanted));
  for (const { name, about, path } of found) {
    output.emit("config", { name, about, ...(path === undefined ? {} : { path }) });
  }
  // Whoever pipes the list into grep wants all of it.
  const isWhole = pattern !== undefined || !process.stdout.isTTY;
  output.print(isWhole ? columnsOf(found) : overview(configs.length));
  if (found.length === 0) output.say(`No ready-made config has "${pattern}" in its name.`);
  return Promise.resolve(EXIT.done);
}

function columnsOf(configs: readonly ReadyConfig[]): string {
  const width = Math.max(0, ...configs.map(({ name }) => name.length));
  return configs.map(({ name, about }) => `${name.padEnd(width)}  ${about}\n`).join("");
}

const COLUMNS = 80;
const INDENT = " ".repeat(10);

/** The few of all `count` that stand for themselves, and what the names of the others are made of. */
export function overview(count: number): string {
  const { models, methods, data } = zooParts();
  const own = ownConfigs();
  const parts = Object.entries({ MODEL: models, METHOD: methods, DATA: data }).map(
    ([title, names]) => {
      const lines = wrapWords(names.join(", "), COLUMNS - INDENT.length);
      return `  ${title.padEnd(INDENT.length - 2)}${lines.join(`\n${INDENT}`)}\n`;
    },
  );
  return `${columnsOf(own)}
${formatCount(count - own.length)} more are named MODEL_METHOD_DATA, as in internlm2_1_8b_qlora_alpaca_e3:
${parts.join("")}
hone list-cfg -p TEXT lists those with TEXT in their names; a pipe gets all.
`;
}
