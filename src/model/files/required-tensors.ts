// Whether a model's files hold all that its config.json calls for, told by their headers.
import { UserError } from "../../base/error.ts";
import type { Architecture } from "../architecture.ts";
import { type ModelFiles, requireTensor } from "./checkpoint-files.ts";
import { blockLinears } from "../linears.ts";

/** Finds every tensor before the first is read, so that a wrong file is refused at once. */
export function checkAllTensors(architecture: Architecture, files: ModelFiles): void {
  const { family, hidden, headSize, vocab, layers, hasTiedEmbeddings } = architecture;
  requireTensor(files, `${family.embedding}.weight`, [vocab, hidden]);
  requireTensor(files, `${family.finalNorm}.weight`, [hidden]);
  if (!hasTiedEmbeddings) requireTensor(files, `${family.head}.weight`, [vocab, hidden]);
  for (let layer = 0; layer < layers; layer++) {
    const prefix = family.layerPrefix(layer);
    for (const [kind, name] of Object.entries(family.norms)) {
      const size = kind === "query" || kind === "key" ? headSize : hidden;
      requireTensor(files, `${prefix}.${name}.weight`, [size]);
    }
    const linears = Object.values(blockLinears(architecture, layer));
    for (const { segments, inputs, hasBias } of linears) {
      for (const { path, rows } of segments) {
        requireTensor(files, `${path}.weight`, [rows, inputs]);
        if (hasBias) requireTensor(files, `${path}.bias`, [rows]);
        else refuseUnknownBias(files, path);
      }
    }
  }
}

/** A bias in the file that the config does not speak of would silently be left out. */
function refuseUnknownBias({ tensors }: ModelFiles, path: string): void {
  const bias = tensors.get(`${path}.bias`);
  if (!bias) return;
  throw new UserError(
    `${bias.place} has ${bias.name}, which its config.json does not call for.`,
    "Check that config.json and the weights are of the same model, or download it again.",
  );
}
