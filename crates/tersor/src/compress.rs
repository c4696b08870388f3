//! From a checkpoint to the bytes of a `.tersor` file.

use crate::checkpoint::Checkpoint;
use crate::design::{Designer, Knob};
use crate::encode::self_check;
use crate::feedback::{Given, LayerSymbols};
use crate::options::{CompressOptions, Method, Scope, Target};
use crate::plan::{Plan, Treatment};
use crate::progress::{Progress, Silent};
use crate::report::CompressReport;
use crate::search::{self, Goal};
use crate::sensitivity::Sensitivities;
use crate::size::InputSize;
use crate::{Error, Result, rules};
use rayon::prelude::*;

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
    given: Given,
    plan: Plan,
}

impl<'a> Compressor<'a> {
    /// Reads all tensors once and decides what is done with each.
    ///
    /// # Errors
    /// If the checkpoint or the sensitivity file cannot be read or do not fit each other, or options are out of range.
    pub fn new(checkpoint: &'a Checkpoint, options: CompressOptions) -> Result<Self> {
        Self::with_progress(checkpoint, options, &Silent)
    }

    /// As [`new`](Self::new), telling how far it is.
    pub fn with_progress(
        checkpoint: &'a Checkpoint,
        options: CompressOptions,
        progress: &dyn Progress,
    ) -> Result<Self> {
        Self::with_symbols(checkpoint, options, [], progress)
    }

    /// As [`with_progress`](Self::with_progress), with tensors that are quantized already: names, with or without a leading
    /// `module.`, and symbols. Everything else is quantized as the options say; so are targets met.
    ///
    /// Their predicted loss is the one they come with. Reported squared errors are those against the checkpoint's elements.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`Error::Options`] for symbols that do not fit the checkpoint, that are for a tensor tied to an
    /// earlier one, kept losslessly or not finite, or that are given twice.
    pub fn with_symbols(
        checkpoint: &'a Checkpoint,
        options: CompressOptions,
        symbols: impl IntoIterator<Item = (String, LayerSymbols)>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        options.check_weighing()?;
        let given = Given::new(checkpoint, symbols)?;
        let open = |path: &std::path::PathBuf| Sensitivities::open(path, checkpoint.tensors(), &options);
        let sensitivities = options.sensitivity.as_ref().map(open).transpose()?;
        let plan = Plan::new(checkpoint, &options, sensitivities.as_ref(), &given, progress)?;
        let compressor = Self {
            checkpoint,
            options,
            sensitivities,
            given,
            plan,
        };
        let designer = compressor.designer(&Silent);
        for index in (0..checkpoint.tensors().len()).filter(|&index| designer.uses_feedback(index)) {
            // What moments cannot be is told before any work.
            designer.moments(index)?;
        }
        Ok(compressor)
    }

    /// Whether the tensor of this index is quantized with error feedback.
    pub fn uses_feedback(&self, index: usize) -> bool {
        self.designer(&Silent).uses_feedback(index)
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
        InputSize::of_designer(&self.designer(&Silent))
    }

    /// Least distortion plus `slope` times bits of any memoryless code of the tensors of two or more dimensions that are quantized, each
    /// on its own: [`tersor_quant::bound::least_cost`]. `None` if it is for one of them.
    ///
    /// # Errors
    /// As loading the tensors, and for a slope that is negative or not finite.
    pub fn least_cost(&self, slope: f64) -> Result<Option<f64>> {
        let designer = self.designer(&Silent);
        let cost = |index: usize| {
            let least = tersor_quant::bound::least_cost(&designer.load(index)?.source(), slope);
            least.map_err(Error::quantize(designer.name(index)))
        };
        let costs = designer.treated(&Treatment::Main).into_par_iter().map(cost);
        Ok(costs.collect::<Result<Vec<Option<f64>>>>()?.into_iter().sum())
    }

    fn designer<'s>(&'s self, progress: &'s dyn Progress) -> Designer<'s> {
        Designer {
            progress,
            checkpoint: self.checkpoint,
            plan: &self.plan,
            sensitivities: self.sensitivities.as_ref(),
            options: &self.options,
            given: &self.given,
        }
    }

    /// The slope at which noise is about `noise` times the weights' energy.
    pub fn slope_for_noise(&self, noise: f64) -> f64 {
        search::slope_for_noise(&self.designer(&Silent), noise)
    }

    /// Compresses to a target.
    ///
    /// # Errors
    /// [`Error::Target`] if no setting of the method meets it; [`Error::Options`] if it makes no sense with the method.
    pub fn compress(&self, target: &Target, progress: &dyn Progress) -> Result<Compressed> {
        target.check(self.options.method, self.sensitivities.is_some())?;
        rules::check(&self.plan, self.checkpoint.tensors(), &self.options, target)?;
        let designer = self.designer(progress);
        let size = self.input_size();
        let bytes = |bytes: f64| search::search(&designer, Goal::Bytes(bytes));
        let found = match *target {
            Target::NearLossless => {
                search::at(&designer, search::default_knob(&designer, self.options.method))?
            }
            Target::Slope(slope) => search::at(&designer, Knob::Slope(slope))?,
            Target::Levels(k) => search::at(&designer, Knob::Levels(k))?,
            Target::Step(step) => search::at(&designer, Knob::Step(step))?,
            Target::Bpw(_) if size.n_weights == 0 => {
                let what = "the checkpoint has no floating-point elements: bits per weight mean nothing; give --size or no target";
                return Err(Error::Options(what.into()));
            }
            Target::Bpw(bpw) => bytes(bpw * size.n_weights as f64 / 8.0)?,
            Target::Ratio(ratio) => bytes(size.bytes as f64 / ratio)?,
            Target::SizeBytes(n) => bytes(n as f64)?,
            Target::MaxLoss(loss) => search::search(&designer, Goal::Loss(loss))?,
        };
        self_check(&found.file.bytes, progress)?;
        let report = CompressReport::new(&designer, &found);
        Ok(Compressed {
            bytes: found.file.bytes,
            report,
        })
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

/// Compresses a checkpoint.
///
/// # Errors
/// As [`Compressor::new`] and [`Compressor::compress`].
pub fn compress(
    checkpoint: &Checkpoint,
    options: CompressOptions,
    progress: &dyn Progress,
) -> Result<Compressed> {
    options.check()?;
    let target = options.target.clone();
    Compressor::with_progress(checkpoint, options, progress)?.compress(&target, progress)
}
