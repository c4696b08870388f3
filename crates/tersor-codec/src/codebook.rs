//! Codebooks, and the arithmetic from a symbol to a value.

use crate::{Dtype, Error, Result, dtype::encode_f32};

/// Most levels of a codebook: a symbol has 16 bits.
pub const MAX_LEVELS: usize = 1 << 16;

/// The levels that symbols stand for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Codebook {
    /// Level of symbol s: `step * (first + s)`, the integer converted to f32 exactly, one f32 multiply.
    Grid {
        /// Distance of levels; positive and finite.
        step: f32,
        /// Multiple of the step that symbol 0 stands for.
        first: i32,
        /// Number of levels.
        n_levels: u32,
    },
    /// Level of symbol s: entry s.
    Table(Vec<f32>),
    /// Level of symbol s: the f32 whose bits are `(first + s) << (23 - mantissa_bits)`; positive numbers rounded to
    /// `mantissa_bits` bits after the leading one, at equal relative precision over all magnitudes.
    Mantissa {
        /// Bits kept after the leading one, at most 23.
        mantissa_bits: u32,
        /// Upper bits of the level of symbol 0.
        first: u32,
        /// Number of levels.
        n_levels: u32,
    },
}

impl Codebook {
    /// Number of levels.
    pub fn n_levels(&self) -> usize {
        match self {
            Self::Grid { n_levels, .. } | Self::Mantissa { n_levels, .. } => *n_levels as usize,
            Self::Table(levels) => levels.len(),
        }
    }

    /// The levels, by symbol.
    pub fn levels(&self) -> Vec<f32> {
        match self {
            Self::Grid {
                step,
                first,
                n_levels,
            } => (0..*n_levels as i32).map(|s| step * (first + s) as f32).collect(),
            Self::Table(levels) => levels.clone(),
            Self::Mantissa {
                mantissa_bits,
                first,
                n_levels,
            } => (0..*n_levels)
                .map(|s| f32::from_bits((first + s) << (23 - mantissa_bits)))
                .collect(),
        }
    }

    /// Level of one symbol, or 0 if it is outside the alphabet.
    fn level(&self, symbol: u16) -> f32 {
        let s = u32::from(symbol);
        match self {
            Self::Table(levels) => levels.get(usize::from(symbol)).copied().unwrap_or(0.0),
            Self::Grid { n_levels, .. } | Self::Mantissa { n_levels, .. } if s >= *n_levels => 0.0,
            Self::Grid { step, first, .. } => step * (first + s as i32) as f32,
            Self::Mantissa {
                mantissa_bits, first, ..
            } => f32::from_bits((first + s) << (23 - mantissa_bits)),
        }
    }

    /// The symbol whose level is exactly zero, if there is one.
    pub fn zero_symbol(&self) -> Option<u16> {
        match self {
            Self::Grid { first, n_levels, .. } => {
                let symbol = u32::try_from(first.checked_neg()?).ok()?;
                if symbol < *n_levels {
                    u16::try_from(symbol).ok()
                } else {
                    None
                }
            }
            Self::Table(levels) => levels
                .iter()
                .position(|&l| l == 0.0)
                .and_then(|s| u16::try_from(s).ok()),
            Self::Mantissa { first, .. } => (*first == 0).then_some(0),
        }
    }

