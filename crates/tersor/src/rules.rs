//! Settings of single tensors, chosen by name.

use crate::options::{CompressOptions, Method, Target, parse_glob};
use crate::plan::{Plan, Treatment};
use crate::{Error, Result};
use globset::GlobMatcher;
use std::fmt;
use std::str::FromStr;
use tersor_codec::{MAX_LEVELS, TensorInfo};

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

    fn has_slope(&self) -> bool {
        self.slope.is_some() || self.slope_factor != 1.0
    }

    /// Refuses what a method does not have.
    fn check_method(&self, method: Method) -> Result<()> {
        let useless = if method.is_clustering() {
            self.has_slope()
        } else {
            self.levels.is_some()
        };
        if useless {
            let what = format!(
                "the rule '{self}' does not go with method {method}: clusterings have a number of levels (kN), the others a slope \
                 (xF, sS)"
            );
            return Err(Error::Options(what));
        }
        Ok(())
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
        let (mut method, mut levels, mut slope, mut factor) = (None, None, None, None);
        for part in text.split(',') {
            let number = |prefix: char| part.strip_prefix(prefix).and_then(|n| n.parse::<f64>().ok());
            let positive = |prefix: char| number(prefix).filter(|x| *x > 0.0 && x.is_finite());
            let count = |k: &str| k.parse().ok().filter(|k| (1..=MAX_LEVELS).contains(k));
            let is_repeated = if let Ok(found) = part.parse::<Method>() {
                method.replace(found).is_some()
            } else if let Some(found) = part.strip_prefix('k').and_then(count) {
                levels.replace(found).is_some()
            } else if let Some(found) = positive('s') {
                slope.replace(found).is_some()
            } else if let Some(found) = positive('x') {
                factor.replace(found).is_some()
            } else {
                let what = format!(
                    "{part:?} is neither a method, nor xF (a positive factor on the slope), sS (a positive slope) or kN (1 to \
                     {MAX_LEVELS} levels)"
                );
                return Err(Error::Options(what));
            };
            if is_repeated {
                return Err(Error::Options(format!(
                    "{part:?} is the second of its kind; give one"
                )));
            }
        }
        if slope.is_some() && factor.is_some() {
            let what = "xF is a factor on the common slope, which sS replaces; give one of them";
            return Err(Error::Options(what.into()));
        }
        let rule = Self {
            slope_factor: factor.unwrap_or(1.0),
            slope,
            method,
            levels,
        };
        match method {
            Some(method) => rule.check_method(method).map(|()| rule),
            None => Ok(rule),
        }
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

/// Refuses rules without effect: those that no quantized tensor obeys, and parts that the tensors' methods do not have.
pub(crate) fn check(
    plan: &Plan,
    tensors: &[TensorInfo],
    options: &CompressOptions,
    target: &Target,
) -> Result<()> {
    let last_match = |name: &str| options.overrides.iter().rposition(|o| o.glob.is_match(name));
    let mut obeyed = vec![false; options.overrides.len()];
    for (plan, info) in plan.tensors.iter().zip(tensors) {
        let Some(index) = last_match(&info.name) else {
            continue;
        };
        let is_obeyed = match plan.treatment {
            Treatment::Main => {
                check_main(plan.rule, info, options, target)?;
                true
            }
            // Methods and levels are for two or more dimensions. A factor of 1 undoes an earlier rule.
            Treatment::Fine => plan.rule.has_slope() || plan.rule == Rule::default(),
            // Aliases are found among tensors of the same rule.
            Treatment::Raw(_) | Treatment::Constant(_) | Treatment::Alias(_) => false,
        };
        if let Some(obeyed) = obeyed.get_mut(index).filter(|_| is_obeyed) {
            *obeyed = true;
        }
    }
    match options
        .overrides
        .iter()
        .zip(&obeyed)
        .find(|(_, obeyed)| !**obeyed)
    {
        Some((useless, _)) => Err(Error::Options(format!(
            "the rule '{}={}' has no effect: every tensor that it matches is stored losslessly, obeys a later rule, or has one \
             dimension, where only xF and sS count; `compress --dry-run` tells which",
            useless.glob.glob(),
            useless.rule
        ))),
        None => Ok(()),
    }
}

/// Checks the rule of a tensor of two or more dimensions.
fn check_main(rule: Rule, info: &TensorInfo, options: &CompressOptions, target: &Target) -> Result<()> {
    let method = rule.method.unwrap_or(options.method);
    let refuse = |why: &str| {
        Err(Error::Options(format!(
            "tensor {:?} with the rule '{rule}': {why}",
            info.name
        )))
    };
    rule.check_method(method)
        .or_else(|error| refuse(&error.to_string()))?;
    let by_slope = !method.is_clustering() && rule.slope.is_none();
    match target {
        Target::Step(_) if by_slope && rule != Rule::default() && method != Method::Uniform => {
            refuse("it needs a slope of its own (sS) where the others have a step")
        }
        Target::Step(_) if rule.slope_factor != 1.0 => {
            refuse("there is no common slope to multiply where the others have a step; give sS")
        }
        _ => Ok(()),
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
    }

    #[test]
    fn what_makes_no_sense_or_no_difference_is_refused() {
        for (text, why) in [
            ("", "neither a method"),
            ("k0", "1 to 65536 levels"),
            ("k65537", "1 to 65536 levels"),
            ("k-1", "neither a method"),
            ("x0", "neither a method"),
            ("sfast", "neither a method"),
            ("best", "neither a method"),
            ("x2,,x3", "neither a method"),
            ("x2,x3", "second of its kind"),
            ("grid,ecsq", "second of its kind"),
            ("x2,s0.1", "give one of them"),
            ("grid,k4", "does not go with method grid"),
            ("kmeans,x2", "does not go with method kmeans"),
        ] {
            let error = text.parse::<Rule>().unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }
}
