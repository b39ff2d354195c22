// XTuner's `msagent_react_map_fn`: transcripts of ModelScope's agents, rewritten as ReAct's Thought, Action, Action
// Input, Response and Final Answer. The list may be a text as Python writes it, which is read and never executed.
import { trimEnd, trimStart } from "../formats/white-space.ts";
import type { Turn } from "./conversation.ts";
import type { RowReader } from "./map-row.ts";
import { readPythonJson, readPythonJsonAt, readPythonLiteral } from "./python-literal.ts";
import { fromPlain, pythonStr, PythonTuple, type PythonValue, repr } from "./python-values.ts";

const THINK = "<|startofthink|>";
const THOUGHT = "<|endofthink|>";
const EXEC = "<|startofexec|>";
const EXECUTED = "<|endofexec|>";

/** Whether a row's transcript calls tools in the way that this format rewrites. */
export function hasAgentMarks(value: unknown): boolean {
  const text = typeof value === "string" ? value : JSON.stringify(value ?? null);
  return text.includes(THINK) || text.includes(EXEC);
}

/** Empty where the transcript is shorter than two messages, or a call in it cannot be read. */
export function mapMsAgent(row: RowReader): Turn[] {
  const messages = transcriptOf(row);
  if (messages.length < 2) return [];
  const turns: Turn[] = [];
  let system = "";
  let input = "";
  for (const [i, message] of messages.entries()) {
    const field = (name: string) => fieldOf(message, name, row, i);
    const from = field("from");
    if (from === "system") {
      const value = field("value");
      if (typeof value !== "string") throw unreadable(row, i, '"value" is no text');
      const tools = toolsIn(value);
      if (tools === undefined) {
        throw unreadable(row, i, '"value" has objects in objects, too many to look for tools in');
      }
      system += describeTools(tools, row, i);
    } else if (from === "user") input += `${pythonStr(field("value"))}\n`;
    else if (from === "assistant") {
      const answer = splitAnswer(field("value"));
      if (answer === undefined) return [];
      turns.push({ system, input, output: `${answer.output}\n` }, ...afterTool(answer.response));
      system = "";
      input = "";
    }
  }
  return turns;
}

function transcriptOf(row: RowReader): readonly PythonValue[] {
  const given = row.value["conversations"];
  const value = typeof given === "string" ? readPythonLiteral(given) : fromPlain(given);
  if (Array.isArray(value)) return value;
  if (value instanceof PythonTuple) return value.items;
  throw row.refuse(
    typeof given === "string"
      ? '"conversations" is a text that is no list as Python writes it'
      : '"conversations" is no list',
    "Correct that row.",
  );
}

function fieldOf(message: PythonValue, name: string, row: RowReader, index: number): PythonValue {
  const field = message instanceof Map ? message.get(name) : undefined;
  if (field !== undefined) return field;
  throw unreadable(row, index, `it has no "${name}"`);
}

function unreadable(row: RowReader, index: number, fact: string) {
  return row.refuse(`conversations[${index}]: ${fact}`, "Correct that row.");
}

