// y = x · r · weight (+ residual) with r = 1 / √(mean(x²) + ε), over each row; the weight is frozen.
//
//   x       f32  [first_row + rows, hidden]
//   weight  f32  [hidden]
//   y       Act  [rows, hidden]
//   residual  f32  [rows, hidden], where params.has_residual
//   dy      Act  [rows, hidden]
//   dx      f32  as x; added to (written, where not ACCUMULATE):  dx += r · (weight · dy − x · r² · mean(weight · dy · x))
//   row_of  u32  [rows], where LISTED: the row of x that row r of y is made from; backward, the row of dy
//                that belongs to row t of x. Past listed_rows there is none: its y, or its gradient, is zero
//
// One workgroup of LANES threads per row, each taking every LANES-th four columns. Nothing is kept from forward
// to backward: r costs one more walk over a row that is then in the cache.
// Requires hidden % 4 == 0.

struct Params {
  rows: u32,
  listed_rows: u32,
  quads: u32,       // hidden / 4
  first_row: u32,   // row of x that belongs to row 0 of y
  epsilon: f32,
  has_residual: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<Act>>;
@group(0) @binding(4) var<storage, read> dy: array<vec4<Act>>;
@group(0) @binding(5) var<storage, read_write> dx: array<vec4f>;
@group(0) @binding(6) var<storage, read> residual: array<vec4f>;
@group(0) @binding(7) var<storage, read> row_of: array<u32>;

fn mean_over_row(lane: u32, lane_sum: f32) -> f32 {
  return sum_over_workgroup(lane, lane_sum) / f32(params.quads * 4u);
}

@compute @workgroup_size(LANES)
fn forward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = flat_workgroup(workgroup, count);
  if (row >= params.rows) {
    return;
  }
  // LAST_ROW: the last real token of this run, whose number only the step knows.
  var source = select(params.first_row + row, step.rows - 1u, LAST_ROW);
  if (LISTED) {
    source = row_of[row];
    if (source >= params.listed_rows) {
      for (var i = lane; i < params.quads; i += LANES) {
        y[row * params.quads + i] = vec4<Act>();
      }
      return;
    }
  }
  let x_row = source * params.quads;

  var squares = 0.0;
  for (var i = lane; i < params.quads; i += LANES) {
    squares += dot(x[x_row + i], x[x_row + i]);
  }
  let r = 1.0 / sqrt(mean_over_row(lane, squares) + params.epsilon);
  for (var i = lane; i < params.quads; i += LANES) {
    let at = row * params.quads + i;
    var value = x[x_row + i] * r * weight[i];
    if (params.has_residual != 0u) {
      value += residual[at];
    }
    y[at] = vec4<Act>(value);
  }
}

@compute @workgroup_size(LANES)
fn backward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = flat_workgroup(workgroup, count);
  if (row >= params.rows) {
    return;
  }
  let x_row = (params.first_row + row) * params.quads;
  var place = row;
  if (LISTED) {
    place = row_of[row];
    if (place >= params.listed_rows) {
      if (!ACCUMULATE) {
        for (var i = lane; i < params.quads; i += LANES) {
          dx[x_row + i] = vec4f();
        }
      }
      return;
    }
  }
  let dy_row = place * params.quads;

  var squares = 0.0;
  var along = 0.0;
  for (var i = lane; i < params.quads; i += LANES) {
    let here = x[x_row + i];
    squares += dot(here, here);
    along += dot(here, weight[i] * vec4f(dy[dy_row + i]));
  }
  let r = 1.0 / sqrt(mean_over_row(lane, squares) + params.epsilon);
  let along_x = mean_over_row(lane, along) * r * r;
  for (var i = lane; i < params.quads; i += LANES) {
    let gradient = r * (weight[i] * vec4f(dy[dy_row + i]) - x[x_row + i] * along_x);
    if (ACCUMULATE) {
      dx[x_row + i] += gradient;
    } else {
      dx[x_row + i] = gradient;
    }
  }
}
