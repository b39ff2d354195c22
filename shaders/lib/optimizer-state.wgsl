// Where the optimizer keeps its scalars between steps: state  f32 [16]. OPTIMIZER_STATE of
// src/kernels/grad-norm.ts is the host's copy of this list.

const LOSS_SCALE = 0;       // multiplies the loss of the next step
const GROWTH_COUNT = 1;     // finite steps since the loss scale last changed
const ADAM_STEP = 2;        // steps really taken
const SKIPPED_TOTAL = 3;    // steps with a gradient that is not finite
const SKIPPED_IN_A_ROW = 4; // of those, the last ones that no lower loss scale would have saved
const GRAD_NORM = 5;        // of this step: true size, before clipping; 0 if not finite
const COEFFICIENT = 6;      // what adamw multiplies the stored gradient by: clipping / loss scale
const FINITE = 7;           // 1, or 0 if this step is skipped
const LOSS_SUM = 8;         // of this step; written by others
const CORRECT_SUM = 9;      // of this step; written by others
const USED_LOSS_SCALE = 10; // the loss scale that this step's gradient carries
