// hone list-cfg: the ready-made configs, with what each is for.
import { Command } from "commander";
import { listConfigs } from "./config-zoo.ts";
import { EXIT, type ExitCode, type Runner, type Session } from "./session.ts";

export function listConfigsCommand(run: Runner): Command {
  return new Command("list-cfg")
    .description("List the ready-made configs.")
    .option("-p, --pattern <text>", "only names with this text in them")
    .addHelpText("after", "\nExample:\n  hone list-cfg -p seedling")
    .action(({ pattern }: { readonly pattern?: string }) =>
      run((session) => printConfigs(session, pattern ?? "")),
    );
}

function printConfigs({ output }: Session, pattern: string): Promise<ExitCode> {
  const configs = listConfigs().filter(({ name }) =>
    name.toLowerCase().includes(pattern.toLowerCase()),
  );
  const width = Math.max(0, ...configs.map(({ name }) => name.length));
  for (const { name, about, path } of configs) {
    output.print(`${name.padEnd(width)}  ${about}\n`);
    output.emit("config", { name, about, ...(path === undefined ? {} : { path }) });
  }
  if (configs.length === 0) output.say(`No ready-made config has "${pattern}" in its name.`);
  return Promise.resolve(EXIT.done);
}
