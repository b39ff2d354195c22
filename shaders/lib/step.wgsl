// The scalars that change between replays of a program. The host writes them before each run.

struct Step {
  seed: u32,                // of the run; the root of every random number
  step: u32,                // optimizer step, from 0
  micro: u32,               // micro-batch within the step, from 0
  position: u32,            // tokens already in the key-value cache
  rows: u32,                // rows of this run that are real; the rest is padding
  top_k: u32,               // 0 is off
  learning_rate: f32,
  loss_weight: f32,         // 1 / label tokens of the whole accumulation group
  temperature: f32,         // 0 is greedy
  top_p: f32,
  repetition_penalty: f32,
  adapter_scale: f32,       // multiplies the adapter's contribution; 1 as trained
}

@group(1) @binding(0) var<uniform> step: Step;
