//! Values of arguments: choices and sizes.

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use tersor::checkpoint::OutputFormat;
use tersor::codec::Coder;
use tersor::options::{Centres, Feedback, Method, Scope};

/// Parses a method by its name.
pub(super) fn method() -> impl TypedValueParser<Value = Method> {
    PossibleValuesParser::new(Method::ALL.map(Method::name)).try_map(|name| name.parse::<Method>())
}

/// Parses a number of bytes with an optional suffix: `300k`, `1.5M`, `2GiB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, f64); 13] = [
        ("kib", 1024.0),
        ("mib", 1_048_576.0),
        ("gib", 1_073_741_824.0),
        ("tib", 1_099_511_627_776.0),
        ("kb", 1e3),
        ("mb", 1e6),
        ("gb", 1e9),
        ("tb", 1e12),
        ("k", 1e3),
        ("m", 1e6),
        ("g", 1e9),
        ("t", 1e12),
        ("b", 1.0),
    ];
    let wrong = || {
        "a size is a number of bytes with an optional suffix k, M, G, KiB, MiB or GiB, such as 300k or 1.5GiB"
            .to_owned()
    };
    let lower = text.trim().to_lowercase();
    if let Ok(bytes) = lower.parse::<u64>() {
        return Ok(bytes);
    }
    let unit = UNITS
        .iter()
        .find_map(|&(suffix, factor)| Some((lower.strip_suffix(suffix)?, factor)));
    let (number, factor) = unit.unwrap_or((&lower, 1.0));
    let number = number.trim_end();
    if !number.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(wrong());
    }
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let bytes = (number * factor).round();
    if bytes < u64::MAX as f64 {
        Ok(bytes as u64)
    } else {
        Err(format!("{text} is more than 64 bits can count"))
    }
}

/// Which weights share a codebook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScopeArg {
    /// One per tensor.
    #[default]
    Tensor,
    /// One for all tensors of two or more dimensions.
    Global,
}

impl From<ScopeArg> for Scope {
    fn from(scope: ScopeArg) -> Self {
        match scope {
            ScopeArg::Tensor => Self::Tensor,
            ScopeArg::Global => Self::Global,
        }
    }
}

/// Whether errors are fed back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FeedbackArg {
    /// Where the sensitivity file has moments, and in convolutions.
    #[default]
    Auto,
    /// Nowhere.
    Off,
}

impl From<FeedbackArg> for Feedback {
    fn from(feedback: FeedbackArg) -> Self {
        match feedback {
            FeedbackArg::Auto => Self::Auto,
            FeedbackArg::Off => Self::Off,
        }
    }
}

/// How symbols become bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CoderArg {
    /// Equally long codes.
    Fixed,
    /// Huffman codes.
    Huffman,
    /// Asymmetric numeral systems: decoded fastest.
    Ans,
    /// Adaptive arithmetic coding in contexts: the smallest, decoded more slowly.
    Context,
    /// The smallest of them.
    Auto,
}

impl From<CoderArg> for Option<Coder> {
    fn from(coder: CoderArg) -> Self {
        match coder {
            CoderArg::Fixed => Some(Coder::Fixed),
            CoderArg::Huffman => Some(Coder::Huffman),
            CoderArg::Ans => Some(Coder::Ans),
            CoderArg::Context => Some(Coder::Context),
            CoderArg::Auto => None,
        }
    }
}

/// Values of uniform cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CentresArg {
    /// The middle of the cell.
    #[default]
    Grid,
    /// The mean of its weights.
    Mean,
    /// Their mean, weighted by sensitivity.
    WeightedMean,
}

impl From<CentresArg> for Centres {
    fn from(centres: CentresArg) -> Self {
        match centres {
            CentresArg::Grid => Self::Grid,
            CentresArg::Mean => Self::Mean,
            CentresArg::WeightedMean => Self::WeightedMean,
        }
    }
}

/// Formats of checkpoints that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatArg {
    /// Safetensors.
    Safetensors,
    /// Arrays of NumPy in one file.
    Npz,
}

impl FormatArg {
    /// The ending of its files.
    pub(crate) const fn extension(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Npz => "npz",
        }
    }
}

impl From<FormatArg> for OutputFormat {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Safetensors => Self::Safetensors,
            FormatArg::Npz => Self::Npz,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_decimal_and_binary_suffixes() {
        let cases = [
            ("300", 300),
            ("300k", 300_000),
            ("1.5M", 1_500_000),
            ("2GiB", 2 << 30),
            ("64 KiB", 65_536),
            ("7B", 7),
        ];
        for (text, bytes) in cases {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "k", "-1", "1x", "inf", "nan", "1e30", "0x10"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
