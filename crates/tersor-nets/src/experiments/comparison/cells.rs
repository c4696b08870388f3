//! One file of a comparison.

use crate::experiments::estimates::estimate_name;
use crate::experiments::files::FileSpec;
use crate::sensitivity::Estimate;
use tersor::options::{Centres, CompressOptions, Feedback, Method, Scope};
use tersor_codec::Coder;

/// How large a file is to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Size {
    /// Bits of the whole file per trained parameter.
    Bits(f64),
    /// As large as the file of this name, made before.
    Of(String),
    /// As the target of the options says.
    AsSet,
}

/// A file.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    /// Files of a series differ in what is given after it.
    pub(super) series: String,
    /// What is different within the series.
    pub(super) at: String,
    pub(super) size: Size,
    pub(super) options: CompressOptions,
    /// Sensitivities; without them all weights are alike.
    pub(super) estimate: Option<Estimate>,
    /// Whether moments of inputs lie beside them.
    pub(super) has_moments: bool,
    /// Whether each tensor has as many levels as pay at one slope.
    pub(super) has_own_levels: bool,
    /// Examples that shared values are fine-tuned on.
    pub(super) n_tuned: usize,
}

impl Cell {
    /// A file of these options, named by its series.
    pub(super) fn new(series: impl Into<String>, options: CompressOptions) -> Self {
        Self {
            series: series.into(),
            at: String::new(),
            size: Size::AsSet,
            options,
            estimate: None,
            has_moments: false,
            has_own_levels: false,
            n_tuned: 0,
        }
    }

    /// Of a size in bits of the whole file per trained parameter.
    pub(super) fn of_bits(mut self, bits: f64) -> Self {
        self.at = bits.to_string();
        self.size = Size::Bits(bits);
        self
    }

    /// With something of its own, written so.
    pub(super) fn at(mut self, at: &impl ToString) -> Self {
        self.at = at.to_string();
        self
    }

    /// As large as another.
    pub(super) fn of_size(mut self, other: &Self) -> Self {
        self.size = Size::Of(other.name());
        self
    }

    /// With sensitivities.
    pub(super) fn with(mut self, estimate: Estimate) -> Self {
        self.estimate = Some(estimate);
        self
    }

    /// With moments of inputs too.
    pub(super) fn with_moments(mut self, estimate: Estimate) -> Self {
        self.estimate = Some(estimate);
        self.has_moments = true;
        self
    }

    /// With levels of each tensor's own, as many as pay at one slope.
    pub(super) fn with_own_levels(mut self) -> Self {
        self.has_own_levels = true;
        self
    }

    /// With its shared values fine-tuned on so many examples.
    pub(super) fn tuned(mut self, n: usize) -> Self {
        self.n_tuned = n;
        self
    }

    pub(super) fn name(&self) -> String {
        let words = self
            .series
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
        let mut name: Vec<&str> = words.filter(|w| !w.is_empty()).collect();
        if !self.at.is_empty() {
            name.push(&self.at);
        }
        name.join("-")
    }

    pub(super) fn file(&self) -> FileSpec {
        let options = &self.options;
        let mut settings = vec![
            format!("method {}", options.method),
            format!("scope {}", options.scope),
            format!("coder {}", options.coder.map_or("auto".into(), |c| c.to_string())),
        ];
        settings.push(match &self.size {
            Size::Bits(bits) => format!("{bits} bits per parameter"),
            Size::Of(name) => format!("as large as {name}"),
            Size::AsSet => format!("{:?}", options.target),
        });
        if options.method == Method::Uniform {
            settings.push(format!("centres {:?}", options.centres));
        }
        settings.extend(self.estimate.map(estimate_name));
        if self.has_moments {
            let trellis = if options.trellis { "with" } else { "without" };
            settings.push(format!("moments, {trellis} trellis"));
        }
        let default = CompressOptions::default();
        if (options.power, options.floor) != (default.power, default.floor) {
            settings.push(format!("power {}, floor {}", options.power, options.floor));
        }
        settings.extend(
            options
                .overrides
                .iter()
                .map(|o| format!("{}={}", o.glob.glob(), o.rule)),
        );
        if self.has_own_levels {
            settings.push("levels of each tensor at one slope".into());
        }
        if self.n_tuned > 0 {
            settings.push(format!("tuned on {}", self.n_tuned));
        }
        FileSpec {
            name: self.name(),
            how: self.series.clone(),
            settings: settings.join(", "),
            seed: None,
        }
    }
}

/// The paper's form of a method: one codebook for all layers, cells with the mean of their members.
pub(super) fn paper(method: Method, coder: Coder) -> CompressOptions {
    let mut options = CompressOptions::default()
        .with_method(method)
        .with_scope(Scope::Global)
        .with_coder(Some(coder))
        .with_feedback(Feedback::Off);
    options.centres = Centres::Mean;
    options.alike = true;
    options
}

/// Grids, one for each tensor, without error feedback: each weight by itself.
pub(super) fn grids(coder: Coder) -> CompressOptions {
    let mut options = CompressOptions::default()
        .with_coder(Some(coder))
        .with_feedback(Feedback::Off);
    options.alike = true;
    options.trellis = false;
    options
}
