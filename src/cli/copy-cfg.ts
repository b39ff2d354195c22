// hone copy-cfg: a ready-made config to a place where it can be edited.
import { join } from "node:path";
import { Command } from "commander";
import { UserError } from "../base/error.ts";
import { openFolder } from "../hosts/node.ts";
import { findConfig } from "./config-zoo.ts";
import { EXIT, type ExitCode, type Runner, type Session } from "./session.ts";

export function copyConfigCommand(run: Runner): Command {
  return new Command("copy-cfg")
    .description("Copy a ready-made config, to be edited.")
    .argument("<name>", "a name from hone list-cfg")
    .argument("<folder>", "where to put NAME_copy.yaml")
    .addHelpText("after", "\nExample:\n  hone copy-cfg internlm2_1_8b_qlora_alpaca_e3 .")
    .action((name: string, folder: string) => run((session) => copyConfig(session, name, folder)));
}

async function copyConfig({ output }: Session, name: string, folder: string): Promise<ExitCode> {
  const { name: known, text } = findConfig(name);
  const target = openFolder(folder);
  const file = `${known}_copy.yaml`;
  const path = join(folder, file);
  if ((await target.size(file)) !== undefined) {
    throw new UserError(`${path} is already there.`, "Move it away, or choose another folder.");
  }
  await target.write(file, text);
  output.emit("copied", { path });
  output.print(`${path}\n`);
  output.say(`Copied to ${path}. Edit it, then run: hone train ${path}`);
  return EXIT.done;
}
