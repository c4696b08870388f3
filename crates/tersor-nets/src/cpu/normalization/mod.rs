//! Batch-norm on the CPU: forward and back each in two passes over the images (`channels.rs`). `batch.rs` takes the batch's own
//! statistics, `affine.rs` is for those that a network has kept.

mod affine;
mod batch;
mod channels;

pub(crate) use affine::scale_and_shift;
pub(crate) use batch::normalize;
