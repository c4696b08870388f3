//! One pass over every tensor before anything is decided.

use crate::checkpoint::Checkpoint;
use crate::{Result, weights};
use rayon::prelude::*;
use std::borrow::Cow;
use tersor_codec::{Dtype, TensorInfo, encode_f32};
use tersor_quant::Span;
use xxhash_rust::xxh64::xxh64;

/// Elements from which a tensor of two values is taken for a mask.
const TWO_VALUES_FROM: usize = 64;

/// Elements of a tensor that are looked at together, on one thread.
const SURVEY_CHUNK: usize = 1 << 16;

/// What one pass over a tensor tells.
pub(super) struct Survey {
    pub(super) n_not_finite: u64,
    pub(super) mean_square: f64,
    pub(super) span: Span,
    /// Whether there are two different elements, over and over, as in a mask.
    pub(super) two_values: bool,
    /// The bytes of the first element, if all are the same.
    pub(super) constant: Option<f32>,
    pub(super) hash: u64,
}

/// Looks at a tensor.
///
/// # Errors
/// If it cannot be read.
pub(super) fn survey(checkpoint: &Checkpoint, index: usize, info: &TensorInfo) -> Result<Survey> {
    let bytes = checkpoint.bytes(index)?;
    let size = info.dtype.size_bytes();
    let first = bytes.get(..size).unwrap_or_default();
    let same = bytes.chunks_exact(size).all(|b| b == first);
    let other = bytes.chunks_exact(size).find(|b| *b != first);
    let is_known = |b: &[u8]| b == first || Some(b) == other;
    let two_values = !same && bytes.len() >= TWO_VALUES_FROM * size && bytes.chunks_exact(size).all(is_known);
    let chunks = || {
        bytes
            .par_chunks(SURVEY_CHUNK * size)
            .map(|chunk| Part::of(chunk, info.dtype))
    };
    let (hash, parts) = rayon::join(|| xxh64(&bytes, 0), || chunks().collect::<Vec<_>>());
    let value = weights::to_f32(&Cow::Borrowed(first), info.dtype)
        .first()
        .copied();
    // The level must give the very bytes back: true for every float type but f64.
    let exact = |&value: &f32| {
        encode_f32(value, info.dtype).is_some_and(|bits| bits.to_le_bytes().get(..size) == Some(first))
    };
    Ok(Survey {
        n_not_finite: parts.iter().map(|p| p.n_not_finite).sum(),
        mean_square: parts.iter().map(|p| p.square).sum::<f64>() / (bytes.len() / size).max(1) as f64,
        span: parts.iter().fold(Span::EMPTY, |span, p| span.join(p.span)),
        constant: value.filter(|v| same && v.is_finite()).filter(exact),
        two_values,
        hash,
    })
}

/// What a survey finds in a part of a tensor, while it is in the fastest cache.
struct Part {
    n_not_finite: u64,
    square: f64,
    span: Span,
}

impl Part {
    fn of(bytes: &[u8], dtype: Dtype) -> Self {
        const LANES: usize = 8;
        let values = weights::to_f32(&Cow::Borrowed(bytes), dtype);
        let mut squares = [0.0; LANES];
        for row in values.chunks(LANES) {
            for (sum, &w) in squares.iter_mut().zip(row) {
                *sum += f64::from(w) * f64::from(w);
            }
        }
        Self {
            n_not_finite: values.iter().map(|w| u64::from(!w.is_finite())).sum(),
            square: squares.iter().sum(),
            span: Span::of_slice(&values),
        }
    }
}
