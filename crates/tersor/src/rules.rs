//! Settings of single tensors, chosen by name.

use crate::options::{Method, parse_glob};
use crate::{Error, Result};
use globset::GlobMatcher;
use std::fmt;
use std::str::FromStr;

/// What is different for a tensor. A tensor of two or more dimensions that has a rule has a codebook of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rule {
    /// Factor on the common slope: 0.25 means twice the precision. Default: 1.
    pub slope_factor: f64,
    /// Slope instead of the common one. Default: none.
    pub slope: Option<f64>,
    /// Method instead of the common one. Default: none.
    pub method: Option<Method>,
    /// Number of levels of a clustering. Default: the common one, or 16.
    pub levels: Option<usize>,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            slope_factor: 1.0,
            slope: None,
            method: None,
            levels: None,
        }
    }
}

impl Rule {
    /// The slope of the tensor, given the common one.
    pub fn slope(&self, common: f64) -> f64 {
        self.slope.unwrap_or(common * self.slope_factor)
    }
}

impl fmt::Display for Rule {
    /// As it is parsed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.method.map(|m| m.to_string()),
            self.levels.map(|k| format!("k{k}")),
            self.slope.map(|s| format!("s{s}")),
            (self.slope_factor != 1.0).then(|| format!("x{}", self.slope_factor)),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Rule {
    type Err = Error;

    /// Parses parts with commas between: the name of a method, `kN` levels, `sS` for a slope, `xF` for a factor on the slope.
    fn from_str(text: &str) -> Result<Self> {
        let mut rule = Self::default();
        for part in text.split(',') {
            let number = |prefix: char| part.strip_prefix(prefix).and_then(|n| n.parse::<f64>().ok());
            if let Ok(method) = part.parse() {
                rule.method = Some(method);
            } else if let Some(levels) = part
                .strip_prefix('k')
                .and_then(|k| k.parse().ok())
                .filter(|&k: &usize| k > 0)
            {
                rule.levels = Some(levels);
            } else if let Some(slope) = number('s').filter(|s| *s > 0.0 && s.is_finite()) {
                rule.slope = Some(slope);
            } else if let Some(factor) = number('x').filter(|x| *x > 0.0 && x.is_finite()) {
                rule.slope_factor = factor;
            } else {
                let what = format!(
                    "{part:?} is neither a method, nor xF (a positive factor on the slope), sS (a positive slope) or kN (at \
                     least one level)"
                );
                return Err(Error::Options(what));
            }
        }
        Ok(rule)
    }
}

/// A rule for the tensors whose names match.
#[derive(Clone, Debug)]
pub struct Override {
    /// Which tensors.
    pub glob: GlobMatcher,
    /// What is different for them.
    pub rule: Rule,
}

impl FromStr for Override {
    type Err = Error;

    /// Parses `GLOB=RULE`, such as `conv1.*=x0.25` or `fc.*=hessian-kmeans,k16`.
    fn from_str(text: &str) -> Result<Self> {
        let Some((glob, rule)) = text.split_once('=') else {
            let what = format!(
                "{text:?} is not of the form GLOB=RULE, such as 'conv1.*=x0.25' or 'fc.*=kmeans,k16'"
            );
            return Err(Error::Options(what));
        };
        let rule = rule
            .parse()
            .map_err(|e| Error::Options(format!("{text:?}: {e}")))?;
        Ok(Self {
            glob: parse_glob(glob)?,
            rule,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_parsed_as_they_are_shown() {
        for text in [
            "x0.25",
            "uniform",
            "hessian-kmeans,k16",
            "ecsq,s0.001",
            "grid,x2",
            "",
        ] {
            let rule = if text.is_empty() {
                Rule::default()
            } else {
                text.parse().unwrap()
            };
            assert_eq!(rule.to_string(), text);
        }
        assert_eq!("uniform,x0.5".parse::<Rule>().unwrap().slope(0.1), 0.05);
        assert_eq!("s3".parse::<Rule>().unwrap().slope(0.1), 3.0);
        for wrong in ["", "k0", "k-1", "x0", "sfast", "best", "x1,,x2"] {
            assert!(wrong.parse::<Rule>().is_err(), "{wrong:?}");
        }
    }
}
