//! Building a network node by node.

use super::{Attention, BatchNorm, Conv, Input, Linear, Network, Node, Op, ParameterSpec, Pool, Role};

/// Collects the nodes of a network. Each method appends one and gives its index, to be an input of later ones.
#[derive(Debug)]
pub struct Builder {
    network: Network,
}

impl Builder {
    /// Starts a network; node 0 is its input.
    pub fn new(name: &str, input: Input) -> Self {
        let mut builder = Self {
            network: Network {
                name: name.to_owned(),
                input,
                nodes: Vec::new(),
                parameters: Vec::new(),
            },
        };
        builder.push("input", Op::Input, &[], &[]);
        builder
    }

    /// The network; its output is the last node.
    pub fn finish(self) -> Network {
        self.network
    }

    fn push(&mut self, name: &str, op: Op, inputs: &[usize], parameters: &[usize]) -> usize {
        self.network.nodes.push(Node {
            name: name.to_owned(),
            op,
            inputs: inputs.to_vec(),
            parameters: parameters.to_vec(),
        });
        self.network.nodes.len() - 1
    }

    /// The parameter of this name, which two layers share if it exists.
    fn parameter(&mut self, name: String, shape: &[usize], role: Role) -> usize {
        self.network.parameter(&name).unwrap_or_else(|| {
            self.network.parameters.push(ParameterSpec {
                name,
                shape: shape.to_vec(),
                role,
            });
            self.network.parameters.len() - 1
        })
    }

    /// A convolution.
    pub fn conv(&mut self, name: &str, input: usize, conv: Conv) -> usize {
        let shape = [conv.outputs, conv.inputs, conv.kernel, conv.kernel];
        let mut parameters = vec![self.parameter(format!("{name}.weight"), &shape, Role::Weight)];
        if conv.bias {
            parameters.push(self.parameter(format!("{name}.bias"), &[conv.outputs], Role::Bias));
        }
        self.push(name, Op::Conv(conv), &[input], &parameters)
    }

    /// An affine map.
    pub fn linear(&mut self, name: &str, input: usize, linear: Linear) -> usize {
        let shape = [linear.outputs, linear.inputs];
        let mut parameters = vec![self.parameter(format!("{name}.weight"), &shape, Role::Weight)];
        if linear.bias {
            parameters.push(self.parameter(format!("{name}.bias"), &[linear.outputs], Role::Bias));
        }
        self.push(name, Op::Linear(linear), &[input], &parameters)
    }

    /// A matrix without bias that is the embedding `tied`, or its own.
    pub fn head(&mut self, name: &str, input: usize, linear: Linear, tied: Option<&str>) -> usize {
        match tied {
            Some(embedding) => {
                let shape = [linear.outputs, linear.inputs];
                let weight = self.parameter(format!("{embedding}.weight"), &shape, Role::Embedding);
                self.push(name, Op::Linear(linear), &[input], &[weight])
            }
            None => self.linear(name, input, linear),
        }
    }

    /// Normalisation of channels.
    pub fn batch_norm(&mut self, name: &str, input: usize, channels: usize) -> usize {
        let roles = [
            ("weight", Role::Scale),
            ("bias", Role::Shift),
            ("running_mean", Role::RunningMean),
            ("running_var", Role::RunningVariance),
        ];
        let parameters =
            roles.map(|(part, role)| self.parameter(format!("{name}.{part}"), &[channels], role));
        let op = Op::BatchNorm(BatchNorm {
            channels,
            epsilon: 1e-5,
        });
        self.push(name, op, &[input], &parameters)
    }

    /// max(x, 0).
    pub fn relu(&mut self, input: usize) -> usize {
        self.push("relu", Op::Relu, &[input], &[])
    }

    /// x / (1 + exp(-x)).
    pub fn silu(&mut self, input: usize) -> usize {
        self.push("silu", Op::Silu, &[input], &[])
    }

    /// Largest element of each window.
    pub fn max_pool(&mut self, input: usize, pool: Pool) -> usize {
        self.push("max-pool", Op::MaxPool(pool), &[input], &[])
    }

    /// Means of windows, `size` x `size` of them.
    pub fn average_pool(&mut self, input: usize, size: usize) -> usize {
        self.push("average-pool", Op::AveragePool(size), &[input], &[])
    }

    /// Images to vectors.
    pub fn flatten(&mut self, input: usize) -> usize {
        self.push("flatten", Op::Flatten, &[input], &[])
    }

    /// Sum.
    pub fn add(&mut self, a: usize, b: usize) -> usize {
        self.push("add", Op::Add, &[a, b], &[])
    }

    /// Product.
    pub fn multiply(&mut self, a: usize, b: usize) -> usize {
        self.push("multiply", Op::Multiply, &[a, b], &[])
    }

    /// Channels of `a`, then those of `b`.
    pub fn concat(&mut self, a: usize, b: usize) -> usize {
        self.push("concat", Op::Concat, &[a, b], &[])
    }

    /// Subsampled, with new channels of zeros.
    pub fn shortcut(&mut self, input: usize, channels: usize) -> usize {
        self.push("shortcut", Op::Shortcut { channels }, &[input], &[])
    }

    /// Zeroes elements in training, `thousandths` of them.
    pub fn dropout(&mut self, input: usize, thousandths: u32) -> usize {
        self.push("dropout", Op::Dropout(thousandths), &[input], &[])
    }

    /// Tokens to vectors of `width`.
    pub fn embedding(&mut self, name: &str, input: usize, vocabulary: usize, width: usize) -> usize {
        let weight = self.parameter(format!("{name}.weight"), &[vocabulary, width], Role::Embedding);
        self.push(name, Op::Embedding, &[input], &[weight])
    }

    /// Division by the root mean square.
    pub fn rms_norm(&mut self, name: &str, input: usize, width: usize, epsilon: f64) -> usize {
        let scale = self.parameter(format!("{name}.weight"), &[width], Role::Scale);
        self.push(name, Op::RmsNorm { epsilon }, &[input], &[scale])
    }

    /// Causal attention.
    pub fn attention(&mut self, [queries, keys, values]: [usize; 3], attention: Attention) -> usize {
        let op = Op::Attention(attention);
        self.push("attention", op, &[queries, keys, values], &[])
    }
}
