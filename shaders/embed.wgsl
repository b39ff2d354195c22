// y[t] = scale · table[ids[t]], where the table is one shard of rows.
//
//   ids    u32      [tokens]
//   table  Stored4  [rows, quads]    four numbers each, as lib/row-*.wgsl says
//   y      f32      [tokens, 4 · quads]
//
// One thread makes four columns of one token. A token whose id lies in another shard is left alone.

const THREADS = 64u;

struct Params {
  tokens: u32,
  quads: u32,       // columns / 4
  first_row: u32,   // id of the shard's first row
  rows: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> table: array<Stored4>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(THREADS)
fn forward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let quad = flat_workgroup(workgroup, count) * THREADS + lane;
  let token = quad / params.quads;
  if (token >= params.tokens) {
    return;
  }
  // An id below first_row wraps to a number past every shard.
  let row = ids[token] - params.first_row;
  if (row < params.rows) {
    y[quad] = params.scale * load4(table[row * params.quads + quad % params.quads]);
  }
}
