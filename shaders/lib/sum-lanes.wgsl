// Sums over LANES threads what each holds, sixteen vectors of four, in an order that never changes. A
// workgroup of THREADS threads sums THREADS / LANES columns side by side.
//
// Workgroup memory holds four vectors of every thread, so there are four rounds. Thread `thread` gets number
// thread % 16 of each round's 16, of column thread / LANES: component i of the result is of vectors 4i to
// 4i + 3. All threads with the same number and column get the same. The includer defines LANES, a multiple of
// 16, and THREADS, a multiple of LANES.
//
// `held` is reached by a number that loops make. Compilers are expected to unroll them; one that does not keeps the
// sixteen vectors in memory of the thread, once for each tile. That has not been looked at on a GPU.

const PARTS = LANES / 16u;

var<workgroup> lane_vectors: array<vec4f, 4u * THREADS>;

/// Where vector `i` of a lane lies: turned by lane and column, so that neighbors use different banks.
fn lane_slot(column: u32, lane: u32, i: u32) -> u32 {
  return (column * LANES + lane) * 4u + (i ^ ((column + (lane >> 1u)) & 3u));
}

/// `column` and `lane` say what the thread has summed so far. Every thread must call.
fn sum_over_lanes(thread: u32, column: u32, lane: u32, held: array<vec4f, 16>) -> vec4f {
  var vectors = held;
  let part = thread % LANES / 16u;
  let number = thread % 16u;
  var rounds = vec4f();
  for (var round = 0u; round < 4u; round++) {
    workgroupBarrier();
    for (var i = 0u; i < 4u; i++) {
      lane_vectors[lane_slot(column, lane, i)] = vectors[4u * round + i];
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < 16u; i++) {
      sum += lane_vectors[lane_slot(thread / LANES, i * PARTS + part, number / 4u)][number % 4u];
    }
    rounds[round] = sum;
  }
  workgroupBarrier();
  lane_vectors[thread] = rounds;
  workgroupBarrier();
  var total = vec4f();
  for (var i = 0u; i < PARTS; i++) {
    total += lane_vectors[thread / LANES * LANES + i * 16u + number];
  }
  return total;
}