    /// Checks the limits of the format.
    pub fn check(&self) -> Result<()> {
        let n = self.n_levels();
        if n == 0 || n > MAX_LEVELS {
            return Err(Error::invalid(format!(
                "a codebook of {n} levels; it must have 1 to {MAX_LEVELS}"
            )));
        }
        match self {
            Self::Grid {
                step,
                first,
                n_levels,
            } => {
                let largest = first
                    .unsigned_abs()
                    .max((i64::from(*first) + i64::from(*n_levels) - 1).unsigned_abs() as u32);
                if largest > 1 << 24 {
                    return Err(Error::invalid(format!(
                        "a grid that reaches {largest} steps; at most 2^24 are exact"
                    )));
                }
                if !(step.is_finite() && *step > 0.0 && (step * largest as f32).is_finite()) {
                    return Err(Error::invalid(format!(
                        "a grid of step {step}, with {largest} steps beyond f32's range"
                    )));
                }
            }
            Self::Table(levels) => {
                if let Some(level) = levels.iter().find(|l| !l.is_finite()) {
                    return Err(Error::invalid(format!(
                        "a level of {level}; levels must be finite"
                    )));
                }
            }
            Self::Mantissa {
                mantissa_bits,
                first,
                n_levels,
            } => {
                let end = u64::from(*first) + u64::from(*n_levels);
                if *mantissa_bits > 23 || end > 0xff << mantissa_bits {
                    return Err(Error::invalid(format!(
                        "{mantissa_bits} mantissa bits up to number {end}: not finite f32"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// One factor per index of one axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Scales {
    /// Axis of the tensor.
    pub axis: u32,
    /// One positive finite factor per index of the axis.
    pub values: Vec<f32>,
}

impl Scales {
    /// Checks that the scales fit a tensor of this shape.
    pub(crate) fn check(&self, shape: &[u64]) -> Result<()> {
        let extent = shape.get(self.axis as usize).copied();
        if extent != Some(self.values.len() as u64) {
            return Err(Error::invalid(format!(
                "{} scales on axis {} of shape {shape:?}",
                self.values.len(),
                self.axis
            )));
        }
        if let Some(bad) = self.values.iter().find(|v| !(v.is_finite() && **v > 0.0)) {
            return Err(Error::invalid(format!(
                "a scale of {bad}; scales must be positive and finite"
            )));
        }
        Ok(())
    }
}

/// Turns symbols of one tensor into its bytes: value = scale x level, one f32 multiply, rounded to the element type.
///
/// Levels are tabulated only for tensors that have at least as many elements, so a dequantizer takes no more than eight
/// bytes per element of its tensor: many small tensors with large codebooks cost no more than one large tensor.
#[derive(Debug)]
pub struct Dequantizer<'a> {
    codebook: &'a Codebook,
    /// Bits of the levels in the element type, if the tensor is large enough and has no scales.
    encoded: Vec<u64>,
    encoded_f32: Option<Box<[u32; 256]>>,
    dtype: Dtype,
    shape: &'a [u64],
    /// Scales, and the number of elements that share one.
    scales: Option<(&'a [f32], u64)>,
}

impl<'a> Dequantizer<'a> {
    /// A dequantizer of a tensor.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the type is not a float, or codebook or scales do not fit.
    pub fn new(
        codebook: &'a Codebook,
        scales: Option<&'a Scales>,
        dtype: Dtype,
        shape: &'a [u64],
    ) -> Result<Self> {
        codebook.check()?;
        if !dtype.is_float() {
            return Err(Error::invalid(format!("a quantized tensor of type {dtype}")));
        }
        let product = |extents: &[u64]| extents.iter().fold(1u64, |n, &e| n.saturating_mul(e));
        let n_levels = codebook.n_levels() as u64;
        let encoded: Vec<u64> = if scales.is_none() && product(shape) >= n_levels {
            let levels = codebook.levels();
            levels.iter().filter_map(|&l| encode_f32(l, dtype)).collect()
        } else {
            Vec::new()
        };
        let scales = match scales {
            Some(scales) => {
                scales.check(shape)?;
                let inner = product(shape.get(scales.axis as usize + 1..).unwrap_or_default());
                Some((scales.values.as_slice(), inner))
            }
            None => None,
        };
        let tabulated = scales.is_none() && n_levels <= 256 && product(shape) >= 256;
        let encoded_f32 = (dtype == Dtype::F32 && tabulated).then(|| {
            let mut table = Box::new([0; 256]);
            table.iter_mut().zip(&encoded).for_each(|(t, &e)| *t = e as u32);
            table
        });
        Ok(Self {
            codebook,
            encoded,
            encoded_f32,
            dtype,
            shape,
            scales,
        })
    }

    /// Shape of the tensor.
    pub(crate) fn shape(&self) -> &'a [u64] {
        self.shape
    }

    /// Bytes of one element.
    pub(crate) fn size_bytes(&self) -> usize {
        self.dtype.size_bytes()
    }

    /// Writes the values of `symbols`, the first of which is element `first` of the tensor, to `out`. Numbers of elements
    /// wrap around at 2^64: what a tensor cannot have does no harm.
    pub(crate) fn write(&self, first: u64, symbols: &[u16], out: &mut [u8]) {
        if let Some(table) = &self.encoded_f32 {
            for (out, &symbol) in out.as_chunks_mut::<4>().0.iter_mut().zip(symbols) {
                *out = table[usize::from(symbol & 0xff)].to_le_bytes();
            }
            return;
        }
        let size = self.size_bytes();
        for (i, (out, &symbol)) in out.chunks_exact_mut(size).zip(symbols).enumerate() {
            let bits = match self.scales {
                None if self.encoded.is_empty() => encode_f32(self.codebook.level(symbol), self.dtype),
                None => self.encoded.get(usize::from(symbol)).copied(),
                Some((scales, inner)) => {
                    let index = (first.wrapping_add(i as u64) / inner.max(1)) % scales.len().max(1) as u64;
                    let scale = scales.get(index as usize).copied().unwrap_or(1.0);
                    encode_f32(scale * self.codebook.level(symbol), self.dtype)
                }
            };
            for (to, from) in out.iter_mut().zip(bits.unwrap_or(0).to_le_bytes()) {
                *to = from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_their_formulas() {
        let grid = Codebook::Grid {
            step: 0.1,
            first: -2,
            n_levels: 4,
        };
        assert_eq!(grid.levels(), [0.1f32 * -2.0, -0.1, 0.0, 0.1]);
        assert_eq!(grid.zero_symbol(), Some(2));
        // 1.0 is 0x3f800000: with 2 mantissa bits 0x3f800000 >> 21 = 508, and the next numbers are 1.25, 1.5, 1.75, 2.
        let mantissa = Codebook::Mantissa {
            mantissa_bits: 2,
            first: 508,
            n_levels: 5,
        };
        assert_eq!(mantissa.levels(), [1.0, 1.25, 1.5, 1.75, 2.0]);
        assert_eq!(mantissa.zero_symbol(), None);
    }

    #[test]
    fn a_scale_belongs_to_an_index_of_its_axis() {
        let codebook = Codebook::Table(vec![1.0, 2.0]);
        let scales = Scales {
            axis: 1,
            values: vec![10.0, 100.0, 1000.0],
        };
        let dequantizer = Dequantizer::new(&codebook, Some(&scales), Dtype::F64, &[2, 3, 2]).unwrap();
        let mut out = vec![0; 7 * 8];
        dequantizer.write(5, &[0, 0, 1, 0, 0, 0, 0], &mut out); // elements 5.. of 12: indices 2, 0, 0, 1, 1, 2, 2
        let values: Vec<f64> = out
            .as_chunks::<8>()
            .0
            .iter()
            .map(|b| f64::from_le_bytes(*b))
            .collect();
        assert_eq!(values, [1000.0, 10.0, 20.0, 100.0, 100.0, 1000.0, 1000.0]);
    }

    #[test]
    fn a_small_tensor_does_not_expand_a_large_codebook() {
        let codebook = Codebook::Grid {
            step: 0.25,
            first: -30_000,
            n_levels: 60_000,
        };
        let small = Dequantizer::new(&codebook, None, Dtype::F32, &[3]).unwrap();
        assert!(small.encoded.is_empty() && small.encoded_f32.is_none());
        let large = Dequantizer::new(&codebook, None, Dtype::F32, &[60_000]).unwrap();
        let symbols = [0, 30_001, 59_999];
        let (mut a, mut b) = ([0; 12], [1; 12]);
        small.write(0, &symbols, &mut a);
        large.write(0, &symbols, &mut b);
        assert_eq!(a, b);
    }

    #[test]
    fn scales_of_an_empty_tensor_of_huge_extents_are_harmless() {
        let codebook = Codebook::Table(vec![1.0]);
        let scales = Scales {
            axis: 0,
            values: vec![],
        };
        let shape = [0, 1 << 40, 1 << 40];
        assert!(Dequantizer::new(&codebook, Some(&scales), Dtype::F32, &shape).is_ok());
    }

    #[test]
    fn codebooks_that_no_decoder_could_reproduce_are_refused() {
        let n_levels = 3;
        assert!(
            Codebook::Grid {
                step: 0.0,
                first: 0,
                n_levels
            }
            .check()
            .is_err()
        );
        assert!(
            Codebook::Grid {
                step: 1e38,
                first: 9,
                n_levels
            }
            .check()
            .is_err()
        );
        assert!(
            Codebook::Grid {
                step: 1.0,
                first: i32::MIN,
                n_levels
            }
            .check()
            .is_err()
        );
        assert!(Codebook::Table(vec![]).check().is_err());
        assert!(Codebook::Table(vec![f32::NAN]).check().is_err());
        assert!(
            Codebook::Mantissa {
                mantissa_bits: 2,
                first: 1019,
                n_levels
            }
            .check()
            .is_err()
        ); // 1020 is infinity
    }
}
