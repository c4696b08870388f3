//! Codebooks, as a directory tells of them.

use super::fields::Fields;
use crate::codebook::{Codebook, MAX_LEVELS};
use crate::range::BitCoder;
use crate::{Error, Result};
use half::f16;

const KIND_GRID: u32 = 0;
const KIND_TABLE: u32 = 1;
const KIND_MANTISSA: u32 = 2;

fn zigzag(value: i32) -> u64 {
    u64::from((value << 1 ^ value >> 31) as u32)
}

fn unzigzag(value: u64) -> Option<i32> {
    let value = u32::try_from(value).ok()?;
    Some((value >> 1) as i32 ^ -((value & 1) as i32))
}

pub(super) fn code_codebook(
    coder: &mut impl BitCoder,
    fields: &mut Fields,
    given: Option<&Codebook>,
) -> Result<Codebook> {
    let kind = match given {
        Some(Codebook::Grid { .. }) | None => KIND_GRID,
        Some(Codebook::Table(_)) => KIND_TABLE,
        Some(Codebook::Mantissa { .. }) => KIND_MANTISSA,
    };
    fields.spend(size_of::<Codebook>() as u64)?;
    let kind = fields.kind.code(coder, kind)?;
    let n_levels = fields
        .n_levels
        .code(coder, given.map_or(0, |c| c.n_levels() as u64))?;
    if n_levels == 0 || n_levels > MAX_LEVELS as u64 {
        return Err(Error::corrupt(
            "directory",
            format!("a codebook of {n_levels} levels"),
        ));
    }
    let n_levels = n_levels as u32;
    match kind {
        KIND_GRID => {
            let (step, first) = if let Some(Codebook::Grid { step, first, .. }) = given {
                (*step, *first)
            } else {
                (1.0, 0)
            };
            let step = fields.float.code(coder, step)?;
            let first = unzigzag(fields.first.code(coder, zigzag(first))?);
            let first =
                first.ok_or_else(|| Error::corrupt("directory", "a grid that starts beyond 32 bits"))?;
            Ok(Codebook::Grid {
                step,
                first,
                n_levels,
            })
        }
        KIND_TABLE => {
            let levels = if let Some(Codebook::Table(levels)) = given {
                levels.as_slice()
            } else {
                &[]
            };
            fields.spend(4 * u64::from(n_levels))?;
            let half = coder.bit(
                &mut fields.half,
                levels
                    .iter()
                    .all(|&l| f16::from_f32(l).to_f32().to_bits() == l.to_bits()),
            )?;
            let mut table = Vec::new();
            for i in 0..n_levels as usize {
                let level = levels.get(i).copied().unwrap_or(0.0);
                table.push(if half {
                    f16::from_bits(coder.direct(16, u32::from(f16::from_f32(level).to_bits()))? as u16)
                        .to_f32()
                } else {
                    f32::from_bits(coder.direct(32, level.to_bits())?)
                });
            }
            Ok(Codebook::Table(table))
        }
        KIND_MANTISSA => {
            let (bits, first) = match given {
                Some(Codebook::Mantissa {
                    mantissa_bits, first, ..
                }) => (*mantissa_bits, *first),
                _ => (0, 0),
            };
            let mantissa_bits = fields.mantissa_bits.code(coder, u64::from(bits))?.min(24) as u32;
            let first = fields.first.code(coder, u64::from(first))?;
            let first =
                u32::try_from(first).map_err(|_| Error::corrupt("directory", "a level beyond 32 bits"))?;
            Ok(Codebook::Mantissa {
                mantissa_bits,
                first,
                n_levels,
            })
        }
        other => Err(Error::corrupt("directory", format!("a codebook of kind {other}"))),
    }
}
