//! What flows between nodes.

use burn::tensor::{Int, Tensor};

/// The output of a node for a batch.
#[derive(Clone, Debug)]
pub enum Value {
    /// Images `[batch, channels, height, width]`.
    Image(Tensor<4>),
    /// Vectors `[batch, width]`.
    Vectors(Tensor<2>),
    /// Sequences of vectors `[batch, length, width]`.
    Sequence(Tensor<3>),
    /// Tokens `[batch, length]`.
    Tokens(Tensor<2, Int>),
}

impl Value {
    /// Number of examples.
    pub fn batch(&self) -> usize {
        self.dims().first().copied().unwrap_or(0)
    }

    /// Extents.
    pub fn dims(&self) -> Vec<usize> {
        match self {
            Self::Image(t) => t.dims().to_vec(),
            Self::Vectors(t) => t.dims().to_vec(),
            Self::Sequence(t) => t.dims().to_vec(),
            Self::Tokens(t) => t.dims().to_vec(),
        }
    }

    /// What it is called in messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Image(_) => "images",
            Self::Vectors(_) => "vectors",
            Self::Sequence(_) => "sequences",
            Self::Tokens(_) => "tokens",
        }
    }

    /// Logits as `[rows, classes]`: a row per example, or per token of every sequence.
    pub fn rows(self) -> Option<Tensor<2>> {
        match self {
            Self::Vectors(t) => Some(t),
            Self::Sequence(t) => {
                let [b, l, d] = t.dims();
                Some(t.reshape([b * l, d]))
            }
            Self::Image(_) | Self::Tokens(_) => None,
        }
    }
}
