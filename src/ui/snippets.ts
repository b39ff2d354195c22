// Commands and code with which an export is used elsewhere. Names may be anything: they are quoted for where
// they stand.

export interface SnippetParts {
  readonly kind: "adapter" | "merged";
  /** What people call it: a run's name. */
  readonly name: string;
  /** The base: an id on the hub, or the name of a folder. */
  readonly base: string;
  readonly isBaseOnHub: boolean;
  /** Of the adapter. */
  readonly rank: number;
  /** The system message it was trained with; empty if none. */
  readonly system: string;
  /** Its own code has to be run to load it with transformers. */
  readonly needsRemoteCode: boolean;
}

export interface Snippet {
  /** The tool's own name, the same in every language. */
  readonly title: string;
  readonly text: string;
}

export function snippetsFor(parts: SnippetParts): Snippet[] {
  return parts.kind === "adapter"
    ? [peft(parts), vllmAdapter(parts), llamaCppAdapter(parts), honeAdapter(parts)]
    : [transformers(parts), vllmMerged(parts), ollama(parts), honeMerged(parts)];
}

/** The name as a folder, a file or a served model may have it: "Ann's helper" → "ann-s-helper". */
export function slugOf(name: string): string {
  const slug = name
    .normalize("NFKD")
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-+|-+$/g, "")
    .slice(0, 48);
  return slug || "hone-model";
}

function peft(parts: SnippetParts): Snippet {
  const base = python(basePlace(parts));
  const remote = parts.needsRemoteCode ? ", trust_remote_code=True" : "";
  return {
    title: "PEFT",
    text: `# pip install peft transformers accelerate
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(${base}${remote})
base = AutoModelForCausalLM.from_pretrained(${base}, torch_dtype="auto", device_map="auto"${remote})
model = PeftModel.from_pretrained(base, ${python(folderOf(parts))})
${answerInPython(parts)}`,
  };
}

function transformers(parts: SnippetParts): Snippet {
  const folder = python(folderOf(parts));
  const remote = parts.needsRemoteCode ? ", trust_remote_code=True" : "";
  return {
    title: "transformers",
    text: `# pip install transformers accelerate
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(${folder}${remote})
model = AutoModelForCausalLM.from_pretrained(${folder}, torch_dtype="auto", device_map="auto"${remote})
${answerInPython(parts)}`,
  };
}

function answerInPython({ system }: SnippetParts): string {
  const first = system === "" ? "" : `\n    {"role": "system", "content": ${python(system)}},`;
  return `messages = [${first}
    {"role": "user", "content": "Hello!"},
]
inputs = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
).to(model.device)
output = model.generate(**inputs, max_new_tokens=200)
print(tokenizer.decode(output[0][inputs["input_ids"].shape[1]:], skip_special_tokens=True))`;
}

// The ranks that vLLM can be told.
const VLLM_RANKS = [8, 16, 32, 64, 128, 256, 320, 512];

function vllmAdapter(parts: SnippetParts): Snippet {
  const rank = VLLM_RANKS.find((candidate) => candidate >= parts.rank) ?? parts.rank;
  const remote = parts.needsRemoteCode ? " --trust-remote-code" : "";
  const name = slugOf(parts.name);
  return {
    title: "vLLM",
    text: `vllm serve ${shell(basePlace(parts))} --enable-lora --max-lora-rank ${rank} \\
  --lora-modules ${shell(`${name}=${folderOf(parts)}`)}${remote}
${askServer(name)}`,
  };
}

function vllmMerged(parts: SnippetParts): Snippet {
  const remote = parts.needsRemoteCode ? " --trust-remote-code" : "";
  const name = slugOf(parts.name);
  return {
    title: "vLLM",
    text: `vllm serve ${shell(folderOf(parts))} --served-model-name ${shell(name)}${remote}
${askServer(name)}`,
  };
}

function askServer(name: string): string {
  const body = JSON.stringify({ model: name, messages: [{ role: "user", content: "Hello!" }] });
  return `# in another terminal
curl http://localhost:8000/v1/chat/completions -H 'Content-Type: application/json' \\
  -d ${shell(body)}`;
}

function llamaCppAdapter(parts: SnippetParts): Snippet {
  const file = `${slugOf(parts.name)}-lora.gguf`;
  const base = parts.isBaseOnHub
    ? `--base-model-id ${shell(parts.base)}`
    : `--base ${shell(basePlace(parts))}`;
  return {
    title: "llama.cpp",
    text: `# in a clone of llama.cpp
python convert_lora_to_gguf.py ${shell(folderOf(parts))} ${base} --outfile ${file}
llama-cli -m base.gguf --lora ${file}`,
  };
}

function ollama(parts: SnippetParts): Snippet {
  const name = slugOf(parts.name);
  // One line, so that nothing in it can end the text around it.
  const system = parts.system.replaceAll(/\s+/g, " ").replaceAll('"""', "'''").trim();
  const systemLine = system === "" ? "" : `\nSYSTEM """${system}"""`;
  return {
    title: "llama.cpp, Ollama",
    text: `# in a clone of llama.cpp; q8_0 takes half the memory, f16 is exact
python convert_hf_to_gguf.py ${shell(folderOf(parts))} --outfile ${name}.gguf --outtype q8_0
llama-cli -m ${name}.gguf

# or with Ollama
cat > Modelfile <<'END_OF_MODELFILE'
FROM ./${name}.gguf${systemLine}
END_OF_MODELFILE
ollama create ${name} -f Modelfile
ollama run ${name}`,
  };
}

function honeAdapter(parts: SnippetParts): Snippet {
  const [base, folder] = [shell(honeBase(parts)), shell(folderOf(parts))];
  return {
    title: "Hone",
    text: `npx hone chat ${base} --adapter ${folder}
npx hone convert merge ${base} ${folder} ./${slugOf(parts.name)}-merged`,
  };
}

function honeMerged(parts: SnippetParts): Snippet {
  return { title: "Hone", text: `npx hone chat ${shell(folderOf(parts))}` };
}

/** The folder that the export's ZIP unpacks to. */
function folderOf({ kind, name }: SnippetParts): string {
  return `./${slugOf(name)}-${kind}`;
}

/** Where tools find the base: the hub, or a folder beside. */
function basePlace({ base, isBaseOnHub }: SnippetParts): string {
  return isBaseOnHub ? base : `./${base}`;
}

/** The model that comes with Hone has a name of its own there; others of the hub are folders once fetched. */
function honeBase({ base, isBaseOnHub }: SnippetParts): string {
  if (base === "seedling") return base;
  return isBaseOnHub ? `./${base.split("/").at(-1) ?? base}` : `./${base}`;
}

/** As one word of a POSIX shell. */
function shell(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** As a string literal of Python; JSON's escapes are Python's too. */
function python(text: string): string {
  return JSON.stringify(text);
}
