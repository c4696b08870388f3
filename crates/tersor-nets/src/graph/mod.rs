//! Networks as data: a list of named nodes in the order of execution.
//!
//! A model is a [`Network`], built once by a function of [`models`](crate::models). Everything else (evaluation, training,
//! sensitivities, pruning, repair of normalisation, sequential quantization) runs over its nodes and knows no model.

mod build;
mod layers;
mod run;
mod value;

pub use build::Builder;
pub use layers::{Attention, BatchNorm, Conv, Linear, Op, Pool, RotaryLayout};
pub use run::{BatchStatistics, Mode, Observer, Unobserved, Weights};
pub use value::Value;

/// What a parameter does in its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Multiplies inputs: kernels `[out, in, height, width]`, matrices `[out, in]`.
    Weight,
    /// One vector per token, `[vocabulary, width]`; also the output matrix of a language model where the two are tied.
    Embedding,
    /// Added to outputs, `[out]`.
    Bias,
    /// Multiplies normalised activations, `[channels]`.
    Scale,
    /// Added to normalised activations, `[channels]`.
    Shift,
    /// Running mean of a batch-norm layer, `[channels]`; not trained.
    RunningMean,
    /// Running variance of a batch-norm layer, `[channels]`; not trained.
    RunningVariance,
}

impl Role {
    /// Whether gradients train it. The paper's ratio counts these parameters only.
    pub fn is_trainable(self) -> bool {
        !matches!(self, Self::RunningMean | Self::RunningVariance)
    }
}

/// Name, shape and role of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSpec {
    /// The name in PyTorch's state dict.
    pub name: String,
    /// Extents.
    pub shape: Vec<usize>,
    /// What it does.
    pub role: Role,
}

impl ParameterSpec {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One operation of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The module's path in PyTorch, or the operation's kind where it has no parameters.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Earlier nodes that it reads.
    pub inputs: Vec<usize>,
    /// Indices in [`Network::parameters`], in the order that the operation states.
    pub parameters: Vec<usize>,
}

/// What a network reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Images of `[channels, height, width]`.
    Image([usize; 3]),
    /// Sequences of at most this many tokens of a vocabulary of this size.
    Tokens {
        /// Longest sequence.
        context: usize,
        /// Number of different tokens.
        vocabulary: usize,
    },
}

/// Tokens that go through a network at once, on any device. More bring nothing on a processor, and attention takes memory by the square of a
/// text: with 50 texts of 512 tokens four gigabytes, and half the time to get them from the system.
const TOKENS_AT_ONCE: usize = 1024;

impl Input {
    /// How many examples go through a network at once, where it makes no difference to what is computed: `most`, or fewer long texts.
    pub(crate) fn at_once(self, most: usize) -> usize {
        match self {
            Self::Image(_) => most.max(1),
            Self::Tokens { context, .. } => (TOKENS_AT_ONCE / context.max(1)).clamp(1, most.max(1)),
        }
    }
}

/// A network: nodes in the order of execution, the last of which gives the logits.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// A short name, as the command line gives it.
    pub name: String,
    /// What it reads.
    pub input: Input,
    /// Operations; the first is the input.
    pub nodes: Vec<Node>,
    /// Parameters in the order of the nodes that use them.
    pub parameters: Vec<ParameterSpec>,
}

impl Network {
    /// Number of trainable parameters.
    pub fn n_trainable(&self) -> usize {
        let trainable = |p: &&ParameterSpec| p.role.is_trainable();
        self.parameters
            .iter()
            .filter(trainable)
            .map(ParameterSpec::len)
            .sum()
    }

    /// Bytes of the trainable parameters, four each.
    pub fn float_bytes(&self) -> f64 {
        4.0 * self.n_trainable() as f64
    }

    /// The paper's ratio of a file of so many bytes.
    pub fn ratio(&self, bytes: u64) -> f64 {
        self.float_bytes() / bytes.max(1) as f64
    }

    /// Bytes of a file of so many bits per weight, buffers included.
    pub fn bytes_at_bpw(&self, bpw: f64) -> f64 {
        bpw * self.n_weights() / 8.0
    }

    /// Bits per weight, buffers included, of a file of so many bytes.
    pub fn bpw(&self, bytes: f64) -> f64 {
        8.0 * bytes / self.n_weights()
    }

    fn n_weights(&self) -> f64 {
        self.parameters.iter().map(|p| p.len() as f64).sum()
    }

    /// Index of a parameter.
    pub fn parameter(&self, name: &str) -> Option<usize> {
        self.parameters.iter().position(|p| p.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_go_through_one_by_one_and_images_as_asked() {
        let texts = |context| Input::Tokens {
            context,
            vocabulary: 512,
        };
        let at_once = [texts(512), texts(5000), texts(16), Input::Image([3, 32, 32])].map(|i| i.at_once(50));
        assert_eq!(at_once, [2, 1, 50, 50]);
        assert_eq!(Input::Image([1, 28, 28]).at_once(0), 1);
    }
}
