//! What a configuration can get wrong.

use crate::feedback::MomentError;

/// Most levels of a codebook: a symbol is a `u16`.
pub const MAX_LEVELS: usize = 1 << 16;

/// A configuration that cannot be followed, or moments that cannot be. All other data errors (NaN, infinity,
/// lengths) are the caller's.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A number of levels outside its range.
    #[error("{got} levels, allowed are {min} to {MAX_LEVELS}{why}")]
    Levels {
        /// Levels asked for.
        got: usize,
        /// Fewest levels allowed.
        min: usize,
        /// Reason for the minimum, empty or starting with a comma.
        why: &'static str,
    },
    /// A step so small that indices leave their range.
    #[error(
        "step {step:e} needs {needed} levels, above the limit of {limit}: use a step of at least {smallest:e}"
    )]
    StepTooSmall {
        /// Step asked for.
        step: f32,
        /// Levels it would need: the span, or the largest index if that is what is too large.
        needed: u64,
        /// How many are allowed.
        limit: u64,
        /// Smallest step that fits these weights.
        smallest: f32,
    },
    /// A real-valued setting outside its range.
    #[error("{name} is {value:e}, allowed is {allowed}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// Its range in words.
        allowed: &'static str,
    },
    /// Second moments that nothing can have.
    #[error(transparent)]
    Moment(#[from] MomentError),
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Refuses a value that is not finite and at least 0.
pub(crate) fn not_negative(name: &'static str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::Setting {
        name,
        value,
        allowed: "a finite number >= 0",
    })
}

/// Refuses a step that is not positive, or whose reciprocal loses digits.
pub(crate) fn positive_step(step: f32) -> Result<()> {
    if step > 0.0 && step.is_normal() && (1.0 / step).is_normal() {
        return Ok(());
    }
    Err(Error::Setting {
        name: "step",
        value: f64::from(step),
        allowed: "a number from 2^-126 to 2^126",
    })
}
