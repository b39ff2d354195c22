// As lib/reduce.wgsl, four sums at once. The includer defines LANES and LANES_ROOT.

var<workgroup> lane_vectors: array<vec4f, LANES>;
var<workgroup> group_vectors: array<vec4f, LANES_ROOT>;

fn sum_vec4_over_workgroup(lane: u32, value: vec4f) -> vec4f {
  lane_vectors[lane] = value;
  workgroupBarrier();
  if (lane < LANES_ROOT) {
    var sum = vec4f();
    for (var i = 0u; i < LANES_ROOT; i++) {
      sum += lane_vectors[lane * LANES_ROOT + i];
    }
    group_vectors[lane] = sum;
  }
  workgroupBarrier();
  var total = vec4f();
  for (var i = 0u; i < LANES_ROOT; i++) {
    total += group_vectors[i];
  }
  return total;
}
