//! The header of a `.npy` array: a Python dictionary of three entries.

use super::{HEADER_ALIGNMENT, MAGIC, MAX_HEADER_BYTES};
use tersor_codec::Dtype;

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) dtype: Dtype,
    /// Bytes that are reversed as a unit on reading: the size of a number if the array is big endian, else 1.
    pub(super) swap_bytes: usize,
    /// The first index runs fastest.
    pub(super) fortran_order: bool,
    pub(super) shape: Vec<u64>,
    /// Bytes before the first element.
    pub(super) size_bytes: usize,
}

/// Why a header is not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    Corrupt(String),
    Unsupported(String),
}

fn corrupt<T>(what: impl Into<String>) -> Result<T, Flaw> {
    Err(Flaw::Corrupt(what.into()))
}

/// Length of everything before the elements, from the first bytes of a member (12 suffice).
pub(super) fn prefix_bytes(bytes: &[u8]) -> Result<usize, Flaw> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return corrupt("it does not begin with \"\\x93NUMPY\"");
    };
    let (length, before) = match *rest {
        [1, _, low, high, ..] => (u16::from_le_bytes([low, high]) as usize, MAGIC.len() + 4),
        [2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([a, b, c, d]) as usize, MAGIC.len() + 6),
        [major, minor, _, _, _, _, ..] => {
            return Err(Flaw::Unsupported(format!(
                "it has the .npy version {major}.{minor}; 1, 2 and 3 are read"
            )));
        }
        _ => return corrupt("it ends within its header"),
    };
    if length > MAX_HEADER_BYTES {
        return corrupt(format!(
            "its header claims {length} bytes, {MAX_HEADER_BYTES} are allowed"
        ));
    }
    Ok(before + length)
}

/// Parses what precedes the elements; `bytes` may go on beyond it.
pub(super) fn parse(bytes: &[u8]) -> Result<Header, Flaw> {
    let size_bytes = prefix_bytes(bytes)?;
    let before = if bytes.get(MAGIC.len()) == Some(&1) {
        MAGIC.len() + 4
    } else {
        MAGIC.len() + 6
    };
    let Some(text) = bytes.get(before..size_bytes) else {
        return corrupt("it ends within its header");
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return corrupt("its header is not text");
    };
    let mut scanner = Scanner(text);
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    scanner.expect('{')?;
    while !scanner.accept('}') {
        let key = scanner.string()?;
        scanner.expect(':')?;
        match key {
            "descr" => descr = Some(scanner.descr()?),
            "fortran_order" => fortran = Some(scanner.boolean()?),
            "shape" => shape = Some(scanner.shape()?),
            _ => return corrupt(format!("its header has the unknown key {key:?}")),
        }
        if !scanner.accept(',') {
            scanner.expect('}')?;
            break;
        }
    }
    let (Some(descr), Some(fortran_order), Some(shape)) = (descr, fortran, shape) else {
        return corrupt("its header lacks one of 'descr', 'fortran_order' and 'shape'");
    };
    let (dtype, swap_bytes) = element_type(descr)?;
    Ok(Header {
        dtype,
        swap_bytes,
        fortran_order,
        shape,
        size_bytes,
    })
}

fn element_type(descr: &str) -> Result<(Dtype, usize), Flaw> {
    let (order, kind) = match descr.split_at_checked(1) {
        Some((order @ ("<" | ">" | "|" | "="), kind)) => (order, kind),
        _ => ("<", descr),
    };
    let dtype = match kind {
        "f2" => Dtype::F16,
        "f4" => Dtype::F32,
        "f8" => Dtype::F64,
        "i1" => Dtype::I8,
        "i2" => Dtype::I16,
        "i4" => Dtype::I32,
        "i8" => Dtype::I64,
        "u1" => Dtype::U8,
        "u2" => Dtype::U16,
        "u4" => Dtype::U32,
        "u8" => Dtype::U64,
        "b1" => Dtype::Bool,
        "c8" => Dtype::C64,
        _ => {
            let why = if kind.starts_with('O') {
                "Python objects, which tersor never runs; save it as a numeric array"
            } else if kind.starts_with('V') {
                "raw bytes, as NumPy writes bfloat16 and 8-bit floats of ml_dtypes; save them as safetensors, or view them as unsigned integers"
            } else if kind.starts_with('c') {
                "complex numbers wider than complex64; cast it"
            } else {
                "not one of f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1 c8; cast it"
            };
            return Err(Flaw::Unsupported(format!("its type {descr:?} is {why}")));
        }
    };
    let number_bytes = if dtype == Dtype::C64 {
        4
    } else {
        dtype.size_bytes()
    };
    Ok((dtype, if order == ">" { number_bytes } else { 1 }))
}

/// What is left to read of a header.
struct Scanner<'a>(&'a str);

impl<'a> Scanner<'a> {
    fn accept(&mut self, symbol: char) -> bool {
        let rest = self.0.trim_start().strip_prefix(symbol);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, symbol: char) -> Result<(), Flaw> {
        if self.accept(symbol) {
            Ok(())
        } else {
            corrupt(format!("its header lacks {symbol:?} where it should be"))
        }
    }

