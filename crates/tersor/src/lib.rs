//! Trained neural networks made small: a checkpoint in, one `.tersor` file out, and back.
//!
//! [`compress`] plans, quantizes and encodes a [`Checkpoint`](checkpoint::Checkpoint) to a [target](options::Target);
//! [`decompress`] writes a checkpoint back. What minimises the file is one price for everything,
//!
//! ```text
//! 1/2 sum_i h_i (w_i - v_i)^2 + slope * bits        (predicted loss increase + slope x bits)
//! ```
//!
//! with h the sensitivity of the loss to each parameter (Choi, El-Khamy, Lee, "Towards the Limit of Network Quantization",
//! ICLR 2017).

pub mod checkpoint;
mod compress;
mod decompress;
mod design;
mod encode;
mod error;
pub mod evaluate;
pub mod feedback;
mod fine;
mod in_context;
mod inputs;
pub mod inspect;
mod names;
pub mod optimizer;
pub mod options;
mod output;
pub mod plan;
mod price;
mod progress;
mod recorded;
mod report;
mod rules;
mod samples;
mod scales;
mod search;
mod secant;
mod sensitivity;
mod size;
pub mod sweep;
pub mod synthetic;
mod temporary;
pub mod verify;
mod weights;

pub use compress::{Compressed, Compressor, compress};
pub use decompress::{Destination, decompress, decompress_to_stream, is_single_file};
pub use error::{Error, Result};
pub use names::bare;
pub use output::{check_writable, write_file};
pub use progress::{Progress, Silent};
pub use recorded::{Recorded, write_sensitivities};
pub use report::{CompressReport, TensorReport};
pub use scales::RowScales;
pub use secant::Secant;
pub use size::{InputSize, Sharing};
pub use temporary::{Temporary, remove_temporaries};
pub use tersor_codec as codec;

/// The examples of the README are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
