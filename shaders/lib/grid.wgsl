// Index helpers for dispatches of one dimension that the host may have folded into two.

/// The flat index of a workgroup; the host folds a long row of workgroups into rows of equal length.
fn flat_workgroup(workgroup: vec3u, count: vec3u) -> u32 {
  return workgroup.y * count.x + workgroup.x;
}
