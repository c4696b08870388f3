//! Checkpoints to small files and back.

pub mod checkpoint;
