// Rows of queries as tiled attention lists them: the query heads of one key head are one list, head after head
// within a token, so that row r is head r mod group of token r / group. One tile of keys serves the whole group,
// and the diagonal cuts few tokens.

const LOG2_E = 1.4426950408889634;

/// Rows of queries to a key head, and of them those of real tokens: the first.
fn all_query_rows() -> u32 {
  return all_tokens() * (params.heads / params.kv_heads);
}

fn query_rows() -> u32 {
  return real_tokens() * (params.heads / params.kv_heads);
}

/// Where a row of queries is in lse, and in units of a head in o and d_o.
fn head_row(row: u32, kv_head: u32) -> u32 {
  let group = params.heads / params.kv_heads;
  return (row / group) * params.heads + kv_head * group + row % group;
}

/// Where a row of queries starts in qkv.
fn query_row(row: u32, kv_head: u32) -> u32 {
  let group = params.heads / params.kv_heads;
  return (row / group) * (params.stride / 4u) + q_column(kv_head * group + row % group);
}
