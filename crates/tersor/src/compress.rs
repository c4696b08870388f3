//! From a checkpoint to the bytes of a `.tersor` file.

use crate::checkpoint::Checkpoint;
use crate::design::{Designer, Knob};
use crate::encode::self_check;
use crate::options::{CompressOptions, Method, Scope, Target};
use crate::plan::{Plan, Treatment};
use crate::progress::Progress;
use crate::report::{CompressReport, InputSize};
use crate::search::{self, Goal};
use crate::sensitivity::Sensitivities;
use crate::{Error, Result};

/// A compressed checkpoint.
#[derive(Clone, Debug)]
pub struct Compressed {
    /// The bytes of the `.tersor` file: decoded once and compared.
    pub bytes: Vec<u8>,
    /// What was done.
    pub report: CompressReport,
}

/// A checkpoint with everything decided that does not depend on the target.
pub struct Compressor<'a> {
    checkpoint: &'a Checkpoint,
    options: CompressOptions,
    sensitivities: Option<Sensitivities>,
    plan: Plan,
}

impl<'a> Compressor<'a> {
    /// Reads all tensors once and decides what is done with each.
    ///
    /// # Errors
    /// If the checkpoint or the sensitivity file cannot be read or do not fit each other, or options are out of range.
    pub fn new(checkpoint: &'a Checkpoint, options: CompressOptions) -> Result<Self> {
        check(&options)?;
        let open = |path: &std::path::PathBuf| {
            Sensitivities::open(path, checkpoint.tensors(), options.power, options.floor)
        };
        let sensitivities = options.sensitivity.as_ref().map(open).transpose()?;
        let plan = Plan::new(checkpoint, &options, sensitivities.as_ref())?;
        Ok(Self {
            checkpoint,
            options,
            sensitivities,
            plan,
        })
    }

    /// What is done with each tensor.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The settings.
    pub fn options(&self) -> &CompressOptions {
        &self.options
    }

    /// Changes the settings that the plan does not depend on: method, scope, coder, centres and target.
    pub fn set_method(&mut self, method: Method, scope: Scope, coder: Option<tersor_codec::Coder>) {
        self.options.method = method;
        self.options.scope = scope;
        self.options.coder = coder;
    }

    /// Sizes that ratios refer to.
    pub fn input_size(&self) -> InputSize {
        InputSize::of_designer(&self.designer())
    }

    fn designer(&self) -> Designer<'_> {
        Designer {
            checkpoint: self.checkpoint,
            plan: &self.plan,
            sensitivities: self.sensitivities.as_ref(),
            options: &self.options,
        }
    }

    /// The slope at which noise is about `noise` times the weights' energy.
    pub fn slope_for_noise(&self, noise: f64) -> f64 {
        search::slope_for_noise(&self.designer(), noise)
    }

    /// Compresses to a target.
    ///
    /// # Errors
    /// [`Error::Target`] if no setting of the method meets it; [`Error::Options`] if it makes no sense with the method.
    pub fn compress(&self, target: &Target, progress: &dyn Progress) -> Result<Compressed> {
        self.check_rules()?;
        let designer = self.designer();
        let size = self.input_size();
        let clustering = self.options.method.is_clustering();
        let bytes = |bytes: f64| search::search(&designer, Goal::Bytes(bytes), progress);
        let found = match *target {
            Target::NearLossless => {
                search::at(&designer, search::default_knob(&designer, self.options.method))?
            }
            Target::Slope(slope) if clustering => {
                let what = format!(
                    "method {} has no slope ({slope}); give --levels or a target",
                    self.options.method
                );
                return Err(Error::Options(what));
            }
            Target::Slope(slope) => search::at(&designer, Knob::Slope(positive("slope", slope)?))?,
            Target::Levels(0) => {
                return Err(Error::Options(
                    "the number of levels is 0; it must be at least 1".into(),
                ));
            }
            Target::Levels(k) if clustering => search::at(&designer, Knob::Levels(k))?,
            Target::Levels(k) => {
                let what = format!(
                    "method {} chooses its own levels ({k} asked for); give a slope or a target",
                    self.options.method
                );
                return Err(Error::Options(what));
            }
            Target::Step(step) if !matches!(self.options.method, Method::Grid | Method::Uniform) => {
                let what = format!(
                    "method {} has no step ({step}); give --method uniform, or a target",
                    self.options.method
                );
                return Err(Error::Options(what));
            }
            Target::Step(step) => {
                search::at(&designer, Knob::Step(positive("step", f64::from(step))? as f32))?
            }
            Target::Bpw(_) if size.n_float == 0 => {
                let what = "the checkpoint has no floating-point elements: bits per weight mean nothing; give --size or no target";
                return Err(Error::Options(what.into()));
            }
            Target::Bpw(bpw) => bytes(positive("bits per weight", bpw)? * size.n_float as f64 / 8.0)?,
            Target::Ratio(ratio) => bytes(size.bytes as f64 / positive("ratio", ratio)?)?,
            Target::SizeBytes(n) => bytes(positive("size in bytes", n as f64)?)?,
            Target::MaxLoss(loss) => {
                if self.sensitivities.is_none() {
                    let what = "a largest loss needs sensitivities: without them the loss of an error is unknown; give \
                                --sensitivity FILE, or a target of size";
                    return Err(Error::Options(what.into()));
                }
                search::search(&designer, Goal::Loss(positive("largest loss", loss)?), progress)?
            }
        };
        self_check(&found.file.bytes)?;
        let report = CompressReport::new(&designer, &found);
        Ok(Compressed {
            bytes: found.file.bytes,
            report,
        })
    }

    /// Refuses rules that could have no effect: slopes of clusterings, levels of other methods.
    fn check_rules(&self) -> Result<()> {
        for (plan, info) in self.plan.tensors.iter().zip(self.checkpoint.tensors()) {
            let method = plan.rule.method.unwrap_or(self.options.method);
            let has_slope = plan.rule.slope.is_some() || plan.rule.slope_factor != 1.0;
            let useless = if method.is_clustering() {
                has_slope
            } else {
                plan.rule.levels.is_some()
            };
            if plan.treatment == Treatment::Main && useless {
                return Err(Error::Options(format!(
                    "tensor {:?} cannot have the rule '{}' with method {method}: clusterings have a number of levels, the others \
                     a slope",
                    info.name, plan.rule
                )));
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Compressor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor")
            .field("options", &self.options)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

fn positive(what: &str, value: f64) -> Result<f64> {
    if value > 0.0 && value.is_finite() {
        return Ok(value);
    }
    Err(Error::Options(format!(
        "{what} is {value}; it must be a positive number"
    )))
}

fn check(options: &CompressOptions) -> Result<()> {
    if !(0.0..=1.0).contains(&options.power) {
        return Err(Error::Options(format!(
            "the power of sensitivities is {}; it must be 0 to 1",
            options.power
        )));
    }
    if !(options.floor >= 0.0 && options.floor.is_finite()) {
        return Err(Error::Options(format!(
            "the floor of sensitivities is {}; it must be at least 0",
            options.floor
        )));
    }
    Ok(())
}

/// Compresses a checkpoint.
///
/// # Errors
/// As [`Compressor::new`] and [`Compressor::compress`].
pub fn compress(
    checkpoint: &Checkpoint,
    options: CompressOptions,
    progress: &dyn Progress,
) -> Result<Compressed> {
    let target = options.target.clone();
    Compressor::new(checkpoint, options)?.compress(&target, progress)
}
