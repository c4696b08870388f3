//! The tokenizer of llama2.c.

use super::merge::merge;
use crate::error::{DataError, Result};
use crate::source::Source;
use std::collections::HashMap;
use std::path::Path;

/// A byte-pair tokenizer with fallback to bytes.
///
/// # Source
/// A. Karpathy, llama2.c, `run.c`, `encode`; its vocabularies are `SentencePiece` models in the layout read here.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    pieces: Vec<Vec<u8>>,
    scores: Vec<f32>,
    ids: HashMap<Vec<u8>, u32>,
}

/// Begins every text.
const BOS: u32 = 1;
/// Ends a text.
const EOS: u32 = 2;
/// Byte `b` is token `FIRST_BYTE + b`.
const FIRST_BYTE: u32 = 3;
/// Unknown, beginning, end, and every byte.
const MIN_TOKENS: usize = FIRST_BYTE as usize + 256;
/// The vocabularies in use take less than 1 MiB.
const MAX_FILE_BYTES: u64 = 64 << 20;

impl Tokenizer {
    /// Reads a vocabulary: i32 longest token, then per token f32 score, i32 length, bytes; little-endian. It may be
    /// compressed with gzip.
    ///
    /// # Errors
    /// If the file cannot be read, or is not of this layout.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = Source::open(path)?.rest(MAX_FILE_BYTES, "a vocabulary")?;
        Self::parse(&bytes).map_err(|what| DataError::corrupt(path, what))
    }

    fn parse(mut bytes: &[u8]) -> std::result::Result<Self, String> {
        let longest = i32::from_le_bytes(take(&mut bytes, "the length of the longest token")?);
        let (mut pieces, mut scores, mut ids) = (Vec::new(), Vec::new(), HashMap::new());
        while !bytes.is_empty() {
            let id = pieces.len();
            let score = f32::from_le_bytes(take(&mut bytes, "a score")?);
            let len = i32::from_le_bytes(take(&mut bytes, "a length")?);
            if score.is_nan() || !(0..=longest).contains(&len) {
                return Err(format!(
                    "token {id} has score {score} and {len} bytes; the longest has {longest}"
                ));
            }
            let Some((piece, rest)) = bytes.split_at_checked(len as usize) else {
                return Err(format!(
                    "token {id}: the file ends after {} of {len} bytes",
                    bytes.len()
                ));
            };
            bytes = rest;
            ids.entry(piece.to_vec()).or_insert(id as u32);
            pieces.push(piece.to_vec());
            scores.push(score);
        }
        if pieces.len() < MIN_TOKENS {
            return Err(format!(
                "{} tokens; there are at least {MIN_TOKENS}, as every byte is one",
                pieces.len()
            ));
        }
        Ok(Self { pieces, scores, ids })
    }

    /// How many tokens there are; ids are below.
    pub fn vocabulary_len(&self) -> usize {
        self.pieces.len()
    }

    /// A text as tokens: the beginning, a space, then the text; the adjacent pair whose union has the highest score
    /// is joined until no union is a token, the leftmost first among equals.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        let mut buffer = [0; 4];
        let space = (!text.is_empty()).then_some(' ');
        for character in space.into_iter().chain(text.chars()) {
            let character = character.encode_utf8(&mut buffer).as_bytes();
            match self.ids.get(character) {
                Some(&id) => tokens.push(id),
                None => tokens.extend(character.iter().map(|&byte| FIRST_BYTE + u32::from(byte))),
            }
        }
        let mut union = Vec::new();
        let tokens = merge(tokens, |left, right| {
            union.clear();
            union.extend_from_slice(&self.pieces[left as usize]);
            union.extend_from_slice(&self.pieces[right as usize]);
            self.ids.get(&union).map(|&id| (id, self.scores[id as usize]))
        });
        std::iter::once(BOS).chain(tokens).collect()
    }

    /// The text of tokens, without its beginning and end. Bytes that are not UTF-8 become U+FFFD, and so do ids
    /// beyond the vocabulary.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let mut text = Vec::new();
        for &token in tokens {
            match (token, self.pieces.get(token as usize)) {
                (BOS | EOS, _) => {}
                (FIRST_BYTE.., Some(_)) if token < MIN_TOKENS as u32 => text.push((token - FIRST_BYTE) as u8),
                (_, Some(piece)) => text.extend_from_slice(piece),
                (_, None) => text.extend_from_slice("\u{fffd}".as_bytes()),
            }
        }
        // The space before the text belongs to its beginning.
        let begins = tokens.first() == Some(&BOS);
        let text = text.strip_prefix(b" ").filter(|_| begins).unwrap_or(&text);
        String::from_utf8_lossy(text).into_owned()
    }

    /// The [`chunks`](super::chunks) of a text as tokens, each cut to `max_tokens`.
    pub fn encode_chunks(&self, text: &str, min_chars: usize, max_tokens: usize) -> Vec<Vec<u32>> {
        let encode = |chunk| {
            let mut tokens = self.encode(chunk);
            tokens.truncate(max_tokens);
            tokens
        };
        super::chunks(text, min_chars).into_iter().map(encode).collect()
    }
}

