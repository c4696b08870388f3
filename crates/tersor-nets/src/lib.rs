//! Networks to compress, and to measure compression on.
//!
//! A [`Network`](graph::Network) is data: nodes built by [`models`] and run over [`Parameters`]. On it work training,
//! pruning, sensitivities, repair of normalisation, fine-tuning of shared values and evaluation, each written once for all
//! models. This is the only crate that names the deep-learning framework.

pub mod canon;
mod cpu;
mod device;
mod digest;
mod error;
pub mod evaluate;
pub mod examples;
pub mod experiments;
mod fold;
pub mod gradient;
pub mod graph;
mod lockstep;
pub mod loss;
pub mod models;
mod parameters;
pub mod prune;
mod selection;
pub mod sensitivity;
pub mod sequential;
pub mod shared;
pub mod shrink;
mod slope;
pub mod task;
pub mod train;

pub use device::open_device;
pub use error::{Error, Result};
pub use fold::{fold, fold_sensitivities, unfold};
pub use lockstep::{Sides, Visit, lockstep};
pub use parameters::Parameters;
pub use selection::{Selection, Subset};

/// Where tensors are and run.
pub use burn::tensor::Device;
