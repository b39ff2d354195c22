// Losses of a chunk of rows, loss = log Σ exp(logits) − logits[target], and the logits' gradient.
//
//   targets   u32  [tokens]                NO_TARGET: the token predicts nothing
//   logits    f32  [rows, vocabulary]      of tokens first_row …; forward_backward overwrites them by
//                                          (softmax − onehot(target)) · step.loss_weight · loss scale
//   loss      f32  [tokens]                nats
//   correct   f32  [tokens]                1 where the first largest logit is the target's, else 0
//   state     f32  [16]                    lib/optimizer-state.wgsl
//   summands  f32  [rows]                  of `sum`: state[element] += Σ summands with a target
//
// One workgroup of LANES threads per row and two walks over it: the first keeps a running maximum and
// the sum of exponentials relative to it, the second writes. Rows need not begin on a multiple of 16
// bytes, so every access is to a single number. A row without target gets loss 0, correct 0, gradient 0.

const NO_TARGET = 0xffffffffu;
const LOWEST = -3.4028234e38; // there is no literal for −∞

struct Params {
  rows: u32,
  vocabulary: u32,
  first_row: u32,   // token of row 0
  element: u32,     // of state, for `sum`
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read_write> logits: array<f32>;
@group(0) @binding(3) var<storage, read_write> loss: array<f32>;
@group(0) @binding(4) var<storage, read_write> correct: array<f32>;
@group(0) @binding(5) var<storage, read_write> state: array<f32>;
@group(0) @binding(6) var<storage, read> summands: array<f32>;

struct Softmax {
  largest: f32,
  sum: f32,         // Σ exp(logit − largest)
}

/// Four logits of a row, LANES apart; LOWEST past its end, where exp makes it 0.
fn load_logits(start: u32, i: u32) -> vec4f {
  let at = vec4u(i, i + LANES, i + 2u * LANES, i + 3u * LANES);
  var four = vec4f(logits[start + i], LOWEST, LOWEST, LOWEST);
  if (at.y < params.vocabulary) { four.y = logits[start + at.y]; }
  if (at.z < params.vocabulary) { four.z = logits[start + at.z]; }
  if (at.w < params.vocabulary) { four.w = logits[start + at.w]; }
  return four;
}

fn softmax_of_row(start: u32, lane: u32) -> Softmax {
  var largest = LOWEST;
  var sum = 0.0;
  for (var i = lane; i < params.vocabulary; i += 4u * LANES) {
    let four = load_logits(start, i);
    let higher = max(largest, max(max(four.x, four.y), max(four.z, four.w)));
    sum = sum * exp(largest - higher) + dot(exp(four - higher), vec4f(1.0));
    largest = higher;
  }
  let row_largest = max_over_workgroup(lane, largest);
  return Softmax(row_largest, sum_over_workgroup(lane, sum * exp(largest - row_largest)));
}

@compute @workgroup_size(LANES)
fn forward_backward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = flat_workgroup(workgroup, count);
  if (row >= params.rows) {
    return;
  }
  let token = params.first_row + row;
  let start = row * params.vocabulary;
  let wanted = targets[token];
  if (wanted == NO_TARGET) {
    for (var i = lane; i < params.vocabulary; i += LANES) {
      logits[start + i] = 0.0;
    }
    if (lane == 0u) {
      loss[token] = 0.0;
    }
  } else {
    let softmax = softmax_of_row(start, lane);
    // Read by all before any thread overwrites it: softmax_of_row has barriers, and so does this.
    let wanted_logit = logits[start + wanted];
    storageBarrier();
    if (lane == 0u) {
      loss[token] = log(softmax.sum) + (softmax.largest - wanted_logit);
    }
    let factor = step.loss_weight * state[LOSS_SCALE];
    let share = factor / softmax.sum;
    for (var i = lane; i < params.vocabulary; i += LANES) {
      let gradient = share * exp(logits[start + i] - softmax.largest);
      logits[start + i] = select(gradient, gradient - factor, i == wanted);
    }
  }
}

@compute @workgroup_size(LANES)
fn evaluate(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = flat_workgroup(workgroup, count);
  if (row >= params.rows) {
    return;
  }
  let token = params.first_row + row;
  let start = row * params.vocabulary;
  let wanted = targets[token];
  if (wanted == NO_TARGET) {
    if (lane == 0u) {
      loss[token] = 0.0;
      correct[token] = 0.0;
    }
  } else {
    let softmax = softmax_of_row(start, lane);
    let wanted_logit = logits[start + wanted];
    // The target is the first largest if it is a largest and none before it is.
    var earlier = 0.0;
    for (var i = lane; i < wanted; i += LANES) {
      if (logits[start + i] == softmax.largest) {
        earlier = 1.0;
      }
    }
    let is_preceded = max_over_workgroup(lane, earlier) > 0.0;
    if (lane == 0u) {
      loss[token] = log(softmax.sum) + (softmax.largest - wanted_logit);
      correct[token] = select(0.0, 1.0, wanted_logit == softmax.largest && !is_preceded);
    }
  }
}

@compute @workgroup_size(LANES)
fn sum(@builtin(local_invocation_index) lane: u32) {
  var lane_sum = 0.0;
  for (var i = lane; i < params.rows; i += LANES) {
    // What stands where there is no target may be of another run.
    if (targets[i] != NO_TARGET) {
      lane_sum += summands[i];
    }
  }
  let total = sum_over_workgroup(lane, lane_sum);
  if (lane == 0u) {
    state[params.element] += total;
  }
}
