//! Symbols that are known before a file is encoded: found with error feedback or on a trellis, or given from outside.
//!
//! A layer with the moments of its inputs is a [`Problem`]; a grouped convolution is one per group. [`quantize`] turns it into
//! [`LayerSymbols`] at the prices of the coder: those of the coder `context`, which learns from tensor to tensor, or ideal ones of
//! order 0. [`Compressor::with_symbols`](crate::Compressor::with_symbols) makes a file of tensors quantized so.
//!
//! ```
//! use tersor::codec::{ContextPrices, Dtype, TensorInfo};
//! use tersor::feedback::{self, FeedbackConfig, Gram, Layer, Prices, Problem, Span};
//!
//! let info = TensorInfo { name: "fc.weight".into(), dtype: Dtype::F32, shape: vec![2, 2], shard: 0 };
//! let weights = [0.31, -0.12, 0.08, 0.44];
//! let moments = [1.0, 0.9, 0.9, 1.0]; // inputs that go together
//! let layer = Layer { sensitivity: 2.0, ..Layer::new(&weights, Gram::new(&moments, 2, 2).unwrap()) };
//! let problem = Problem::new(&layer, &FeedbackConfig::default()).unwrap();
//!
//! let slope = 1e-4;
//! let step = feedback::step(Span::of_slice(&weights), 4, slope, layer.sensitivity);
//! let mut prices = ContextPrices::new(); // goes on with the next tensor of the file
//! let quantized = feedback::quantize(&info, &[problem], step, slope, Prices::Context(&mut prices)).unwrap();
//! assert_eq!(quantized.symbols.len(), 4);
//! ```
//!
//! # Memory
//! Moments are read tensor by tensor; `tersor_quant::feedback` says what a layer takes while it is worked on, and the prices of
//! the coder `context` take twice 7 bytes per weight beside it. Symbols are kept until the file is made: 2 bytes per weight.

mod design;
mod given;
mod layer;
mod moments;
mod plain;
mod quantize;

pub(crate) use design::apply;
pub(crate) use given::Given;
pub use layer::LayerSymbols;
pub(crate) use layer::rounded;
pub(crate) use moments::{LayerMoments, Moments};
pub use plain::quantize_plain;
pub use quantize::{Prices, quantize, step};
pub use tersor_quant::feedback::{FeedbackConfig, Gram, Layer, MomentError, Problem};
pub use tersor_quant::grid::{Grid, step_for_slope};
pub use tersor_quant::{Error as QuantizeError, Report, Source, Span};