/** Where an object with a key begins. */
const OBJECT = /\{[ \t\n\r]*"/g;
/** An object that is no tool is read again from each object in it: so often a text may be read, … */
const READS = 4;
/** … a long one less often, … */
const REREAD_CHARS = 1 << 23;
/** … and a short one more. */
const FREE_CHARS = 1 << 20;
const ATTEMPT_CHARS = 16;

/** The JSON objects of a text that describe a tool. Undefined where that takes too long to find. */
function toolsIn(text: string): Map<PythonValue, PythonValue>[] | undefined {
  const tools: Map<PythonValue, PythonValue>[] = [];
  const rereads = Math.min((READS - 1) * text.length, REREAD_CHARS);
  let left = text.length + rereads + FREE_CHARS;
  OBJECT.lastIndex = 0;
  for (let found = OBJECT.exec(text); found !== null; found = OBJECT.exec(text)) {
    const { value, end } = readPythonJsonAt(text, found.index);
    left -= ATTEMPT_CHARS + end - found.index;
    if (left < 0) return undefined;
    const isTool = value instanceof Map && value.has("name") && value.has("description");
    if (isTool) tools.push(value);
    OBJECT.lastIndex = isTool ? end : found.index + 1;
  }
  return tools;
}

function describeTools(
  tools: readonly Map<PythonValue, PythonValue>[],
  row: RowReader,
  index: number,
): string {
  const described = new Map<PythonValue, PythonValue>();
  for (const tool of tools) {
    const name = tool.get("name") ?? null;
    if (typeof name === "object" && name !== null) {
      throw unreadable(row, index, `a tool's name is ${repr(name)}`);
    }
    const description = tool.get("description") ?? null;
    const parameters = parametersOf(tool);
    const isText = typeof description === "string" && parameters !== undefined;
    described.set(name, isText ? `${description}\n输入参数: ${repr(parameters)}` : description);
  }
  const names = repr([...described.keys()]);
  return [
    "你是一个可以调用外部工具的助手，可以使用的工具包括：",
    repr(described),
    "如果使用工具请遵循以下格式回复：",
    "```",
    "Thought:思考你当前步骤需要解决什么问题，是否需要使用工具",
    `Action:工具名称，你的工具必须从 [${names}] 选择`,
    "Action Input:工具输入参数",
    "```",
    "工具返回按照以下格式回复：",
    "```",
    "Response:调用工具后的结果",
    "```",
    "如果你已经知道了答案，或者你不需要工具，请遵循以下格式回复",
    "```",
    "Thought:给出最终答案的思考过程",
    "Final Answer:最终答案",
    "```",
    "开始!",
    "",
  ].join("\n");
}

/** Names and descriptions of `paths[0].parameters`, or undefined where anything of them is not so. */
function parametersOf(
  tool: Map<PythonValue, PythonValue>,
): Map<PythonValue, PythonValue> | undefined {
  const paths = tool.get("paths");
  const [path] = Array.isArray(paths) ? paths : [];
  const listed = path instanceof Map ? path.get("parameters") : undefined;
  // Python goes through an empty text or dict as through an empty list.
  if (listed === "" || (listed instanceof Map && listed.size === 0)) return new Map();
  if (!Array.isArray(listed)) return undefined;
  const parameters = new Map<PythonValue, PythonValue>();
  for (const parameter of listed) {
    const name = parameter instanceof Map ? parameter.get("name") : undefined;
    const description = parameter instanceof Map ? parameter.get("description") : undefined;
    if (name === undefined || description === undefined) return undefined;
    if (typeof name === "object" && name !== null) return undefined;
    parameters.set(name, description);
  }
  return parameters;
}

/** An answer's thoughts as ReAct has them, and what came back from its tool. Undefined where it cannot be read. */
function splitAnswer(value: PythonValue): { output: string; response?: string } | undefined {
  if (typeof value !== "string") return undefined;
  const [said = "", ...responses] = value.split(EXEC);
  if (responses.length > 1) return undefined;
  const thought = rewriteThoughts(said);
  if (thought === undefined) return undefined;
  const output = thought.count === 0 ? `Final Answer:${said}` : thought.text;
  const [response] = responses;
  return { output, ...(response === undefined ? {} : { response }) };
}

function rewriteThoughts(text: string): { text: string; count: number } | undefined {
  let written = "";
  let at = 0;
  for (let count = 0; ; count++) {
    const start = text.indexOf(THINK, at);
    const end = start < 0 ? -1 : text.indexOf(THOUGHT, start + THINK.length);
    if (end < 0) return { text: written + text.slice(at), count };
    const call = readPythonJson(withoutFences(text.slice(start + THINK.length, end)));
    const name = call instanceof Map ? call.get("api_name") : undefined;
    const parameters = call instanceof Map ? call.get("parameters") : undefined;
    if (name === undefined || parameters === undefined) return undefined;
    const thought = strip(text.slice(at, start));
    if (thought !== "") written += `Thought:${thought}\n`;
    written += `Action:${pythonStr(name)}\nAction Input:${pythonStr(parameters)}\n`;
    at = end + THOUGHT.length;
  }
}

const FINAL = "Final Answer:";

/** What came back from a tool is shown as a system text, and what was said of it is learned. */
function afterTool(response: string | undefined): Turn[] {
  if (response === undefined) return [];
  const end = response.indexOf(EXECUTED);
  let written = EXEC + response;
  if (end >= 0) {
    const result = readPythonJson(withoutFences(response.slice(0, end)));
    if (result === undefined) return [];
    const after = response.slice(end + EXECUTED.length);
    // A line end at the very end stays where it is, as `$` leaves it.
    const rest = after.endsWith("\n") ? "\n" : "";
    const said = strip(after);
    written = `Response:${pythonStr(result)}\n${said === "" ? "" : `${FINAL}${said}\n`}${rest}`;
  }
  const [system = "", answer, ...more] = written.split(FINAL);
  if (answer === undefined || more.length > 0) return [];
  return [{ system, input: "", output: FINAL + answer }];
}

function withoutFences(text: string): string {
  return text.replaceAll("```JSON", "").replaceAll("```", "").replaceAll("\n", "");
}

function strip(text: string): string {
  return trimEnd(trimStart(text));
}
