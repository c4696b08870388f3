//! The operations that networks consist of.

/// A convolution over images, with square kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Height and width of kernels.
    pub kernel: usize,
    /// Distance of positions.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

/// An affine map of the last axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Extent of the input's last axis.
    pub inputs: usize,
    /// Extent of the output's last axis.
    pub outputs: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

/// Normalisation of channels by running statistics, or in training by the batch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Channels.
    pub channels: usize,
    /// Added to variances.
    pub epsilon: f64,
}

/// Windows of a pooling layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Height and width of windows.
    pub kernel: usize,
    /// Distance of windows.
    pub stride: usize,
    /// Whether a window that begins inside and ends outside counts.
    pub ceil: bool,
}

/// Which dimensions of a head rotate together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotaryLayout {
    /// Dimensions i and i + half, as Hugging Face orders them.
    Halves,
    /// Dimensions 2i and 2i + 1, as the original weights and llama2.c order them.
    Interleaved,
}

/// Causal attention with rotary positions; heads of keys and values may be fewer than those of queries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values; divides `heads`.
    pub key_heads: usize,
    /// Dimensions of a head.
    pub head_width: usize,
    /// Base of the rotary frequencies.
    pub rotary_base: f64,
    /// Which dimensions rotate together.
    pub rotary_layout: RotaryLayout,
}

/// What a node computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// The network's input.
    Input,
    /// Parameters: weight `[out, in, kernel, kernel]`, bias `[out]`.
    Conv(Conv),
    /// Parameters: weight `[out, in]`, bias `[out]`.
    Linear(Linear),
    /// Parameters: scale, shift, running mean, running variance, each `[channels]`.
    BatchNorm(BatchNorm),
    /// max(x, 0).
    Relu,
    /// x / (1 + exp(-x)).
    Silu,
    /// Largest element of each window.
    MaxPool(Pool),
    /// Mean of windows whose size adapts so that the output has this height and width.
    AveragePool(usize),
    /// Images to vectors, in the order channel, row, column; vectors stay.
    Flatten,
    /// Sum of two inputs.
    Add,
    /// Product of two inputs.
    Multiply,
    /// Two images one after the other along the channels.
    Concat,
    /// Option A of He et al. (2016): every second row and column, and zeros for the channels that are new, half of them
    /// before and half after.
    Shortcut {
        /// Channels of the output.
        channels: usize,
    },
    /// Zeroes elements in training with this probability, in thousandths; nothing else.
    Dropout(u32),
    /// Tokens to vectors. Parameter: `[vocabulary, width]`.
    Embedding,
    /// Division by the root mean square over the last axis. Parameter: scale `[width]`.
    RmsNorm {
        /// Added to mean squares.
        epsilon: f64,
    },
    /// Inputs: queries, keys, values.
    Attention(Attention),
}

impl Op {
    /// What it is called in messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Conv(_) => "convolution",
            Self::Linear(_) => "linear",
            Self::BatchNorm(_) => "batch-norm",
            Self::Relu => "relu",
            Self::Silu => "silu",
            Self::MaxPool(_) => "max-pool",
            Self::AveragePool(_) => "average-pool",
            Self::Flatten => "flatten",
            Self::Add => "add",
            Self::Multiply => "multiply",
            Self::Concat => "concat",
            Self::Shortcut { .. } => "shortcut",
            Self::Dropout(_) => "dropout",
            Self::Embedding => "embedding",
            Self::RmsNorm { .. } => "rms-norm",
            Self::Attention(_) => "attention",
        }
    }
}
