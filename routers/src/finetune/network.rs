//! The forward pass of a Llama or Qwen2, differentiable in every weight.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};

use super::config::Config;
use super::forms::{rms_norm, rotate, softmax};
use super::pack::Pack;
use super::weights::{self, EMBEDDINGS, OUTPUT, OUTPUT_NORM};

/// A network, its weights in place.
pub(super) struct Network {
    config: Config,
    embeddings: Tensor,
    blocks: Vec<Block>,
    norm: Tensor,
    /// Vocabulary × width.
    output: Tensor,
}

struct Block {
    attention_norm: Tensor,
    query: Dense,
    key: Dense,
    value: Dense,
    attention_output: Dense,
    feed_forward_norm: Tensor,
    gate: Dense,
    up: Dense,
    down: Dense,
}

/// x ↦ x Wᵀ + b.
struct Dense {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Network {
    /// Puts weights in place; they are as `weights::check` wants them.
    pub(super) fn new(config: &Config, weights: &BTreeMap<String, Tensor>) -> Result<Self> {
        let get = |name: &str| {
            let found = weights.get(name).cloned();
            found.ok_or_else(|| candle_core::Error::Msg(format!("tensor `{name}` is missing")))
        };
        let blocks = (0..config.layers).map(|layer| {
            let norm = |part: &str| get(&weights::in_layer(layer, &format!("{part}.weight")));
            let dense = |part: &str| -> Result<Dense> {
                let bias = weights.get(&weights::in_layer(layer, &format!("{part}.bias"))).cloned();
                Ok(Dense { weight: norm(part)?, bias })
            };
            Ok(Block {
                attention_norm: norm("input_layernorm")?,
                query: dense("self_attn.q_proj")?,
                key: dense("self_attn.k_proj")?,
                value: dense("self_attn.v_proj")?,
                attention_output: dense("self_attn.o_proj")?,
                feed_forward_norm: norm("post_attention_layernorm")?,
                gate: dense("mlp.gate_proj")?,
                up: dense("mlp.up_proj")?,
                down: dense("mlp.down_proj")?,
            })
        });
        let embeddings = get(EMBEDDINGS)?;
        Ok(Self {
            config: config.clone(),
            blocks: blocks.collect::<Result<_>>()?,
            norm: get(OUTPUT_NORM)?,
            output: if config.is_tied { embeddings.clone() } else { get(OUTPUT)? },
            embeddings,
        })
    }

    /// The logits of the whole vocabulary where the labels stand: candidates × vocabulary.
    pub(super) fn logits(&self, pack: &Pack) -> Result<Tensor> {
        let (rows, length) = pack.tokens.dims2()?;
        let mut states = self.embeddings.index_select(&pack.tokens.flatten_all()?, 0)?;
        for block in &self.blocks {
            let normed = rms_norm(&states, &block.attention_norm, self.config.epsilon)?;
            states = (states + self.attend(block, &normed, pack, (rows, length))?)?;
            let normed = rms_norm(&states, &block.feed_forward_norm, self.config.epsilon)?;
            let wide = (block.gate.apply(&normed)?.silu()? * block.up.apply(&normed)?)?;
            states = (states + block.down.apply(&wide)?)?;
        }
        let ends = states.index_select(&pack.ends, 0)?;
        rms_norm(&ends, &self.norm, self.config.epsilon)?.matmul(&self.output.t()?)
    }

    /// Attention over states of (rows · length) × width.
    fn attend(&self, block: &Block, states: &Tensor, pack: &Pack, shape: (usize, usize)) -> Result<Tensor> {
        let Config { heads, key_heads, head_width, .. } = self.config;
        let (rows, length) = shape;
        let by_head = |dense: &Dense, heads: usize| {
            dense.apply(states)?.reshape((rows, length, heads, head_width))?.transpose(1, 2)?.contiguous()
        };
        let query = rotate(&by_head(&block.query, heads)?, &pack.cosines, &pack.sines)?;
        let key = rotate(&by_head(&block.key, key_heads)?, &pack.cosines, &pack.sines)?;
        let value = by_head(&block.value, key_heads)?;
        // The heads that share keys stand side by side, so one product serves them all.
        let shared = heads / key_heads;
        let query = query.reshape((rows, key_heads, shared * length, head_width))?;
        let query = (query * (head_width as f64).sqrt().recip())?;
        let scores = query.matmul(&key.transpose(2, 3)?.contiguous()?)?;
        let scores = scores.reshape((rows, key_heads, shared, length, length))?.broadcast_add(&pack.mask)?;
        let shares = softmax(&scores)?.reshape((rows, key_heads, shared * length, length))?;
        let read = shares.matmul(&value)?.reshape((rows, heads, length, head_width))?;
        let read = read.transpose(1, 2)?.reshape((rows * length, heads * head_width))?;
        block.attention_output.apply(&read)
    }
}

impl Dense {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let product = x.matmul(&self.weight.t()?)?;
        match &self.bias {
            Some(bias) => product.broadcast_add(bias),
            None => Ok(product),
        }
    }
}
