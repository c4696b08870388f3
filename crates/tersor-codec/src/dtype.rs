//! Element types of tensors, and the one rounding that a decoder needs: an f32 level to the tensor's own type.

use half::{bf16, f16};

/// Element type of a tensor.
///
/// The discriminant is the type's number in a file (`docs/format.md`, "Element types"), never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum Dtype {
    /// IEEE 754 binary32.
    F32 = 0,
    /// IEEE 754 binary16.
    F16 = 1,
    /// bfloat16: the upper half of a binary32.
    Bf16 = 2,
    /// IEEE 754 binary64.
    F64 = 3,
    /// 8-bit float, 4 exponent and 3 mantissa bits, no infinity ("E4M3FN").
    F8E4m3 = 4,
    /// 8-bit float, 5 exponent and 2 mantissa bits.
    F8E5m2 = 5,
    /// Signed 64-bit integer.
    I64 = 6,
    /// Signed 32-bit integer.
    I32 = 7,
    /// Signed 16-bit integer.
    I16 = 8,
    /// Signed 8-bit integer.
    I8 = 9,
    /// Unsigned 64-bit integer.
    U64 = 10,
    /// Unsigned 32-bit integer.
    U32 = 11,
    /// Unsigned 16-bit integer.
    U16 = 12,
    /// Unsigned 8-bit integer.
    U8 = 13,
    /// One byte, 0 or 1.
    Bool = 14,
    /// 8-bit power-of-two scale ("E8M0").
    F8E8m0 = 15,
    /// Two binary32: real and imaginary part.
    C64 = 16,
}

impl Dtype {
    /// Every type, in the order of its number.
    pub const ALL: [Self; 17] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::F64,
        Self::F8E4m3,
        Self::F8E5m2,
        Self::I64,
        Self::I32,
        Self::I16,
        Self::I8,
        Self::U64,
        Self::U32,
        Self::U16,
        Self::U8,
        Self::Bool,
        Self::F8E8m0,
        Self::C64,
    ];

    /// The type with this number in a file, if there is one.
    pub fn from_code(code: u64) -> Option<Self> {
        usize::try_from(code).ok().and_then(|i| Self::ALL.get(i)).copied()
    }

    /// Bytes of one element.
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 | Self::C64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::F8E4m3 | Self::F8E5m2 | Self::F8E8m0 | Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether tensors of this type can be quantized: real floating-point numbers with a sign.
    pub const fn is_float(self) -> bool {
        matches!(
            self,
            Self::F32 | Self::F16 | Self::Bf16 | Self::F64 | Self::F8E4m3 | Self::F8E5m2
        )
    }

    /// The name that safetensors uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F64 => "F64",
            Self::F8E4m3 => "F8_E4M3",
            Self::F8E5m2 => "F8_E5M2",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U64 => "U64",
            Self::U32 => "U32",
            Self::U16 => "U16",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
            Self::F8E8m0 => "F8_E8M0",
            Self::C64 => "C64",
        }
    }

    /// The type with this safetensors name, if it is one that tersor knows.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.name() == name)
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Layout of an 8-bit float that [`round_to_f8`] and [`f8_to_f32`] work on.
#[derive(Clone, Copy)]
struct F8Layout {
    mantissa_bits: u32,
    bias: i32,
    /// Code of the largest finite magnitude.
    max_code: u8,
    /// Code that a magnitude beyond the largest finite one becomes.
    overflow_code: u8,
}

const E4M3: F8Layout = F8Layout {
    mantissa_bits: 3,
    bias: 7,
    max_code: 0x7e,
    overflow_code: 0x7f,
};
const E5M2: F8Layout = F8Layout {
    mantissa_bits: 2,
    bias: 15,
    max_code: 0x7b,
    overflow_code: 0x7c,
};

/// Value of a finite magnitude code (sign bit clear).
fn f8_magnitude(code: u8, layout: F8Layout) -> f32 {
    let exponent = i32::from(code >> layout.mantissa_bits);
    let mantissa = f32::from(code & ((1 << layout.mantissa_bits) - 1));
    let unit = (layout.mantissa_bits as f32).exp2();
    if exponent == 0 {
        mantissa / unit * ((1 - layout.bias) as f32).exp2()
    } else {
        (1.0 + mantissa / unit) * ((exponent - layout.bias) as f32).exp2()
    }
}

fn f8_to_f32(code: u8, layout: F8Layout) -> f32 {
    let magnitude = code & 0x7f;
    let value = if magnitude <= layout.max_code {
        f8_magnitude(magnitude, layout)
    } else if magnitude == layout.overflow_code && layout.overflow_code == 0x7c {
        f32::INFINITY
    } else {
        f32::NAN
    };
    if code & 0x80 == 0 { value } else { -value }
}

