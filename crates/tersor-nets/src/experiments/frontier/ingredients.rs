//! What each part of compression layer by layer brings: files of one size, each made without one of them.

use super::PostTraining;
use crate::experiments::files::{ExperimentTask, FileSpec, Recipe};
use crate::sequential::{Inputs, SequentialOptions};
use crate::shared::Match;
use crate::{Error, Parameters, Result};
use tersor::options::CompressOptions;
use tersor_codec::Coder;

/// Another way to make a file.
struct Variant {
    /// Of files.
    name: &'static str,
    /// What it does in place of the recipe.
    how: &'static str,
    change: fn(&mut SequentialOptions, &mut CompressOptions),
}

const WHOLE: Variant = Variant {
    name: "whole",
    how: "the whole recipe",
    change: |_, _| (),
};

/// What it is like without each of its parts.
const OTHERS: [Variant; 8] = [
    Variant {
        name: "uncorrected",
        how: "targets as they are",
        change: |options, _| options.inputs = Inputs::Quantized,
    },
    Variant {
        name: "original-inputs",
        how: "inputs of the original",
        change: |options, _| options.inputs = Inputs::Original,
    },
    Variant {
        name: "one-pass",
        how: "one pass along the trellis",
        change: |options, _| options.feedback.passes = 0,
    },
    Variant {
        name: "no-trellis",
        how: "no trellis, coordinate descent",
        change: |options, rest| (options.feedback.trellis, rest.trellis) = (false, false),
    },
    Variant {
        name: "neither",
        how: "no trellis, no descent",
        change: |options, rest| {
            (options.feedback.trellis, rest.trellis) = (false, false);
            options.feedback.passes = 0;
        },
    },
    Variant {
        name: "ans",
        how: "the coder ans",
        change: |options, _| options.coder = Coder::Ans,
    },
    Variant {
        name: "unrepaired",
        how: "nothing repaired",
        change: |options, _| options.repair = None,
    },
    Variant {
        name: "repaired",
        how: "means and variances repaired",
        change: |options, _| options.repair = Some(Match::Moments),
    },
];

impl Variant {
    /// Whether it is another way than the recipe's.
    fn differs(&self, recipe: &PostTraining) -> bool {
        let (mut options, mut rest) = (recipe.options(), CompressOptions::default());
        (self.change)(&mut options, &mut rest);
        options != recipe.options()
    }
}

/// Files with and without each ingredient.
pub struct Ingredients {
    recipe: PostTraining,
    /// The recipe's own way first.
    variants: Vec<Variant>,
}

impl Ingredients {
    /// For a network, at the sizes given or one between those of its recipe.
    ///
    /// # Errors
    /// As [`PostTraining::new`].
    pub fn new(task: &ExperimentTask<'_>, original: Parameters, sizes: &[f64]) -> Result<Self> {
        let recipe = PostTraining::in_the_middle(task, original, sizes)?;
        let mut variants = vec![WHOLE];
        variants.extend(OTHERS.into_iter().filter(|v| v.differs(&recipe)));
        Ok(Self { recipe, variants })
    }
}

impl Recipe for Ingredients {
    fn report(&self) -> &[&'static str] {
        self.recipe.report()
    }

    fn original(&self) -> Option<&Parameters> {
        self.recipe.original()
    }

    fn files(&self) -> Vec<FileSpec> {
        let mut files = Vec::new();
        for spec in self.recipe.files() {
            files.extend(self.variants.iter().map(|variant| FileSpec {
                name: format!("{}-{}", spec.name, variant.name),
                how: variant.how.to_owned(),
                ..spec.clone()
            }));
        }
        files
    }

    fn prepare(&self, task: &ExperimentTask<'_>, index: usize) -> Result<()> {
        self.recipe.prepare(task, index / self.variants.len().max(1))
    }

    fn make(&self, task: &ExperimentTask<'_>, index: usize, _: &mut dyn FnMut(&str)) -> Result<Vec<u8>> {
        let n = self.variants.len();
        let variant = self.variants.get(index % n.max(1));
        let variant = variant.ok_or_else(|| Error::Internal(format!("there is no file {index}")))?;
        self.recipe.compress(task, index / n, variant.change)
    }
}
