//! What the user asks for.

use globset::{Glob, GlobMatcher};
use std::path::PathBuf;
use std::str::FromStr;
use tersor_codec::{Coder, DEFAULT_GROUP_ELEMENTS, MAX_LEVELS};
pub use tersor_quant::uniform::Centres;

pub use crate::rules::{Override, Rule};

use crate::{Error, Result};

/// How levels and symbols of tensors with two or more dimensions are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// Uniform grids with rate-aware assignment: the best here, and the default.
    #[default]
    Grid,
    /// Uniform cells, every weight to its own: the paper's uniform quantization.
    Uniform,
    /// Iterative entropy-constrained scalar quantization.
    Ecsq,
    /// k-means, all weights alike.
    KMeans,
    /// Hessian-weighted k-means.
    HessianKMeans,
}

impl Method {
    /// Every method, the best first.
    pub const ALL: [Self; 5] = [
        Self::Grid,
        Self::Uniform,
        Self::Ecsq,
        Self::HessianKMeans,
        Self::KMeans,
    ];

    /// The name used on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::Uniform => "uniform",
            Self::Ecsq => "ecsq",
            Self::KMeans => "kmeans",
            Self::HessianKMeans => "hessian-kmeans",
        }
    }

    /// Whether the method is set by its number of levels rather than by a slope.
    pub const fn is_clustering(self) -> bool {
        matches!(self, Self::KMeans | Self::HessianKMeans)
    }

    /// The method that this one becomes where all weights are equally sensitive, if that is another one.
    pub const fn without_sensitivities(self) -> Option<Self> {
        match self {
            Self::HessianKMeans => Some(Self::KMeans),
            _ => None,
        }
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Method {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|m| m.name() == name);
        found.ok_or_else(|| Error::Options(format!("unknown method {name:?}; known are {}", known())))
    }
}

/// Which weights share a codebook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scope {
    /// A codebook per tensor; one slope for all.
    #[default]
    Tensor,
    /// One codebook for all tensors of two or more dimensions, as in the paper.
    Global,
}

impl Scope {
    /// The name used on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tensor => "tensor",
            Self::Global => "global",
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether errors are fed back: what a weight loses is made good by those after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Feedback {
    /// With method grid: by the moments of its inputs for a tensor with a codebook of its own that has some in the sensitivity file
    /// (`NAME::gram`), and by what inputs of kernels are like anywhere for other tensors of three or more dimensions.
    #[default]
    Auto,
    /// For none.
    Off,
}

/// Where on the rate-distortion curve to end up.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Target {
    /// Near-lossless: a slope at which the squared error of the median tensor of two or more dimensions is about 1/10,000
    /// of its energy (40 dB below it); with sensitivities, error and energy weighted by them. Clusterings take 256 levels.
    #[default]
    NearLossless,
    /// Predicted loss per bit.
    Slope(f64),
    /// Number of levels, for the clustering methods.
    Levels(usize),
    /// Step of the grid, for uniform quantization with one codebook.
    Step(f32),
    /// Bits of the whole file per element of the floating-point tensors.
    Bpw(f64),
    /// Bytes of the tensors as stored over bytes of the file.
    Ratio(f64),
    /// Bytes of the file.
    SizeBytes(u64),
    /// Largest predicted loss increase; needs sensitivities.
    MaxLoss(f64),
}

fn check_positive(what: &str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    let what = format!("{what} is {value}; it must be a positive number");
    Err(Error::Options(what))
}

impl Target {
    /// The coder that suits it: the smallest, [`Coder::Context`], where the file is to be small; [`Coder::Ans`], which is decoded many
    /// times as fast, where a point on the curve is given.
    pub const fn default_coder(&self) -> Coder {
        match self {
            Self::Bpw(_) | Self::Ratio(_) | Self::SizeBytes(_) | Self::MaxLoss(_) => Coder::Context,
            Self::NearLossless | Self::Slope(_) | Self::Levels(_) | Self::Step(_) => Coder::Ans,
        }
    }

    /// Checks all that can be told without the checkpoint: that the value makes sense, and that the method has such a target.
    pub(crate) fn check(&self, method: Method, has_sensitivities: bool) -> Result<()> {
        let refuse = |what: String| Err(Error::Options(what));
        match *self {
            Self::Slope(slope) if method.is_clustering() => refuse(format!(
                "method {method} has no slope ({slope}); give --levels, or a size"
            )),
            Self::Levels(k) if !method.is_clustering() => refuse(format!(
                "method {method} chooses its own levels ({k} asked for); give a slope or a size, or --method kmeans"
            )),
            Self::Levels(k) if !(1..=MAX_LEVELS).contains(&k) => refuse(format!(
                "the number of levels is {k}; it must be 1 to {MAX_LEVELS}"
            )),
            Self::Step(step) if method != Method::Uniform => refuse(format!(
                "method {method} has no step ({step}); give --method uniform with it, or a size"
            )),
            Self::MaxLoss(_) if !has_sensitivities => refuse(
                "a largest loss needs sensitivities: without them the loss of an error is unknown; give --sensitivity FILE, or \
                 a size"
                    .into(),
            ),
            Self::NearLossless | Self::Levels(_) => Ok(()),
            Self::Slope(slope) => check_positive("the slope", slope),
            Self::Step(step) => check_positive("the step", step.into()),
            Self::Bpw(bpw) => check_positive("the number of bits per weight", bpw),
            Self::Ratio(ratio) => check_positive("the ratio", ratio),
            Self::SizeBytes(n) => check_positive("the size in bytes", n as f64),
            Self::MaxLoss(loss) => check_positive("the largest loss", loss),
        }
    }
}

