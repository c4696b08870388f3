//! Decoders of the Llama architecture (Touvron et al., 2023), in sizes and names of a Hugging Face `config.json`.

use crate::graph::{Attention, Builder, Input, Linear, Network, RotaryLayout};
use crate::{Error, Result};
use serde::Deserialize;
use std::path::Path;

/// Sizes of a decoder: the fields of `config.json` that matter here.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct LlamaConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward layers.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Heads of queries.
    pub num_attention_heads: usize,
    /// Heads of keys and values; as many as of queries unless stated.
    pub num_key_value_heads: Option<usize>,
    /// Dimensions of a head; `hidden_size / num_attention_heads` unless stated.
    pub head_dim: Option<usize>,
    /// Number of tokens.
    pub vocab_size: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Added to mean squares.
    #[serde(default = "default_epsilon")]
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    #[serde(default = "default_base")]
    pub rope_theta: f64,
    /// Whether the output matrix is the embedding.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// Whether pairs of dimensions rotate as (2i, 2i + 1); no field of Hugging Face's, whose pairs are (i, i + half).
    #[serde(default)]
    pub rope_interleaved: bool,
    /// Whether queries, keys and values have biases.
    #[serde(default)]
    pub attention_bias: bool,
    /// The activation; only `silu` is known.
    #[serde(default = "default_activation")]
    pub hidden_act: String,
    /// A stretch of the rotary frequencies; none is known.
    pub rope_scaling: Option<serde_json::Value>,
}

fn default_epsilon() -> f64 {
    1e-6
}

fn default_base() -> f64 {
    10_000.0
}

fn default_activation() -> String {
    "silu".to_owned()
}

impl LlamaConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Input`] if a field is missing or asks for what is not known here.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let parsed = serde_json::from_str::<Self>(&text);
        let config = parsed.map_err(|e| Error::Input(format!("{}: {e}", path.display())))?;
        config
            .check()
            .map_err(|what| Error::Input(format!("{}: {what}", path.display())))?;
        Ok(config)
    }

    /// Checks that the sizes fit each other.
    fn check(&self) -> Result<(), String> {
        let key_heads = self.key_heads();
        let sizes = [
            self.hidden_size,
            self.intermediate_size,
            self.vocab_size,
            self.max_position_embeddings,
        ];
        if sizes.contains(&0) || self.num_attention_heads == 0 || key_heads == 0 {
            return Err("sizes must be positive".into());
        }
        if !self.num_attention_heads.is_multiple_of(key_heads) {
            let heads = self.num_attention_heads;
            return Err(format!(
                "{heads} heads of queries cannot share {key_heads} heads of keys"
            ));
        }
        if !self.head_width().is_multiple_of(2) || self.head_width() == 0 {
            return Err(format!(
                "heads of {} dimensions; pairs rotate, so the number must be even",
                self.head_width()
            ));
        }
        if self.hidden_act != "silu" {
            return Err(format!(
                "the activation {:?} is not known; only silu is",
                self.hidden_act
            ));
        }
        if self.rope_scaling.as_ref().is_some_and(|v| !v.is_null()) {
            return Err("rope_scaling is not known".into());
        }
        if self.attention_bias {
            return Err("attention_bias is not known".into());
        }
        Ok(())
    }

    fn key_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    fn head_width(&self) -> usize {
        self.head_dim
            .unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }
}

/// A decoder that gives logits for every token of a sequence.
///
/// # Errors
/// [`Error::Input`] if the sizes do not fit each other.
pub fn llama(config: &LlamaConfig) -> Result<Network> {
    config.check().map_err(Error::Input)?;
    let (width, inner) = (config.hidden_size, config.intermediate_size);
    let attention = Attention {
        heads: config.num_attention_heads,
        key_heads: config.key_heads(),
        head_width: config.head_width(),
        rotary_base: config.rope_theta,
        rotary_layout: if config.rope_interleaved {
            RotaryLayout::Interleaved
        } else {
            RotaryLayout::Halves
        },
    };
    let queries = attention.heads * attention.head_width;
    let keys = attention.key_heads * attention.head_width;
    let linear = |inputs, outputs| Linear {
        inputs,
        outputs,
        bias: false,
    };
    let input = Input::Tokens {
        context: config.max_position_embeddings,
        vocabulary: config.vocab_size,
    };
    let mut b = Builder::new("llama", input);
    let mut x = b.embedding("model.embed_tokens", 0, config.vocab_size, width);
    for layer in 0..config.num_hidden_layers {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        let y = b.rms_norm(&name("input_layernorm"), x, width, config.rms_norm_eps);
        let q = b.linear(&name("self_attn.q_proj"), y, linear(width, queries));
        let k = b.linear(&name("self_attn.k_proj"), y, linear(width, keys));
        let v = b.linear(&name("self_attn.v_proj"), y, linear(width, keys));
        let y = b.attention([q, k, v], attention);
        let y = b.linear(&name("self_attn.o_proj"), y, linear(queries, width));
        x = b.add(x, y);
        let y = b.rms_norm(&name("post_attention_layernorm"), x, width, config.rms_norm_eps);
        let gate = b.linear(&name("mlp.gate_proj"), y, linear(width, inner));
        let gate = b.silu(gate);
        let up = b.linear(&name("mlp.up_proj"), y, linear(width, inner));
        let y = b.multiply(gate, up);
        let y = b.linear(&name("mlp.down_proj"), y, linear(inner, width));
        x = b.add(x, y);
    }
    let x = b.rms_norm("model.norm", x, width, config.rms_norm_eps);
    let tied = config.tie_word_embeddings.then_some("model.embed_tokens");
    b.head("lm_head", x, linear(width, config.vocab_size), tied);
    Ok(b.finish())
}