    fn string(&mut self) -> Result<&'a str, Flaw> {
        let quote = if self.accept('\'') { '\'' } else { '"' };
        if quote == '"' {
            self.expect('"')?;
        }
        let Some((text, rest)) = self.0.split_once(quote) else {
            return corrupt("its header has an open string");
        };
        self.0 = rest;
        Ok(text)
    }

    fn descr(&mut self) -> Result<&'a str, Flaw> {
        if self.0.trim_start().starts_with(['[', '(']) {
            return Err(Flaw::Unsupported(
                "it is a structured array; save each field as an array of its own".into(),
            ));
        }
        self.string()
    }

    fn word(&mut self) -> &'a str {
        self.0 = self.0.trim_start();
        let end = self
            .0
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        word
    }

    fn boolean(&mut self) -> Result<bool, Flaw> {
        match self.word() {
            "True" => Ok(true),
            "False" => Ok(false),
            other => corrupt(format!("'fortran_order' is {other:?}, not True or False")),
        }
    }

    fn shape(&mut self) -> Result<Vec<u64>, Flaw> {
        let mut shape = Vec::new();
        self.expect('(')?;
        while !self.accept(')') {
            let word = self.word();
            let digits = word.strip_suffix('L').unwrap_or(word); // Python 2 wrote long integers so
            match digits.parse() {
                Ok(extent) => shape.push(extent),
                Err(_) => return corrupt(format!("its shape has {word:?} where an extent should be")),
            }
            if !self.accept(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(shape)
    }
}

/// NumPy's name of a type, if it has one.
pub(super) fn descr(dtype: Dtype) -> Option<&'static str> {
    Some(match dtype {
        Dtype::F16 => "<f2",
        Dtype::F32 => "<f4",
        Dtype::F64 => "<f8",
        Dtype::I8 => "|i1",
        Dtype::I16 => "<i2",
        Dtype::I32 => "<i4",
        Dtype::I64 => "<i8",
        Dtype::U8 => "|u1",
        Dtype::U16 => "<u2",
        Dtype::U32 => "<u4",
        Dtype::U64 => "<u8",
        Dtype::Bool => "|b1",
        Dtype::C64 => "<c8",
        _ => return None,
    })
}

/// A version 1 header, padded as NumPy pads it. `None` if the shape is too long for it.
pub(super) fn write(descr: &str, shape: &[u64]) -> Option<Vec<u8>> {
    let extents: Vec<_> = shape.iter().map(u64::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let shape = extents.join(", ");
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}{comma}), }}");
    let before = MAGIC.len() + 4;
    let length = (before + text.len() + 1).next_multiple_of(HEADER_ALIGNMENT) - before;
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&[1, 0]);
    bytes.extend_from_slice(&u16::try_from(length).ok()?.to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.resize(before + length - 1, b' ');
    bytes.push(b'\n');
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version_1(text: &str) -> Vec<u8> {
        [
            MAGIC.as_slice(),
            &[1, 0],
            &(text.len() as u16).to_le_bytes(),
            text.as_bytes(),
        ]
        .concat()
    }

    #[test]
    fn what_is_written_is_read() {
        for shape in [vec![], vec![3], vec![2, 0, 5]] {
            let bytes = write("<f4", &shape).unwrap();
            assert_eq!(bytes.len() % 64, 0);
            let size_bytes = bytes.len();
            let header = Header {
                dtype: Dtype::F32,
                swap_bytes: 1,
                fortran_order: false,
                shape,
                size_bytes,
            };
            assert_eq!(parse(&bytes), Ok(header));
        }
    }

    #[test]
    fn headers_of_old_pythons_are_read() {
        let bytes = version_1("{'shape': (3L, 4L), \"fortran_order\": True, 'descr': '>c8'}\n");
        let header = parse(&bytes).unwrap();
        assert_eq!(
            (header.dtype, header.swap_bytes, header.fortran_order),
            (Dtype::C64, 4, true)
        );
        assert_eq!(header.shape, [3, 4]);
    }

    #[test]
    fn what_numbers_cannot_hold_is_named() {
        for (descr, word) in [
            ("'|O'", "objects"),
            ("'|V2'", "bfloat16"),
            ("'<c16'", "complex64"),
            ("[('a', '<f4')]", "structured"),
        ] {
            let bytes = version_1(&format!(
                "{{'descr': {descr}, 'fortran_order': False, 'shape': ()}}"
            ));
            let Err(Flaw::Unsupported(what)) = parse(&bytes) else {
                panic!("{descr} was read")
            };
            assert!(what.contains(word), "{what}");
        }
    }

    #[test]
    fn every_prefix_of_a_header_is_refused() {
        let bytes = write("<f4", &[2, 3]).unwrap();
        for n in 0..bytes.len() {
            assert!(parse(&bytes[..n]).is_err(), "prefix of {n} bytes");
        }
    }
}