/// Rounds to the nearest code, ties to the even one.
fn round_to_f8(value: f32, layout: F8Layout) -> u8 {
    let sign = if value.is_sign_negative() { 0x80 } else { 0 };
    let magnitude = value.abs();
    if magnitude.is_nan() {
        return sign | 0x7f;
    }
    // Largest code whose value does not exceed the magnitude; codes are ordered as their values.
    let (mut low, mut high) = (0u8, layout.max_code);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if f8_magnitude(middle, layout) <= magnitude {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    let below = f8_magnitude(low, layout);
    let above = if low == layout.max_code {
        // The next value of the same binade, where it would be if it were finite.
        2.0 * below - f8_magnitude(low - 1, layout)
    } else {
        f8_magnitude(low + 1, layout)
    };
    let (down, up) = (magnitude - below, above - magnitude);
    let code = if down < up || (down == up && low % 2 == 0) {
        low
    } else {
        low + 1
    };
    sign | if code > layout.max_code {
        layout.overflow_code
    } else {
        code
    }
}

/// Rounds a level to `dtype`, to nearest with ties to even, and returns its little-endian bytes in the low bytes of
/// the result. `None` if the type is not a float.
pub fn encode_f32(value: f32, dtype: Dtype) -> Option<u64> {
    Some(match dtype {
        Dtype::F32 => u64::from(value.to_bits()),
        Dtype::F16 => u64::from(f16::from_f32(value).to_bits()),
        Dtype::Bf16 => u64::from(bf16::from_f32(value).to_bits()),
        Dtype::F64 => f64::from(value).to_bits(),
        Dtype::F8E4m3 => u64::from(round_to_f8(value, E4M3)),
        Dtype::F8E5m2 => u64::from(round_to_f8(value, E5M2)),
        _ => return None,
    })
}

fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|&b| value(b)).collect()
}

/// Reads the elements of a float tensor, given as little-endian bytes, as f32 (f64 is rounded to nearest).
/// `None` if the type is not a float or the bytes are not a whole number of elements.
pub fn decode_to_f32(bytes: &[u8], dtype: Dtype) -> Option<Vec<f32>> {
    if !dtype.is_float() || !bytes.len().is_multiple_of(dtype.size_bytes()) {
        return None;
    }
    Some(match dtype {
        Dtype::F32 => each(bytes, f32::from_le_bytes),
        Dtype::F16 => each(bytes, |b| f16::from_le_bytes(b).to_f32()),
        Dtype::Bf16 => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
        Dtype::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
        Dtype::F8E4m3 => each(bytes, |[b]: [u8; 1]| f8_to_f32(b, E4M3)),
        _ => each(bytes, |[b]: [u8; 1]| f8_to_f32(b, E5M2)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_identify_a_type() {
        for (code, dtype) in Dtype::ALL.into_iter().enumerate() {
            assert_eq!(dtype as usize, code);
            assert_eq!(Dtype::from_code(code as u64), Some(dtype));
            assert_eq!(Dtype::from_name(dtype.name()), Some(dtype));
        }
        assert_eq!(Dtype::from_code(17), None);
    }

    #[test]
    fn every_float_code_survives_reading_and_rounding() {
        for (dtype, layout) in [(Dtype::F8E4m3, E4M3), (Dtype::F8E5m2, E5M2)] {
            for code in 0..=255u8 {
                let value = f8_to_f32(code, layout);
                let back = encode_f32(value, dtype).unwrap();
                if value.is_nan() {
                    assert!(f8_to_f32(back as u8, layout).is_nan());
                } else {
                    assert_eq!(back, u64::from(code), "{dtype} code {code:#x}");
                }
            }
        }
        for bits in 0..=u16::MAX {
            for dtype in [Dtype::F16, Dtype::Bf16] {
                let value = decode_to_f32(&bits.to_le_bytes(), dtype).unwrap()[0];
                assert!(
                    value.is_nan() || encode_f32(value, dtype) == Some(u64::from(bits)),
                    "{dtype} {bits:#x}"
                );
            }
        }
    }

    #[test]
    fn eight_bit_floats_round_to_nearest_even() {
        assert_eq!(f8_to_f32(0x7e, E4M3), 448.0);
        assert_eq!(f8_to_f32(0x7b, E5M2), 57344.0);
        assert_eq!(f8_to_f32(0x01, E4M3), 1.0 / 512.0);
        assert_eq!(round_to_f8(1.0625, E4M3), round_to_f8(1.0, E4M3)); // tie, 1.0 is even
        assert_eq!(round_to_f8(1.1875, E4M3), round_to_f8(1.25, E4M3)); // tie, 1.25 is even
        assert_eq!(round_to_f8(464.0, E4M3), 0x7e); // tie between 448 and the missing 480
        assert_eq!(round_to_f8(465.0, E4M3), 0x7f);
        assert_eq!(round_to_f8(1e9, E5M2), 0x7c);
        assert_eq!(round_to_f8(-0.0, E5M2), 0x80);
    }
}
