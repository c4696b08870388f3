//! Some of a data set's examples.

use crate::examples::{Batch, Examples};
use crate::{Error, Result};
use std::ops::Range;
use std::str::FromStr;
use tersor_data::Key;

/// Which examples: settings are chosen on some, and results reported on others.
///
/// | text | examples |
/// |---|---|
/// | `10..150`, `..150`, `150..` | those with an index in a range, its end excluded |
/// | `0%10` | those whose index is 0 modulo 10 |
/// | `!0%10` | all others |
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// From an index to another, which is excluded.
    Range(Range<usize>),
    /// Index modulo a number.
    Residue {
        /// The number.
        modulus: usize,
        /// What remains.
        residue: usize,
        /// Whether all others are meant.
        others: bool,
    },
}

impl Selection {
    /// All examples.
    pub const ALL: Self = Self::Range(0..usize::MAX);

    /// Whether an example is meant.
    pub fn contains(&self, index: usize) -> bool {
        match self {
            Self::Range(range) => range.contains(&index),
            Self::Residue {
                modulus,
                residue,
                others,
            } => (index % modulus == *residue) != *others,
        }
    }

    /// The examples of a set that are not meant; none if all are.
    pub fn rest<'a>(&self, examples: &'a dyn Examples) -> Subset<'a> {
        let indices = (0..examples.len()).filter(|&i| !self.contains(i)).collect();
        Subset { examples, indices }
    }

    /// The examples of a set.
    ///
    /// # Errors
    /// [`Error::Input`] if none is meant though the set has some.
    pub fn of<'a>(&self, examples: &'a dyn Examples) -> Result<Subset<'a>> {
        let indices: Vec<usize> = (0..examples.len()).filter(|&i| self.contains(i)).collect();
        if indices.is_empty() && !examples.is_empty() {
            let n = examples.len();
            return Err(Error::Input(format!("none of the {n} examples is selected")));
        }
        Ok(Subset { examples, indices })
    }
}

impl FromStr for Selection {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            Error::Input(format!(
                "{text:?} selects no examples; ranges are written 10..150, ..150 or 150.., and every tenth 0%10 or !0%10"
            ))
        };
        let number = |text: &str| text.parse::<usize>().map_err(|_| refuse());
        if let Some((start, end)) = text.split_once("..") {
            let start = if start.is_empty() { 0 } else { number(start)? };
            let end = if end.is_empty() { usize::MAX } else { number(end)? };
            return (start < end)
                .then_some(Self::Range(start..end))
                .ok_or_else(refuse);
        }
        let (others, rest) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let (residue, modulus) = rest.split_once('%').ok_or_else(refuse)?;
        let (residue, modulus) = (number(residue)?, number(modulus)?);
        (residue < modulus)
            .then_some(Self::Residue {
                modulus,
                residue,
                others,
            })
            .ok_or_else(refuse)
    }
}

/// Some of a set's examples, in the order of their indices.
pub struct Subset<'a> {
    /// All.
    pub examples: &'a dyn Examples,
    /// Which.
    pub indices: Vec<usize>,
}

impl Examples for Subset<'_> {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn batch(&self, indices: &[usize], key: Option<Key>) -> Result<Batch> {
        let chosen: Vec<usize> = indices
            .iter()
            .filter_map(|&i| self.indices.get(i).copied())
            .collect();
        self.examples.batch(&chosen, key)
    }

    fn is_augmented(&self) -> bool {
        self.examples.is_augmented()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_residues() {
        let chosen = |text: &str| {
            let selection: Selection = text.parse().unwrap();
            (0..12).filter(|&i| selection.contains(i)).collect::<Vec<_>>()
        };
        assert_eq!(chosen("3..5"), [3, 4]);
        assert_eq!(chosen("..2"), [0, 1]);
        assert_eq!(chosen("10.."), [10, 11]);
        assert_eq!(chosen("1%5"), [1, 6, 11]);
        assert_eq!(chosen("!0%2"), [1, 3, 5, 7, 9, 11]);
        for wrong in ["", "5", "5..5", "5..x", "3%3", "1%0", "!2", "a%b"] {
            assert!(wrong.parse::<Selection>().is_err(), "{wrong:?}");
        }
    }
}
