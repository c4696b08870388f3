//! Weights and sensitivities to codebooks and symbols.

mod error;
mod price;
mod report;
mod source;

pub mod ecsq;
pub mod grid;
pub mod kmeans;
pub mod sensitivity;
pub mod uniform;

pub use error::{Error, Result};
pub use price::{PRICE_ONE_BIT, RateModel, StaticPrices};
pub use report::{Report, entropy_bits};
pub use source::{Sensitivity, Source};