/// Compiles a pattern for tensor names: `*` matches anything, dots and slashes included.
///
/// # Errors
/// [`Error::Options`] if it is not a valid pattern.
pub fn parse_glob(pattern: &str) -> Result<GlobMatcher> {
    let glob = Glob::new(pattern).map_err(|e| Error::Options(format!("pattern {pattern:?}: {e}")))?;
    Ok(glob.compile_matcher())
}

/// Settings of one compression. None of them is stored in the file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CompressOptions {
    /// Default: [`Method::Grid`].
    pub method: Method,
    /// Default: [`Scope::Tensor`].
    pub scope: Scope,
    /// `None`: the smallest. Default: [`Coder::Ans`]; the command takes [`Target::default_coder`].
    pub coder: Option<Coder>,
    /// Default: [`Target::NearLossless`].
    pub target: Target,
    /// Values of uniform cells. Default: [`Centres::Grid`].
    pub centres: Centres,
    /// A sensitivity file. Default: none.
    pub sensitivity: Option<PathBuf>,
    /// Whether, without a sensitivity file, all weights of tensors of two or more dimensions count alike, as in the paper; otherwise
    /// those of small tensors count more, in inverse proportion to the cube root of their number. Default: false.
    pub alike: bool,
    /// Exponent of sensitivities, 0 to 1. Default: 1.
    pub power: f64,
    /// Share of a tensor's mean sensitivity that is added to each. Default: 0.05.
    pub floor: f64,
    /// Whether rows of tensors on grids of their own get scales where the sensitivity file says that some matter less: for language models,
    /// whose embeddings have rows of rare tokens. Default: false.
    pub row_scales: bool,
    /// Default: [`Feedback::Auto`].
    pub feedback: Feedback,
    /// Whether tensors with grids of their own are quantized on a trellis where the coder is `context`. Default: true.
    pub trellis: bool,
    /// Tensors that are stored losslessly. Default: none.
    pub keep: Vec<GlobMatcher>,
    /// Settings of single tensors; the last that matches counts. Default: none.
    pub overrides: Vec<Override>,
    /// Elements of a group, see [`tersor_codec::EncodeOptions`]. Default: 2^20.
    pub group_elements: u64,
}

impl Default for CompressOptions {
    fn default() -> Self {
        Self {
            method: Method::default(),
            scope: Scope::default(),
            coder: Some(Coder::Ans),
            target: Target::default(),
            centres: Centres::default(),
            sensitivity: None,
            alike: false,
            power: tersor_quant::sensitivity::DEFAULT_POWER,
            floor: tersor_quant::sensitivity::DEFAULT_FLOOR,
            row_scales: false,
            feedback: Feedback::default(),
            trellis: true,
            keep: Vec::new(),
            overrides: Vec::new(),
            group_elements: DEFAULT_GROUP_ELEMENTS,
        }
    }
}

impl CompressOptions {
    /// Checks all that can be told without the checkpoint.
    ///
    /// # Errors
    /// [`Error::Options`] if a value is out of range, or the method does not have such a target.
    pub fn check(&self) -> Result<()> {
        self.check_weighing()?;
        self.target.check(self.method, self.sensitivity.is_some())
    }

    /// Checks how sensitivities are used.
    pub(crate) fn check_weighing(&self) -> Result<()> {
        let (power, floor) = (self.power, self.floor);
        if !(0.0..=1.0).contains(&power) {
            let what = format!("the power of sensitivities is {power}; it must be 0 to 1");
            return Err(Error::Options(what));
        }
        if !(floor >= 0.0 && floor.is_finite()) {
            let what = format!("the floor of sensitivities is {floor}; it must be at least 0");
            return Err(Error::Options(what));
        }
        Ok(())
    }

    /// Sets [`method`](Self::method).
    #[must_use]
    pub fn with_method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Sets [`scope`](Self::scope).
    #[must_use]
    pub fn with_scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Sets [`coder`](Self::coder); `None` takes the smallest.
    #[must_use]
    pub fn with_coder(mut self, coder: Option<Coder>) -> Self {
        self.coder = coder;
        self
    }

    /// Sets [`target`](Self::target).
    #[must_use]
    pub fn with_target(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    /// Sets [`feedback`](Self::feedback).
    #[must_use]
    pub fn with_feedback(mut self, feedback: Feedback) -> Self {
        self.feedback = feedback;
        self
    }

    /// Sets [`sensitivity`](Self::sensitivity).
    #[must_use]
    pub fn with_sensitivity(mut self, path: impl Into<PathBuf>) -> Self {
        self.sensitivity = Some(path.into());
        self
    }
}
