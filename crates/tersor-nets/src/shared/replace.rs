//! New values for a tensor of a quantized checkpoint, on the levels that it has.

use crate::{Error, Result};
use tersor_codec::{Codebook, Dtype, QuantizedCheckpoint, TensorData};

/// Largest alphabet: a symbol has 16 bits.
const MAX_LEVELS: i64 = 1 << 16;

/// Numbers of the levels nearest to values on a codebook of equally numbered levels, as if it were endless.
fn numbers(codebook: &Codebook, values: &[f32]) -> Option<Vec<i64>> {
    match codebook {
        Codebook::Grid { step, .. } => {
            let nearest = |&v: &f32| (f64::from(v) / f64::from(*step)).round() as i64;
            Some(values.iter().map(nearest).collect())
        }
        Codebook::Mantissa { mantissa_bits, .. } => {
            let shift = 23 - mantissa_bits;
            let half = if shift == 0 { 0 } else { 1u32 << (shift - 1) };
            let nearest = |&v: &f32| i64::from(v.max(0.0).to_bits().saturating_add(half) >> shift);
            Some(values.iter().map(nearest).collect())
        }
        _ => None,
    }
}

/// Replaces the values of tensor `index` by the nearest levels of its codebook. A grid is extended where values lie
/// beyond it, for all tensors that share it; raw tensors take the values as they are.
///
/// # Errors
/// [`Error::Input`] if the number of values is not that of elements, a value is not finite, or the grid would need more
/// than 2^16 levels.
pub fn replace_values(quantized: &mut QuantizedCheckpoint, index: usize, values: &[f32]) -> Result<()> {
    let Some(tensor) = quantized.tensors.get_mut(index) else {
        return Err(Error::Internal(format!("there is no tensor {index}")));
    };
    let name = tensor.info.name.clone();
    if tensor.info.n_elements() != Some(values.len() as u64) || values.iter().any(|v| !v.is_finite()) {
        let n = values.len();
        return Err(Error::Input(format!(
            "{n} values cannot replace those of {name:?}: their number or a value is wrong"
        )));
    }
    let (at, symbols) = match &mut tensor.data {
        TensorData::Raw(bytes) if tensor.info.dtype == Dtype::F32 => {
            *bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            return Ok(());
        }
        TensorData::Quantized {
            codebook,
            scales: None,
            symbols,
        } => (*codebook, symbols),
        _ => {
            return Err(Error::Input(format!(
                "the values of {name:?} cannot be replaced: it is tied, scaled or no f32"
            )));
        }
    };
    let Some(codebook) = quantized.codebooks.get(at) else {
        return Err(Error::Internal(format!("there is no codebook {at}")));
    };
    let Some(numbers) = numbers(codebook, values) else {
        let levels = codebook.levels();
        let nearest = |v: f32| {
            let distance = |l: &f32| (l - v).abs();
            let best = levels
                .iter()
                .enumerate()
                .min_by(|a, b| distance(a.1).total_cmp(&distance(b.1)));
            best.map_or(0, |(s, _)| s as u16)
        };
        symbols.iter_mut().zip(values).for_each(|(s, &v)| *s = nearest(v));
        return Ok(());
    };
    let (old_first, old_n) = match codebook {
        Codebook::Grid { first, n_levels, .. } => (i64::from(*first), i64::from(*n_levels)),
        Codebook::Mantissa { first, n_levels, .. } => (i64::from(*first), i64::from(*n_levels)),
        _ => return Err(Error::Internal("a codebook without numbers".into())),
    };
    let low = numbers.iter().copied().fold(old_first, i64::min);
    let high = numbers.iter().copied().fold(old_first + old_n - 1, i64::max);
    let n = high - low + 1;
    if n > MAX_LEVELS {
        return Err(Error::Input(format!(
            "{name:?} would need {n} levels; at most {MAX_LEVELS} fit a symbol"
        )));
    }
    for (s, number) in symbols.iter_mut().zip(&numbers) {
        *s = (number - low) as u16;
    }
    let moved = (old_first - low) as u16;
    match quantized.codebooks.get_mut(at) {
        Some(Codebook::Grid { first, n_levels, .. }) => {
            *first = low as i32;
            *n_levels = n as u32;
        }
        Some(Codebook::Mantissa { first, n_levels, .. }) => {
            *first = low as u32;
            *n_levels = n as u32;
        }
        _ => {}
    }
    if moved > 0 {
        for (other, tensor) in quantized.tensors.iter_mut().enumerate() {
            if let TensorData::Quantized {
                codebook, symbols, ..
            } = &mut tensor.data
                && *codebook == at
                && other != index
            {
                for s in symbols.iter_mut() {
                    *s += moved;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tersor_codec::{QuantizedTensor, Shard, TensorInfo};

    fn checkpoint() -> QuantizedCheckpoint {
        let tensor = |name: &str, symbols: Vec<u16>| QuantizedTensor {
            info: TensorInfo {
                name: name.into(),
                dtype: Dtype::F32,
                shape: vec![symbols.len() as u64],
                shard: 0,
            },
            data: TensorData::Quantized {
                codebook: 0,
                scales: None,
                symbols,
            },
        };
        QuantizedCheckpoint {
            tensors: vec![tensor("a", vec![0, 1, 2]), tensor("b", vec![2, 2])],
            codebooks: vec![Codebook::Grid {
                step: 0.5,
                first: -1,
                n_levels: 3,
            }],
            shards: vec![Shard::default()],
            blobs: Vec::new(),
        }
    }

    fn floats(bytes: &[u8]) -> Vec<f32> {
        bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect()
    }

    #[test]
    fn a_grid_grows_and_its_other_tensors_keep_their_values() {
        let mut q = checkpoint();
        replace_values(&mut q, 0, &[-3.1, 0.2, 9.0]).unwrap();
        assert_eq!(floats(&q.dequantize(0).unwrap()), [-3.0, 0.0, 9.0]);
        assert_eq!(floats(&q.dequantize(1).unwrap()), [0.5, 0.5]);
        let file = q.encode(tersor_codec::EncodeOptions::default()).unwrap();
        assert_eq!(
            QuantizedCheckpoint::decode(&file, tersor_codec::Limits::default()).unwrap(),
            q
        );
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        let mut q = checkpoint();
        for bad in [vec![1.0], vec![f32::NAN, 0.0, 0.0], vec![1e9, 0.0, 0.0]] {
            let before = q.clone();
            let message = replace_values(&mut q, 0, &bad).unwrap_err().to_string();
            assert!(message.contains("\"a\""), "{message}");
            assert_eq!(before.codebooks, q.codebooks);
        }
    }
}
