//! The textual arguments of protocol 0.

use std::borrow::Cow;

/// A quoted Python 2 string, as `repr` writes it: `'it\'s\n'`. Bytes beyond ASCII come as `\xNN`.
pub(super) fn unquote(line: &[u8]) -> Option<Vec<u8>> {
    let (&quote, rest) = line.split_first()?;
    let (&last, inner) = rest.split_last()?;
    if quote != last || !matches!(quote, b'\'' | b'"') {
        return None;
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next()? {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'x' => hex(bytes.next()?)? * 16 + hex(bytes.next()?)?,
            other @ (b'\\' | b'\'' | b'"') => other,
            _ => return None,
        });
    }
    Some(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|d| d as u8)
}

/// Python's raw-unicode-escape: Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
pub(super) fn unescape(line: &[u8]) -> Option<Cow<'_, str>> {
    if line.is_ascii() && !line.contains(&b'\\') {
        return std::str::from_utf8(line).ok().map(Cow::Borrowed);
    }
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = match (byte, after.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                out.push(char::from(byte));
                rest = after;
                continue;
            }
        };
        let code = std::str::from_utf8(after.get(1..=digits)?).ok()?;
        out.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
        rest = after.get(1 + digits..)?;
    }
    Some(Cow::Owned(out))
}

/// A little-endian two's complement integer of any length, if it fits 64 bits.
pub(super) fn long(bytes: &[u8]) -> Option<i64> {
    let negative = bytes.last().is_some_and(|&top| top & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    let mut out = [fill; 8];
    for (i, &byte) in bytes.iter().enumerate() {
        match out.get_mut(i) {
            Some(slot) => *slot = byte,
            None if byte == fill => {}
            None => return None,
        }
    }
    let value = i64::from_le_bytes(out);
    ((value < 0) == negative).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_strings_lose_their_escapes() {
        assert_eq!(
            unquote(b"'it\\'s\\n\\x41'").as_deref(),
            Some(b"it's\nA".as_slice())
        );
        assert_eq!(unquote(b"'open"), None);
        assert_eq!(unquote(b"'\\x4'"), None);
        assert_eq!(unquote(b"'"), None);
    }

    #[test]
    fn unicode_escapes_are_read() {
        assert_eq!(unescape(b"a\\u00e9\\U0001F600\xe9").as_deref(), Some("aé😀é"));
        assert_eq!(unescape(b"\\ud800"), None);
        assert_eq!(unescape(b"\\u12"), None);
    }

    #[test]
    fn long_integers_are_twos_complement() {
        assert_eq!(long(&[]), Some(0));
        assert_eq!(long(&[0xff]), Some(-1));
        assert_eq!(long(&[0xff, 0]), Some(255));
        assert_eq!(long(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0]), None);
        assert_eq!(long(&[0xff; 12]), Some(-1));
    }
}