fn take(bytes: &mut &[u8], what: &str) -> std::result::Result<[u8; 4], String> {
    let (word, rest) = bytes
        .split_first_chunk()
        .ok_or_else(|| format!("the file ends in {what}"))?;
    *bytes = rest;
    Ok(*word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vocabulary of the bytes and the given tokens.
    fn vocabulary(tokens: &[(&str, f32)]) -> Vec<u8> {
        let bytes = (0..=255).map(|byte| (format!("<0x{byte:02X}>"), 0.0));
        let special = ["<unk>", "<s>", "</s>"].map(|token| (token.to_owned(), 0.0));
        let tokens = tokens.iter().map(|&(token, score)| (token.to_owned(), score));
        let mut file = 10_i32.to_le_bytes().to_vec();
        for (token, score) in special.into_iter().chain(bytes).chain(tokens) {
            file.extend(score.to_le_bytes());
            file.extend((token.len() as i32).to_le_bytes());
            file.extend(token.as_bytes());
        }
        file
    }

    const TOKENS: [(&str, f32); 8] = [
        (" ", 0.0),
        ("a", 0.0),
        ("b", 0.0),
        ("ab", 1.0),
        ("ba", 2.0),
        ("aba", 0.5),
        (" a", 0.7),
        ("ü", 0.0),
    ];

    #[test]
    fn the_best_union_comes_first_and_unknown_characters_become_bytes() {
        let tokenizer = Tokenizer::parse(&vocabulary(&TOKENS)).unwrap();
        let first = MIN_TOKENS as u32;
        let [space, a, _, ab, ba, aba, space_a, u] = std::array::from_fn(|i| first + i as u32);
        assert_eq!(tokenizer.encode(""), [BOS]);
        // " aba": "ba" (2.0) goes first, then " a" (0.7) before "aba" (0.5).
        assert_eq!(tokenizer.encode("aba"), [BOS, space_a, ba]);
        assert_eq!(tokenizer.encode("üab"), [BOS, space, u, ab]);
        assert_eq!(
            tokenizer.encode("é"),
            [BOS, space, FIRST_BYTE + 0xc3, FIRST_BYTE + 0xa9]
        );
        assert_eq!(tokenizer.decode(&[BOS, space_a, a, aba, 5000]), "aaaba\u{fffd}");
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        let tokenizer = Tokenizer::parse(&vocabulary(&TOKENS)).unwrap();
        for text in ["", " ", "aba bab\nü", "  two spaces", "日本語 🙂", "<s>"] {
            assert_eq!(tokenizer.decode(&tokenizer.encode(text)), text);
        }
    }

    #[test]
    fn every_damage_is_named() {
        let whole = vocabulary(&TOKENS);
        let error = |bytes: &[u8]| Tokenizer::parse(bytes).unwrap_err();
        assert!(error(&whole[..whole.len() - 1]).contains("token 266: the file ends after 1 of 2 bytes"));
        assert!(error(&[]).contains("ends in the length of the longest"));
        assert!(error(&vocabulary(&[])[..1000]).contains("the file ends"));
        assert!(error(&vocabulary(&[("too long a token", 0.0)])).contains("16 bytes; the longest has 10"));
        assert!(error(&vocabulary(&[("a", f32::NAN)])).contains("NaN"));
        let mut negative = whole.clone();
        negative[8..12].copy_from_slice(&(-1_i32).to_le_bytes());
        assert!(error(&negative).contains("token 0 has score 0 and -1 bytes"));
        assert!(
            error(&[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 65]).contains("1 tokens; there are at least 259")
        );
        // Every prefix is an error or shorter by whole tokens, never a panic.
        for n in 0..whole.len() {
            let _ = Tokenizer::parse(&whole[..n]);
        }
    }
}
