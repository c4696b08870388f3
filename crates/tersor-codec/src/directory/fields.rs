//! The adaptive models of a directory's fields, and the memory that it may take.

use crate::range::{Bit, BitCoder, TreeModel, UintModel};
use crate::text::TextCoder;
use crate::{Error, Limits, Result};

/// An f32 of which the lower half is often zero.
pub(super) struct FloatModel {
    short: Bit,
    bytes: [TreeModel; 2],
}

impl FloatModel {
    pub(super) fn new() -> Self {
        Self {
            short: Bit::default(),
            bytes: [TreeModel::new(8), TreeModel::new(8)],
        }
    }

    pub(super) fn code(&mut self, coder: &mut impl BitCoder, value: f32) -> Result<f32> {
        let [a, b, c, d] = value.to_bits().to_be_bytes();
        let short = coder.bit(&mut self.short, c == 0 && d == 0)?;
        let [high, low] = &mut self.bytes;
        let upper = high.code(coder, u32::from(a))? << 8 | low.code(coder, u32::from(b))?;
        let lower = if short {
            0
        } else {
            coder.direct(16, u32::from(c) << 8 | u32::from(d))?
        };
        Ok(f32::from_bits(upper << 16 | lower))
    }
}

/// Memory that each byte of a string may take: the string itself, the set of names, the history, three tables of contexts.
const STRING_BYTE_COST: u64 = 64;

/// The adaptive models of all fields, and what is left of the caller's limits.
pub(super) struct Fields {
    pub(super) text: TextCoder,
    pub(super) count: UintModel,
    pub(super) dtype: TreeModel,
    pub(super) n_axes: UintModel,
    pub(super) same_extent: Bit,
    pub(super) extent: UintModel,
    pub(super) shard: UintModel,
    pub(super) storage: TreeModel,
    pub(super) codebook: UintModel,
    pub(super) has_scales: Bit,
    pub(super) axis: UintModel,
    pub(super) float: FloatModel,
    pub(super) kind: TreeModel,
    pub(super) first: UintModel,
    pub(super) n_levels: UintModel,
    pub(super) half: Bit,
    pub(super) mantissa_bits: UintModel,
    pub(super) alias: UintModel,
    pub(super) tied: Bit,
    pub(super) whole: Bit,
    pub(super) n_segments: UintModel,
    pub(super) coder: TreeModel,
    pub(super) size_bytes: UintModel,
    /// Bytes of memory that may still be taken.
    budget: u64,
    limits: Limits,
}

impl Fields {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            text: TextCoder::new(),
            count: UintModel::default(),
            dtype: TreeModel::new(5),
            n_axes: UintModel::default(),
            same_extent: Bit::default(),
            extent: UintModel::default(),
            shard: UintModel::default(),
            storage: TreeModel::new(2),
            codebook: UintModel::default(),
            has_scales: Bit::default(),
            axis: UintModel::default(),
            float: FloatModel::new(),
            kind: TreeModel::new(3),
            first: UintModel::default(),
            n_levels: UintModel::default(),
            half: Bit::default(),
            mantissa_bits: UintModel::default(),
            alias: UintModel::default(),
            tied: Bit::default(),
            whole: Bit::default(),
            n_segments: UintModel::default(),
            coder: TreeModel::new(4),
            size_bytes: UintModel::default(),
            budget: limits.max_directory_bytes,
            limits,
        }
    }

    /// Takes memory from the budget.
    pub(super) fn spend(&mut self, n_bytes: u64) -> Result<()> {
        let limit = self.limits.max_directory_bytes;
        self.budget = self.budget.checked_sub(n_bytes).ok_or(Error::LimitExceeded {
            what: "the memory for the directory in bytes",
            needed: limit.saturating_add(1),
            limit,
        })?;
        Ok(())
    }

    pub(super) fn string(&mut self, coder: &mut impl BitCoder, given: &str) -> Result<String> {
        let string = self.text.code(coder, given, self.budget / STRING_BYTE_COST)?;
        self.spend(64 + STRING_BYTE_COST * string.len() as u64)?;
        Ok(string)
    }
}
