//! Unsigned integers of variable length: seven bits per byte, lowest first, the top bit set on all bytes but the last.

/// Appends `value`.
pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads a value and returns what follows it. `None` if the bytes end early or the value is not in its shortest form.
pub(crate) fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return if byte == 0 && i > 0 {
                None
            } else {
                Some((value, bytes.get(i + 1..)?))
            };
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_only_from_their_shortest_form() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), (1 << 63) - 1] {
            let mut out = Vec::new();
            write_varint(&mut out, value);
            out.push(7);
            assert_eq!(read_varint(&out), Some((value, &[7u8][..])));
        }
        assert_eq!(read_varint(&[0x80, 0x00]), None);
        assert_eq!(read_varint(&[0x80]), None);
    }
}
