// Sums over LANES threads what each holds: sixteen vectors of four, in four rounds of four, in an order that
// never changes. A workgroup of THREADS threads sums THREADS / LANES columns side by side.
//
// In a round a thread hands in four vectors, 16 numbers, for the column and lane it worked on. Thread `thread`
// gets back number thread % 16 of column thread / LANES, summed over every PARTS-th lane; sum_parts adds the
// parts up. The includer defines LANES, a multiple of 16, and THREADS, a multiple of LANES.

const PARTS = LANES / 16u;

var<workgroup> lane_vectors: array<vec4f, 4u * THREADS>;

/// Where vector `i` of a lane lies: turned by lane and column, so that neighbors use different banks.
fn lane_slot(column: u32, lane: u32, i: u32) -> u32 {
  return (column * LANES + lane) * 4u + (i ^ ((column + (lane >> 1u)) & 3u));
}

/// One round. Every thread must call.
fn sum_some_lanes(thread: u32, column: u32, lane: u32, v0: vec4f, v1: vec4f, v2: vec4f, v3: vec4f) -> f32 {
  workgroupBarrier();
  lane_vectors[lane_slot(column, lane, 0u)] = v0;
  lane_vectors[lane_slot(column, lane, 1u)] = v1;
  lane_vectors[lane_slot(column, lane, 2u)] = v2;
  lane_vectors[lane_slot(column, lane, 3u)] = v3;
  workgroupBarrier();
  let part = thread % LANES / 16u;
  let number = thread % 16u;
  var sum = 0.0;
  for (var i = 0u; i < 16u; i++) {
    sum += lane_vectors[lane_slot(thread / LANES, i * PARTS + part, number / 4u)][number % 4u];
  }
  return sum;
}

/// The four rounds' numbers summed over all lanes: every part gets them. Every thread must call.
fn sum_parts(thread: u32, rounds: vec4f) -> vec4f {
  workgroupBarrier();
  lane_vectors[thread] = rounds;
  workgroupBarrier();
  var sum = vec4f();
  for (var part = 0u; part < PARTS; part++) {
    sum += lane_vectors[thread / LANES * LANES + part * 16u + thread % 16u];
  }
  return sum;
}
