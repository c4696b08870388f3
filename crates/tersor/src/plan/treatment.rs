//! What is done with a tensor, and why.

use super::survey::Survey;
use crate::options::CompressOptions;
use crate::{Error, Result};
use tersor_codec::{Dtype, TensorInfo, decode_to_f32, encode_f32};

/// Magnitudes beyond which a tensor is stored losslessly: its steps would leave the range of f32.
const LARGEST: f32 = 1e30;
/// As [`LARGEST`], for the largest magnitude of a tensor. Subnormal numbers are far below.
const SMALLEST: f32 = 1e-25;

/// Why a tensor is stored losslessly.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Integers, booleans and other types that are not real floats.
    NotFloat,
    /// The user said so.
    Kept,
    /// A single number without a dimension.
    Scalar,
    /// No elements.
    Empty,
    /// Two different elements only, as in a mask: exact at a bit per element at most, or little more.
    TwoValues,
    /// So many elements are NaN or infinite.
    NotFinite(u64),
    /// Its largest magnitude is beyond what steps can be computed for.
    Range,
    /// Its largest magnitude is close to the end of its type: the nearest level may be infinite in it.
    TypeRange(Dtype),
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFloat => f.write_str("not a float type"),
            Self::Kept => f.write_str("kept as asked"),
            Self::Scalar => f.write_str("a single number"),
            Self::Empty => f.write_str("no elements"),
            Self::TwoValues => f.write_str("two different values only"),
            Self::NotFinite(1) => f.write_str("1 element is NaN or infinite"),
            Self::NotFinite(n) => write!(f, "{n} elements are NaN or infinite"),
            Self::TypeRange(dtype) => write!(f, "a magnitude is more than half of the largest of {dtype}"),
            Self::Range => write!(f, "its magnitudes are not between {SMALLEST:e} and {LARGEST:e}"),
        }
    }
}

/// What is done with a tensor.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Treatment {
    /// Stored losslessly.
    Raw(Reason),
    /// Equal to an earlier tensor, which is stored once.
    Alias(usize),
    /// All elements are the same number: stored exactly, in no bits per element.
    Constant(f32),
    /// One dimension, such as biases and normalisation: a fine codebook of its own kind.
    Fine,
    /// Two or more dimensions: the method asked for.
    Main,
}

/// How a tensor is treated whose symbols are given: quantized in any case.
pub(super) fn treatment_of_given(
    info: &TensorInfo,
    survey: &Survey,
    options: &CompressOptions,
) -> Result<Treatment> {
    let refuse = |what: &str| {
        Err(Error::Options(format!(
            "symbols of tensor {:?}: {what}",
            info.name
        )))
    };
    if options.keep.iter().any(|glob| glob.is_match(&info.name)) {
        return refuse("it is to be kept losslessly; do one or the other");
    }
    if survey.n_not_finite > 0 {
        return refuse("it has elements that are NaN or infinite, which only a lossless copy keeps");
    }
    Ok(match info.shape.len() {
        0 | 1 => Treatment::Fine,
        _ => Treatment::Main,
    })
}

pub(super) fn treatment(info: &TensorInfo, survey: &Survey, options: &CompressOptions) -> Treatment {
    if !info.dtype.is_float() {
        return Treatment::Raw(Reason::NotFloat);
    }
    if options.keep.iter().any(|glob| glob.is_match(&info.name)) {
        return Treatment::Raw(Reason::Kept);
    }
    if survey.n_not_finite > 0 {
        return Treatment::Raw(Reason::NotFinite(survey.n_not_finite));
    }
    if info.n_elements() == Some(0) {
        return Treatment::Raw(Reason::Empty);
    }
    if info.shape.is_empty() {
        return Treatment::Raw(Reason::Scalar);
    }
    if let Some(value) = survey.constant {
        return Treatment::Constant(value);
    }
    if survey.two_values {
        return Treatment::Raw(Reason::TwoValues);
    }
    let largest = survey.span.magnitude();
    if largest > LARGEST || (largest < SMALLEST && largest > 0.0) {
        return Treatment::Raw(Reason::Range);
    }
    // Nearest levels other than zero are below twice the largest magnitude.
    let doubled = encode_f32(2.0 * largest, info.dtype).map(u64::to_le_bytes);
    let bytes = doubled.as_ref().and_then(|b| b.get(..info.dtype.size_bytes()));
    let fits = bytes
        .and_then(|b| decode_to_f32(b, info.dtype))
        .is_some_and(|v| v.iter().all(|v| v.is_finite()));
    if !fits {
        return Treatment::Raw(Reason::TypeRange(info.dtype));
    }
    if info.shape.len() == 1 {
        Treatment::Fine
    } else {
        Treatment::Main
    }
}
