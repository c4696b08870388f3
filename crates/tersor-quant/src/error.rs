//! Configurations that cannot be met.

/// A configuration out of its range, or impossible for the weights given.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value outside its range.
    #[error("{what} is {value}; it must be {allowed}")]
    OutOfRange {
        /// Which setting.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The allowed range, in words.
        allowed: String,
    },
    /// More memory than a method for small inputs takes.
    #[error("{method} of {n} distinct weights and {k} levels needs {needed_bytes} bytes, above its limit of {limit_bytes}; use {instead}")]
    TooLarge {
        /// The method.
        method: &'static str,
        /// Distinct weights.
        n: usize,
        /// Levels.
        k: usize,
        /// Bytes it would need.
        needed_bytes: u64,
        /// Bytes it may take.
        limit_bytes: u64,
        /// The method to use instead.
        instead: &'static str,
    },
}

/// The result of designing a codebook.
pub type Result<T> = std::result::Result<T, Error>;
