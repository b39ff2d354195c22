// Sums and maxima over a workgroup of LANES = LANES_ROOT² threads, in an order that never changes.
//
// Two levels of LANES_ROOT terms take two barriers, where a tree of halves takes one for every level:
// barriers are what software adapters are slow at. Every thread must call, and every thread gets the
// result. The includer defines LANES and LANES_ROOT.

var<workgroup> lane_values: array<f32, LANES>;
var<workgroup> group_values: array<f32, LANES_ROOT>;

fn sum_over_workgroup(lane: u32, value: f32) -> f32 {
  lane_values[lane] = value;
  workgroupBarrier();
  if (lane < LANES_ROOT) {
    var sum = 0.0;
    for (var i = 0u; i < LANES_ROOT; i++) {
      sum += lane_values[lane * LANES_ROOT + i];
    }
    group_values[lane] = sum;
  }
  workgroupBarrier();
  var total = 0.0;
  for (var i = 0u; i < LANES_ROOT; i++) {
    total += group_values[i];
  }
  return total;
}

fn max_over_workgroup(lane: u32, value: f32) -> f32 {
  lane_values[lane] = value;
  workgroupBarrier();
  if (lane < LANES_ROOT) {
    var largest = lane_values[lane * LANES_ROOT];
    for (var i = 1u; i < LANES_ROOT; i++) {
      largest = max(largest, lane_values[lane * LANES_ROOT + i]);
    }
    group_values[lane] = largest;
  }
  workgroupBarrier();
  var largest = group_values[0];
  for (var i = 1u; i < LANES_ROOT; i++) {
    largest = max(largest, group_values[i]);
  }
  return largest;
}
