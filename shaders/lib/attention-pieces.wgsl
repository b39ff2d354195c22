// Attention's pieces of 4 × 4 scores, made in registers from rows read straight from where they lie.
//
// A workgroup owns TILE rows of one head: queries, or keys in the backward pass over keys. It walks over the
// rows they pair with, TILE at a time, in two phases with a barrier between. First a thread makes a 4 × 4
// piece of the scores from its own four rows and four others, and leaves it in workgroup memory; then it
// sums, for its own four rows, its quads of the result over all TILE others: SLOTS of them. Longer heads are
// cut into slices, each of which makes the scores again. No score outlives its tile. Sums are f32.

const TILE = 32u;
const GROUPS = TILE / 4u;
const THREADS = GROUPS * GROUPS;

fn qkv_quads(rows: vec4u, quad: u32) -> mat4x4f {
  let at = rows + quad;
  return mat4x4f(vec4f(qkv[at.x]), vec4f(qkv[at.y]), vec4f(qkv[at.z]), vec4f(qkv[at.w]));
}

/// Products of heads at four rows of qkv with those at four others: [other][own].
fn dots(own: vec4u, other: vec4u) -> mat4x4f {
  var sums = mat4x4f();
  for (var quad = 0u; quad < params.head_quads; quad++) {
    sums += transpose(qkv_quads(own, quad)) * qkv_quads(other, quad);
  }
  return sums;
}

fn masked(scores: vec4f, key: u32, queries: vec4u, starts: vec4u) -> vec4f {
  let is_seen = (starts <= vec4u(key)) & (vec4u(key) <= queries);
  return select(vec4f(LOWEST), params.scale * scores, is_seen);
}

/// exp(scores − reference), and 0 for what is masked.
fn weigh(scores: vec4f, reference: vec4f) -> vec4f {
  return select(vec4f(), exp(scores - reference), scores > vec4f(LOWEST));
}
