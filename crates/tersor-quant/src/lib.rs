//! Weights and their sensitivities in, codebooks and symbols out.
//!
//! Every quantizer minimises a part of one objective over the symbols `q_i` and the levels `v`:
//!
//! ```text
//! J = sum_i 1/2 h_i (w_i - v[q_i])^2  +  slope * bits
//! ```
//!
//! | module | levels | rate |
//! |---|---|---|
//! | [`kmeans`] | free, `k` of them | ignored: right for codes of fixed length |
//! | [`uniform`] | cells of one width, values on the grid or cell means | falls with the step: asymptotically right for entropy codes |
//! | [`ecsq`] | free | in the objective, order 0 |
//! | [`grid`] | multiples of a step, no table | in the assignment, at any [`RateModel`]'s prices |
//! | [`trellis`] | multiples of a step, every other one | in the assignment, order 0 |
//! | [`feedback`] | multiples of a step | in the assignment, also at a [`SequentialPrice`]; later columns make errors good |
//!
//! All work in two phases: *design* sees all parts ([`Source`]s) and makes a codebook, *assign* turns one
//! part, or a chunk of one, into symbols and a [`Report`]. The crate knows a coder only through prices, has
//! no state and touches no files.
//!
//! Results are bit-identical for any number of threads: work is cut by length alone, partial sums are `f64`
//! and are added in order. Weights and sensitivities must be finite and sensitivities must not be negative;
//! the caller excludes the rest.

pub mod bound;
pub mod ecsq;
pub mod feedback;
pub mod grid;
pub mod kmeans;
pub mod sensitivity;
pub mod trellis;
pub mod uniform;

mod atoms;
mod balance;
mod choice;
mod error;
mod fold;
mod levels;
mod passes;
mod price;
mod report;
mod rounding;
mod sample;
mod source;
mod span;

pub use balance::Balance;
pub use error::{Error, MAX_LEVELS, Result};
pub use levels::assign_nearest;
pub use price::{GridPrices, PRICE_ONE_BIT, RateModel, SequentialPrice, StaticPrices, TrellisPrice};
pub use report::{Report, entropy_bits};
pub use sample::{Sample, sample, sample_rows};
pub use source::{Sensitivity, Source};
pub use span::Span;
