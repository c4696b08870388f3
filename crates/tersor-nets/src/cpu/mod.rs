//! Operations of our own on the CPU, where the framework's make copies or use one thread. The framework is
//! told their gradients. On other devices, and for other types than f32, its operations are used.
//!
//! `examples/speed.rs` measures what they gain.

mod convolution;
mod host;
mod normalization;
mod pointwise;

pub(crate) use convolution::{convolve, image_gradient, weight_gradient};
pub(crate) use normalization::{normalize, scale_and_shift};
pub(crate) use pointwise::relu;
