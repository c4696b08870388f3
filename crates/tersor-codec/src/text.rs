//! Names and other strings in a directory: bytes predicted from what came before.
//!
//! Names of tensors repeat each other. A pointer into the text so far proposes the next byte; one adaptive bit says
//! whether it is right. Where it is wrong or there is none, the byte is coded by its predecessor alone.
//! `docs/format.md`, "Text".

use crate::range::{Bit, BitCoder, TreeModel};
use crate::{Error, Result};
use std::collections::HashMap;

/// Ends a string; never a byte of UTF-8.
const END: u8 = 0xff;
/// Lengths of agreement that are told apart.
const MAX_MATCH: usize = 15;

/// Codes strings, each with the help of those before it.
#[derive(Debug)]
pub(crate) struct TextCoder {
    history: Vec<u8>,
    /// Last four bytes of the string before.
    tail: [u8; 4],
    /// Position after the last occurrence of a context: three bytes with the tail of the string before, four bytes, two.
    after_tail: HashMap<([u8; 4], [u8; 3]), usize>,
    after_four: HashMap<[u8; 4], usize>,
    after_two: HashMap<[u8; 2], usize>,
    pointer: Option<usize>,
    match_len: usize,
    hit: [Bit; MAX_MATCH + 1],
    literal: Vec<Option<Box<TreeModel>>>,
}

impl TextCoder {
    pub(crate) fn new() -> Self {
        Self {
            history: Vec::new(),
            tail: [END; 4],
            after_tail: HashMap::new(),
            after_four: HashMap::new(),
            after_two: HashMap::new(),
            pointer: None,
            match_len: 0,
            hit: [Bit::default(); MAX_MATCH + 1],
            literal: vec![None; 256],
        }
    }

    /// Codes one string; `budget` is the number of bytes it may take.
    pub(crate) fn code(&mut self, coder: &mut impl BitCoder, given: &str, budget: u64) -> Result<String> {
        let mut bytes = Vec::new();
        loop {
            let byte = self.byte(coder, given.as_bytes().get(bytes.len()).copied().unwrap_or(END))?;
            if byte == END {
                break;
            }
            if bytes.len() as u64 >= budget {
                return Err(Error::LimitExceeded {
                    what: "the length of a string",
                    needed: bytes.len() as u64 + 1,
                    limit: budget,
                });
            }
            bytes.push(byte);
        }
        String::from_utf8(bytes).map_err(|_| Error::corrupt("directory", "a name that is not UTF-8"))
    }

    fn byte(&mut self, coder: &mut impl BitCoder, given: u8) -> Result<u8> {
        let proposed = self.pointer.and_then(|p| self.history.get(p)).copied();
        let mut result = None;
        if let Some(proposed) = proposed {
            let model = self
                .hit
                .get_mut(self.match_len)
                .ok_or_else(|| Error::corrupt("directory", "a match length"))?;
            if coder.bit(model, given == proposed)? {
                result = Some(proposed);
            }
        }
        let hit = result.is_some();
        let byte = if let Some(byte) = result {
            byte
        } else {
            let before = usize::from(self.history.last().copied().unwrap_or(END));
            let slot = self
                .literal
                .get_mut(before)
                .ok_or_else(|| Error::corrupt("directory", "a byte"))?;
            slot.get_or_insert_with(|| Box::new(TreeModel::new(8)))
                .code(coder, u32::from(given))? as u8
        };
        self.append(byte, hit);
        Ok(byte)
    }

    fn append(&mut self, byte: u8, hit: bool) {
        self.history.push(byte);
        let here = self.history.len();
        if hit {
            self.pointer = self.pointer.map(|p| p + 1);
            self.match_len = (self.match_len + 1).min(MAX_MATCH);
        } else {
            self.pointer = None;
        }
        let four: Option<[u8; 4]> = self.history.last_chunk().copied();
        let two: Option<[u8; 2]> = self.history.last_chunk().copied();
        if byte == END {
            self.tail = four.unwrap_or([END; 4]);
        }
        let with_tail = self.history.last_chunk().map(|three| (self.tail, *three));
        if self.pointer.is_none() {
            let found = with_tail.and_then(|key| self.after_tail.get(&key));
            let found = found.or_else(|| four.and_then(|key| self.after_four.get(&key)));
            self.pointer = found
                .or_else(|| two.and_then(|key| self.after_two.get(&key)))
                .copied();
            let agreeing = |found: usize| {
                let before = self.history.get(..found).unwrap_or_default();
                before
                    .iter()
                    .rev()
                    .zip(self.history.iter().rev())
                    .take(MAX_MATCH)
                    .take_while(|(a, b)| a == b)
                    .count()
            };
            self.match_len = self.pointer.map_or(0, agreeing);
        }
        with_tail.map(|key| self.after_tail.insert(key, here));
        four.map(|key| self.after_four.insert(key, here));
        two.map(|key| self.after_two.insert(key, here));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::range::{RangeDecoder, RangeEncoder};
    use proptest::prelude::*;

    fn coded(strings: &[String]) -> Vec<u8> {
        let (mut encoder, mut text) = (RangeEncoder::new(), TextCoder::new());
        for s in strings {
            text.code(&mut encoder, s, 1000).unwrap();
        }
        encoder.finish()
    }

    proptest! {
        #[test]
        fn any_strings_come_back(strings in proptest::collection::vec("(layer[0-9]\\.(bn|conv)[12]\\.)?\\PC{0,9}", 0..20)) {
            let bytes = coded(&strings);
            let (mut decoder, mut text) = (RangeDecoder::new(&bytes, "test").unwrap(), TextCoder::new());
            for s in &strings {
                prop_assert_eq!(&text.code(&mut decoder, "", 1000).unwrap(), s);
            }
            decoder.finish().unwrap();
        }
    }

    #[test]
    fn names_that_repeat_each_other_take_little() {
        let part = |p: &'static str| {
            ["weight", "bias", "running_mean", "running_var"].map(move |k| format!("{p}.{k}"))
        };
        let names: Vec<String> = (0..15)
            .flat_map(|i| {
                part("bn1")
                    .into_iter()
                    .chain(part("bn2"))
                    .map(move |n| format!("layer1.{i}.{n}"))
            })
            .collect();
        let plain: usize = names.iter().map(String::len).sum();
        let size = coded(&names).len();
        assert!(size * 9 < plain, "{size} bytes for {plain}");
    }
}
